"""Liquidation, bankruptcy and fillable prices of isolated and cross positions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import stress
from stress.errors import StudyError
from stress.kernels.jit import INTERPRETED
from tests.venues import book_of, protocol_of

HALF_OF_FIVE = {
    "rule": "flat_margin",
    "markets": {"default": {"leverage_cap": 20, "maintenance_to_initial_ratio": 0.5}},
}
FLAT = protocol_of(margin=HALF_OF_FIVE)  # 2.5 % of notional


def one(cash, size, entry=100.0, protocol=FLAT, price=100.0):
    book = book_of(("X",), [cash], [[(0, size, entry)]])
    return float(stress.liquidation_price(protocol, book, [price])[0]), float(
        stress.bankruptcy_price(protocol, book, [price])[0]
    )


@pytest.mark.interpreted
def test_one_position_by_hand():
    # Long 10 at 100 with 50: 50 + 10 (P - 100) = 0.025 x 10 P -> P = 950 / 9.75. Bankrupt at 95.
    assert one(50.0, 10.0) == pytest.approx((950.0 / 9.75, 95.0))
    # Short: 50 - 10 (P - 100) = 0.25 P -> P = 1050 / 10.25.
    assert one(50.0, -10.0) == pytest.approx((1050.0 / 10.25, 105.0))
    # Entered at 90, marked at 100: equity 150.
    assert one(50.0, 10.0, entry=90.0) == pytest.approx((850.0 / 9.75, 85.0))


@pytest.mark.interpreted
def test_the_equity_at_the_liquidation_price_is_the_requirement_there():
    tiers = [
        {"above": 0, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5},
        {"above": 900, "leverage_cap": 10, "maintenance_to_initial_ratio": 0.5},
    ]
    protocol = protocol_of(margin={"rule": "tiered_margin", "markets": {"X": tiers}})
    price, _ = one(50.0, -10.0, protocol=protocol)
    assert 50.0 - 10.0 * (price - 100.0) == pytest.approx(0.05 * 10.0 * price - 900.0 * 0.025)


@pytest.mark.interpreted
def test_an_account_that_is_liquidatable_is_told_where_it_would_not_be():
    price, bankruptcy = one(20.0, 10.0)  # 20 < 25
    assert price == pytest.approx(980.0 / 9.75)
    assert price > 100.0 > bankruptcy == pytest.approx(98.0)


@pytest.mark.interpreted
def test_no_price_where_none_exists():
    assert np.isnan(one(2000.0, 10.0)[0])  # more cash than the position can lose
    book = book_of(("X",), [-1.0], [[]])
    assert stress.liquidation_price(FLAT, book, [100.0]).size == 0


@pytest.mark.interpreted
def test_a_cross_account_has_one_price_per_position():
    # Long 10 X at 100, short 20 Y at 40, cash 60: requirements 25 and 20.
    book = book_of(("X", "Y"), [60.0], [[(0, 10.0, 100.0), (1, -20.0, 40.0)]])
    found = stress.liquidation_price(FLAT, book, [100.0, 40.0])
    # X: 60 + 10 (P - 100) = 0.25 P + 20; Y: 60 - 20 (P - 40) = 25 + 0.5 P.
    assert found == pytest.approx([960.0 / 9.75, 835.0 / 20.5])
    # Shares of the equity 25/45 and 20/45.
    assert stress.bankruptcy_price(FLAT, book, [100.0, 40.0]) == pytest.approx(
        [100.0 - 60.0 * 25.0 / 45.0 / 10.0, 40.0 + 60.0 * 20.0 / 45.0 / 20.0]
    )


@pytest.mark.interpreted
def test_fillable_price_by_hand():
    # Equity 20 of 25: ABR = 1 x 0.2; spread 1.5 x 25 = 37.5 over 10 units.
    rule = {"rule": "order_book", "order_limit": "fillable", "spread_to_maintenance": 1.5}
    book = book_of(("X",), [20.0], [[(0, 10.0, 100.0)]])
    found = stress.fillable_price(protocol_of(margin=HALF_OF_FIVE, execution=[rule]), book, [100.0])
    assert found == pytest.approx([100.0 - 0.2 * 3.75])


@pytest.mark.interpreted
def test_a_trigger_with_a_reward_is_reached_earlier():
    trigger = {"rule": "remaining_collateral", "minimum_collateral_usd": 30.0}
    price, _ = one(50.0, 10.0, protocol=protocol_of(margin=HALF_OF_FIVE, trigger=trigger))
    assert price == pytest.approx(98.0)  # 50 + 10 (P - 100) = 30


@pytest.mark.interpreted
def test_a_venue_without_an_order_book_has_no_fillable_price():
    protocol = protocol_of(execution=[{"rule": "backstop_vault", "vault_equity": 1.0, "takeover_below": 0.5}])
    with pytest.raises(StudyError, match="has no order book"):
        stress.fillable_price(protocol, book_of(("X",), [1.0], [[(0, 1.0, 1.0)]]), [1.0])


@pytest.mark.skipif(INTERPRETED, reason="compiled kernels are what this test is about")
def test_compiled():
    assert one(50.0, 10.0) == pytest.approx((950.0 / 9.75, 95.0))
