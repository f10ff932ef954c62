"""TWAP-spread funding: mean mid less mean oracle, a part of a day at a time."""

from __future__ import annotations

import math

import pytest

from stress.mechanisms.twap_spread_funding import capped_rates, largest_spread, spread_rate
from tests.venues import account_equity, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


def test_rates_by_hand():
    assert largest_spread(33.0, 33.0) == 1.0
    assert spread_rate(102.0, 100.0, 20.0, math.inf, 1 / 24) == pytest.approx(2.0 / 24)
    assert spread_rate(110.0, 100.0, 20.0, math.inf, 1 / 24) == pytest.approx(5.0 / 24)
    assert spread_rate(100.0, 100.0, 20.0, 5000.0, 1.0) == pytest.approx(0.02)


def test_a_pool_that_would_pay_more_than_it_may_cuts_the_receiving_side():
    # 12 long pay 12 x 0.05; 24 short would receive 1.2: the pool adds 0.1 instead of 0.6.
    assert capped_rates(0.05, 12.0, 24.0, 0.1) == (0.05, pytest.approx(0.7 / 24), -0.1)
    assert capped_rates(-0.05, 24.0, 12.0, 0.1) == (pytest.approx(-0.7 / 24), -0.05, -0.1)
    assert capped_rates(0.05, 24.0, 12.0, 0.1) == (0.05, 0.05, pytest.approx(0.6))  # the pool receives


def test_means_of_an_interval_move_the_index():
    # Premium 1, 3 and 2 % at 100 in steps 1 to 3 (and 0 at t = 0, before the first): mean 2, x 3 min / 1 d.
    rule = {"rule": "twap_spread_funding", "spread_interval": "3m"}
    path = one_market_paths([100.0] * 4, premium=[0.0, 0.01, 0.03, 0.02])
    venue, _ = run_one(protocol_of(funding=rule), one_market_book([1e6], [10.0], [100.0]), path)
    assert venue.markets[0]["funding_index"] == pytest.approx(2.0 * 180 / 86_400)


def test_the_cut_of_the_receiving_side_is_booked_with_the_pool():
    # Traders: long 10, short 30; the pool is long 20 with 0 equity, so it may pay nothing: shorts share what longs pay.
    rule = {"rule": "twap_spread_funding", "spread_interval": "1m", "revenue_share": 0.3}
    protocol = protocol_of(funding=rule, execution=[{"rule": "oracle_pool", "pool_equity": 0.0}])
    book = one_market_book([1e6, 1e6], [10.0, -30.0], [100.0, 100.0])
    venue, out = run_one(protocol, book, one_market_paths([100.0, 100.0], premium=[0.0, 0.0144]))
    index = venue.markets[0]["funding_index"]
    assert index == pytest.approx(1.44 / 1440)
    held = account_equity(venue)
    assert held["A0"] - 1e6 == pytest.approx(-10 * index)
    assert held["A1"] - 1e6 == pytest.approx(10 * index)
    assert held["pool"] == pytest.approx(0.0, abs=1e-9)
    assert out["violation"] == 0
