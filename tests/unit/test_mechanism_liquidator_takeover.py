"""Liquidator takeover: the oracle price less a discount, as far as it can be sold on."""

from __future__ import annotations

import numpy as np
import pytest

from stress.kernels.venue import ELIGIBILITY, NO_LIMIT, OUTSIDE_BOOK
from stress.mechanisms.linear_impact import inverse, response
from stress.mechanisms.liquidator_takeover import execute, ramped
from stress.mechanisms.tiered_margin import maintenance
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted


def taken(quantity=10.0, side=1.0, depth=np.inf, t=1, **rule):
    rule = {"rule": "liquidator_takeover", **rule}
    book = one_market_book([1e6], [side * 50.0], [100.0])
    venue = at_rest(protocol_of(execution=[rule]), book, [100.0], steps=40)
    venue.markets[0]["depth"] = depth
    found = execute(venue, 0, 0, quantity, 0.0, 1e6, 1.0, 0.0, t, response, None, inverse, maintenance)
    return found, venue.markets[0]["flow"] + venue.markets[0]["permanent_flow"]


def test_the_discount_is_taken_from_longs_and_added_for_shorts():
    assert taken(takeover_fee=0.01)[0] == (10.0, 99.0, OUTSIDE_BOOK, NO_LIMIT)
    assert taken(takeover_fee=0.01, side=-1.0)[0] == (10.0, 101.0, OUTSIDE_BOOK, NO_LIMIT)


def test_half_of_the_maintenance_fraction():
    assert taken(discount_of_maintenance=0.5)[0][1] == pytest.approx(100.0 * (1 - 0.0125))


@pytest.mark.parametrize(("slots", "fee"), [(10, 0.02), (1499, 0.02), (1500, 0.0215), (100_000, 0.05)])
def test_the_ramp_counts_from_the_first_slot(slots, fee):
    assert ramped(0.02, 0.05, slots, 1500, 1e-6) == pytest.approx(fee)


def test_the_ramp_runs_from_the_last_fill():
    # 20 steps of 60 s at 1e-5 per second: 0.012 more.
    rule = {"takeover_fee": 0.01, "takeover_fee_max": 0.1, "ramp_after": "10m", "ramp_rate": 1e-5}
    assert taken(t=20, **rule)[0][1] == pytest.approx(100.0 * (1 - 0.022))
    assert taken(t=9, **rule)[0][1] == pytest.approx(99.0)


def test_a_liquidator_takes_what_it_can_sell_on_and_no_more():
    # Impact 1 % per depth of 4: 99 is reached after one depth.
    found, flow = taken(takeover_fee=0.01, depth=4.0)
    assert found == (pytest.approx(4.0), 99.0, OUTSIDE_BOOK, ELIGIBILITY)
    assert flow == pytest.approx(-1.0)
    assert taken(takeover_fee=0.01, depth=4.0, resale_margin=0.02)[0][0] == 0.0
    assert taken(takeover_fee=0.01, depth=0.0)[0] == (0.0, 0.0, OUTSIDE_BOOK, ELIGIBILITY)
    assert taken(takeover_fee=0.01, depth=0.0, resale="none")[0][0] == 10.0
