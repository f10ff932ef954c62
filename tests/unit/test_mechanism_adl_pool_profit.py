"""Pool-profit deleveraging: a side that the pool cannot carry is closed in part, then capped."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.adl_pool_profit import AdlPoolProfit, paid_share, pnl_factor
from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

LAYER = {"rule": "adl_pool_profit", "pnl_factor_max": 0.5, "pnl_factor_after": 0.2, "profit_cap": 0.9}


def run(pool, world, blocked=False, **changed):
    protocol = protocol_of(
        execution=[{"rule": "oracle_pool", "pool_equity": pool}],
        waterfall=[LAYER | changed],
        breakers=[{"rule": "divergence_breaker", "divergence_limit": 1e-6, "divergence_blocks": ["adl"]}]
        if blocked
        else [],
    )
    book = one_market_book([1e4, 1e4], [10.0, 20.0], [100.0, 105.0])
    return run_one(protocol, book, one_market_paths(world, premium=0.01 if blocked else 0.0))


def test_factors_by_hand():
    assert pnl_factor(-5.0, 100.0) == 0.0
    assert pnl_factor(20.0, 100.0) == 0.2
    assert paid_share(250_000.0, 1e6, 0.07) == pytest.approx(0.28)
    assert paid_share(50_000.0, 1e6, 0.07) == 1.0


def test_the_largest_profits_are_closed_at_the_oracle_price_until_the_factor_is_down():
    # At 120 the longs are ahead by 200 and 300; the pool of 1,000 is worth 1,000 before what it owes: factor 0.5.
    venue, out = run(900.0, [100.0, 120.0])
    # Entries average 103.33: the pool sold at 100, so it had 900 and is worth 900 - 600 + 500.
    pool = 900.0 - 30.0 * 20.0 + 500.0
    excess = 500.0 - 0.2 * pool
    assert excess > 300.0
    assert row_of(venue, "A1") == pytest.approx((0.0, 0.0))
    assert row_of(venue, "A0")[0] == pytest.approx(10.0 * (1 - (excess - 300.0) / 200.0))
    assert out["adl_shortfall"] == out["mutualised_loss"] == 0.0
    assert out["adl_notional"] == pytest.approx(120.0 * (20.0 + 10.0 * (excess - 300.0) / 200.0))


def test_below_the_trigger_nothing_is_closed():
    assert run(1e6, [100.0, 120.0])[1]["adl_notional"] == 0.0


def test_profits_above_the_cap_are_cut_at_the_horizon_and_the_winners_carry_it():
    venue, out = run(200.0, [100.0, 110.0], blocked=True)
    # Owed 100 + 100; the pool is worth 200 - 300 + 200 = 100 and pays 90 of 200.
    assert out["socialized_loss"] == pytest.approx(110.0)
    assert account_cash(venue)["A0"] == pytest.approx(1e4 - 55.0)
    assert out["violation"] == 0


def test_the_factors_are_ordered():
    with pytest.raises(ValidationError, match="pnl_factor_after"):
        AdlPoolProfit(pnl_factor_max=0.5, pnl_factor_after=0.5, profit_cap=0.9)
