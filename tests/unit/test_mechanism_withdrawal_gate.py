"""Withdrawal gate: closed after a negative account was seen."""

from __future__ import annotations

import pytest

from stress.kernels.halts import is_blocked
from stress.kernels.venue import WITHDRAW
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


def test_it_closes_for_its_pause_after_the_last_negative_account():
    rule = {"rule": "withdrawal_gate", "gate_pause": "3m"}
    # Bankrupt at 90 in steps 1 and 2 without a book, solvent again from step 3.
    path = one_market_paths([100.0, 90.0, 90.0, 100.0, 100.0, 100.0, 100.0], depth=0.0)
    venue, _ = run_one(protocol_of(breakers=[rule]), one_market_book([60.0], [10.0], [100.0]), path)
    # The last round below zero is that of step 2, seen in step 3: blocked from there for 3 steps more.
    assert is_blocked(venue, 0, 6, WITHDRAW)
    assert not is_blocked(venue, 0, 7, WITHDRAW)


def test_it_stays_open_while_nobody_is_below_zero():
    rule = {"rule": "withdrawal_gate", "gate_pause": "3m"}
    path = one_market_paths([100.0, 98.0], depth=0.0)
    venue, _ = run_one(protocol_of(breakers=[rule]), one_market_book([40.0], [10.0], [100.0]), path)
    assert not is_blocked(venue, 0, 1, WITHDRAW)
