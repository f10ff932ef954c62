"""Cover the shortage to a buffer, throttled in time."""

from __future__ import annotations

import math

import pytest

from stress.kernels.jit import kernel
from stress.mechanisms.cover_to_buffer import base_to_cover, on_fill, quantity, share_now
from stress.mechanisms.flat_margin import maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


@kernel
def no_fee(v, r, filled, price, bankruptcy, equity, requirement, maintenance):
    return 0.0, 0


def venue(**size):
    """One long of 10 at 100 with a cash of 20, 10x and 5 % maintenance: requirement 50, shortage 30."""
    return venue_of(
        {"X": 100.0},
        [(20.0, {0: (10.0, 100.0)})],
        margin={
            "rule": "flat_margin",
            "markets": {"X": {"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}},
        },
        size={"rule": "cover_to_buffer", **size},
        step=10.0,
    )


def closed(v, t=1):
    return quantity(v, 0, 0, 20.0, 50.0, 98.0, t, maintenance, no_fee)


def test_base_by_hand():
    # 30 / (100 x (5 % - 1 %)) = 7.5; with a fund fee of 1 %: 30 / 3 = 10; at an exchange rate of 0.5: 30 / 2 = 15.
    assert base_to_cover(30.0, 0.05, 0.01, 0.0, 100.0, 1.0) == pytest.approx(7.5)
    assert base_to_cover(30.0, 0.05, 0.01, 0.01, 100.0, 1.0) == pytest.approx(10.0)
    assert base_to_cover(30.0, 0.05, 0.01, 0.0, 100.0, 0.5) == pytest.approx(15.0)
    assert base_to_cover(30.0, 0.05, 0.05, 0.0, 100.0, 1.0) == math.inf


def test_share_by_hand():
    assert share_now(49.0, 0.0, 1.0, 10.0, 0.1, 50.0) == 1.0
    assert share_now(100.0, 0.0, 2.0, 10.0, 0.1, 50.0) == pytest.approx(0.3)
    assert share_now(100.0, 50.0, 2.0, 10.0, 0.1, 50.0) == 0.0  # 30 % of 150 is less than what was freed
    assert share_now(100.0, 50.0, 5.0, 10.0, 0.1, 50.0) == pytest.approx(0.4)
    assert share_now(100.0, 0.0, 90.0, 10.0, 0.1, 50.0) == 1.0


def test_quantity_without_throttle_ends_the_shortage():
    assert closed(venue()) == pytest.approx(6.0)  # 4 left need 20, which is there
    assert closed(venue(expected_discount=0.01)) == pytest.approx(7.5)  # 2.5 left need 12.5, 7.5 were paid
    assert closed(venue(size_step=4.0)) == 8.0
    assert closed(venue(whole_below=1000.0)) == 10.0
    # Buffer 2 %: shortage 30 + 20 = 50, over 7 USD a unit.
    assert closed(venue(margin_buffer=0.02)) == pytest.approx(50.0 / 7.0)
    assert closed(venue(expected_discount=0.06)) == 10.0  # closing frees nothing: all


def test_the_share_grows_with_time_and_counts_what_was_freed():
    v = venue(first_share=0.1, throttle_duration="100s", throttle_above=0.0)
    first = closed(v, 5)
    assert first == pytest.approx(0.6)  # a tenth of 6
    v.rows[0]["size"] -= first
    on_fill(v, 0, 0, first, 100.0, 5)
    # 10 s later a fifth of 30 may be freed in all, and 3 were: 3 of the 27 that are left, in whole steps of 1e-4.
    assert quantity(v, 0, 0, 20.0, 47.0, 98.0, 6, maintenance, no_fee) == pytest.approx(0.1111 * 5.4)
    # Not seen in steps 7 and 8: a new liquidation begins.
    assert quantity(v, 0, 0, 20.0, 47.0, 98.0, 9, maintenance, no_fee) == pytest.approx(0.54)


def test_open_orders_are_cancelled_first_and_count_as_freed():
    v = venue(margin_buffer=0.02)
    v.accounts[0]["order_requirement"], v.accounts[0]["order_notional"] = 10.0, 100.0
    assert closed(v) == pytest.approx(50.0 / 7.0)
    assert v.accounts[0]["freed"] == pytest.approx(12.0)
    assert v.accounts[0]["order_requirement"] == v.accounts[0]["order_notional"] == 0.0


def test_a_fill_that_covers_the_shortage_ends_the_liquidation():
    for filled, still in ((5.9, 1), (6.0, 0)):
        v = venue()
        v.accounts[0]["in_liquidation"] = 1
        closed(v)
        on_fill(v, 0, 0, filled, 100.0, 1)
        assert v.accounts[0]["in_liquidation"] == still
