"""Margin fractions with a premium by the square root of size, and high leverage mode."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.size_premium_margin import SizePremiumMargin, initial, maintenance, with_orders
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


# Drift: 10 % initial, 5 % maintenance, imf 5e-5. sqrt(1,000,000) = 1,000 base units adds 5 %.
RATES = {"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5, "size_premium": 5e-5}


def venue(step=0.0, **more):
    rule = {"rule": "size_premium_margin", "fraction_step": step, "markets": {"X": RATES | more}}
    return venue_of({"X": 1.0}, [], margin=rule)


@pytest.mark.parametrize(
    ("size", "maintain", "to_open"),
    [
        (1.0, 0.05, 0.10),  # 80 % + 0.005 %: the floor holds
        (40_000.0, 0.05, 0.10),  # 4 % + 1 % = 5 %
        (1e6, 0.09, 0.13),
        (4e6, 0.14, 0.18),
    ],
)
def test_premium_by_hand(size, maintain, to_open):
    for signed in (size, -size):
        assert maintenance(venue(), 0, signed, 1.0) == pytest.approx(size * maintain)
        assert initial(venue(), 0, signed, 1.0) == pytest.approx(size * to_open)


def test_without_premium_the_fraction_is_flat():
    assert maintenance(venue(size_premium=0.0), 0, 4e6, 1.0) == pytest.approx(4e6 * 0.05)


def test_open_orders_ask_for_the_worst_of_all_bids_and_all_asks():
    # Short 10 with 4 bid and 5 asked: 15 short is the worst; a cent for each of three orders.
    asked, notional = with_orders(venue(), 0, -10.0, 100.0, 4.0, 5.0, 3)
    assert (asked, notional) == (pytest.approx(15.0 * 100.0 * 0.05 + 0.03), 1500.0)


def test_high_leverage_mode_by_hand():
    # 50x, maintenance 1 %. 10,000 units: premium 0.5 %. Maintenance max(1 %, 0.8 % + 0.5 %) = 1.3 %.
    # To open: p = 10 %, a = 8 % + 0.5 % = 8.5 %, share 1 - 1.5 / 2 = 0.25, so 2 % + 8 % x 0.25 = 4 %.
    v = venue(high_leverage_cap=50, high_leverage_ratio=0.5)
    assert maintenance(v, 0, 1e4, 1.0) == pytest.approx(130.0)
    assert initial(v, 0, 1e4, 1.0) == pytest.approx(400.0)
    # 1,000,000 units: a = 8 % + 5 % = 13 % exceeds p, and holds.
    assert initial(v, 0, 1e6, 1.0) == pytest.approx(130_000.0)


def test_fractions_are_rounded_down_to_the_step():
    # sqrt(300,000) x 5e-5 = 2.7386 %, down to 2.73 %; 1 % of 5 % is 1 %: 4 % + 2.73 %.
    assert maintenance(venue(1e-4), 0, 3e5, 1.0) == pytest.approx(3e5 * 0.0673)


def test_half_a_mode_is_refused():
    with pytest.raises(ValidationError, match="given together"):
        SizePremiumMargin(markets={"X": RATES | {"high_leverage_cap": 50}})
