"""Oracle pool: closes at the oracle price, moved by what the trade does to the skew."""

from __future__ import annotations

import pytest

from stress.kernels.venue import NO_LIMIT, POOL
from stress.mechanisms.oracle_pool import execute, execution_price, impact_term, price_impact
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

POOLED = {"rule": "oracle_pool", "pool_equity": 10_000.0}


def test_a_term_below_one_usd_counts_only_where_it_is_linear():
    assert impact_term(0.5, 1e-3, 2.0) == 0.0
    assert impact_term(0.5, 1e-3, 1.0) == 0.0005
    assert impact_term(1000.0, 1e-8, 2.0) == pytest.approx(0.01)


def test_impact_by_hand():
    # f+ = 5e-9, f- = 1e-8, both exponents 2; USD.
    factors = (5e-9, 2.0, 1e-8, 2.0)
    assert price_impact(0.0, 2e5, *factors) == pytest.approx(-400.0)
    assert price_impact(2e5, 4e5, *factors) == pytest.approx(-1200.0)
    assert price_impact(-2e5, 0.0, *factors) == pytest.approx(200.0)
    assert price_impact(-2e5, 1e5, *factors) == pytest.approx(200.0 - 100.0)  # crosses: f+ d0^2 - f- d1^2


def test_a_gain_buys_cheaper_and_sells_dearer():
    assert execution_price(100.0, 1000.0, 10.0, True) == pytest.approx(100.0 / 1.01)
    assert execution_price(100.0, 1000.0, 10.0, False) == pytest.approx(100.0 / 0.99)


def test_the_pool_holds_the_imbalance_and_closes_at_the_oracle_price_without_factors():
    # Long 10 at 100 with 40: at 97 equity 10 < 24.25. The pool is short 10 and gains 30; 10 stay with the trader.
    venue, out = run_one(
        protocol_of(execution=[POOLED]), one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0, 97.0])
    )
    cash = account_cash(venue)
    assert (cash["A0"], cash["pool"], cash["market_makers"]) == pytest.approx((10.0, 10_030.0, 0.0))
    assert row_of(venue, "pool") == (0.0, 0.0)
    assert out["fills"] == 1
    assert out["mutualised_loss"] == 0.0


def test_the_impact_of_a_close_is_capped_as_a_share_of_the_notional():
    rule = POOLED | {"impact_factor_negative": 1.0, "impact_cost_cap": 0.01, "impact_factor_positive": 1.0}
    book = one_market_book([1e6, 1e6], [10.0, -30.0], [100.0, 100.0])
    venue = at_rest(protocol_of(execution=[rule | {"impact_gain_cap": 0.02}]), book, [100.0])
    # Traders are net short 20: selling 10 makes it worse, buying back 10 makes it better.
    filled, price, who, limit = execute(venue, 0, 0, 10.0, 0.0, 1e6, 1.0, 0.0, 1, None, None, None, None)
    assert (filled, who, limit) == (10.0, POOL, NO_LIMIT)
    assert price == pytest.approx(100.0 / 1.01)
    assert execute(venue, 1, 1, 10.0, 0.0, 1e6, 1.0, 0.0, 1, None, None, None, None)[1] == pytest.approx(100.0 / 1.02)
