"""A quarter first, all below a lower ratio."""

from __future__ import annotations

import math

import pytest

from stress.mechanisms.two_step import quantity
from stress.peers.standing import venue_of
from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

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


@pytest.mark.parametrize("depth", [math.inf, 2e4])
def test_an_account_that_nothing_cures_ends_flat_or_as_far_as_the_book_goes(depth):
    # The fee of 5 % takes what each order frees; a thin book fills until its end, and then nothing.
    protocol = protocol_of(
        size={"rule": "two_step", "first_share": 0.01, "whole_below_ratio": 0.0, "dust_below": 0.01},
        impact={"rule": "linear_impact", "impact_max": 0.02, "permanent": 0.4},
        fees={"rule": "liquidation_fee", "liquidation_fee": 0.05, "fee_to": "insurance_fund"},
        waterfall=[{"rule": "insurance_fund", "insurance_fund": 1e9}],
    )
    paths = one_market_paths([100.0, 97.0], depth=depth)
    venue, outcome = run_one(protocol, one_market_book([5.2e6], [1e6], [100.0]), paths)
    assert outcome["violation"] == 0
    left = row_of(venue, "A0")[0]
    assert left == 0.0 if depth == math.inf else 9e5 < left < 1e6
