"""Trigger on what remains of the collateral."""

from __future__ import annotations

import pytest

from stress.mechanisms.remaining_collateral import bound, flag
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(
    ("equity", "requirement", "due"),
    [
        (100.0, 100.0, False),
        (99.99, 100.0, True),
        (1.0, 0.5, False),
        (0.99, 0.5, True),  # below one USD
        (0.0, 0.5, True),
        (-5.0, 0.0, False),  # no contracts
    ],
)
def test_due_by_hand(equity, requirement, due):
    venue = venue_of({"X": 1.0}, [], trigger={"rule": "remaining_collateral"})
    assert flag(venue, 0, equity, requirement, 1) == (due, 0.0)
    if bound(venue, 0, equity, requirement):
        assert not due


def test_an_equity_of_zero_is_due_even_without_a_minimum():
    venue = venue_of({"X": 1.0}, [], trigger={"rule": "remaining_collateral", "minimum_collateral_usd": 0.0})
    assert flag(venue, 0, 0.0, 1e-9, 1)[0]
    assert not bound(venue, 0, 0.0, 0.0)
