"""A quarter first, all below a lower ratio."""

from __future__ import annotations

import pytest

from stress.mechanisms.two_step import quantity
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(("equity", "closed"), [(62.0, 2.5), (25.0, 2.5), (24.9, 10.0), (-3.0, 10.0)])
def test_quantity_by_hand(equity, closed):
    # 10 at 100: a ratio of 2.5 % is an equity of 25.
    rule = {"rule": "two_step", "first_share": 0.25, "whole_below_ratio": 0.025}
    for size in (10.0, -10.0):
        venue = venue_of({"X": 100.0}, [(equity, {0: (size, 100.0)})], size=rule)
        assert quantity(venue, 0, 0, equity, 62.5, 0.0, 1, None, None) == pytest.approx(closed)


def test_dust_is_closed_whole():
    rule = {"rule": "two_step", "first_share": 0.25, "whole_below_ratio": 0.0, "dust_below": 5.0}
    for size, closed in ((0.06, 0.015), (0.05, 0.05)):
        venue = venue_of({"X": 100.0}, [(0.0, {0: (size, 100.0)})], size=rule)
        assert quantity(venue, 0, 0, 0.1, 1.0, 0.0, 1, None, None) == pytest.approx(closed)
