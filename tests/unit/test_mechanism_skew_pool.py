"""Skew pool: the oracle price plus a premium that follows the skew, half the order counted."""

from __future__ import annotations

import pytest

from stress.kernels.venue import NO_LIMIT, POOL
from stress.mechanisms.skew_pool import execute, fill_price
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted


def test_price_by_hand():
    assert fill_price(1000.0, 0.0, 1.0, 100_000.0) == pytest.approx(1000.005)
    assert fill_price(1000.0, 0.0, -1.0, 100_000.0) == pytest.approx(999.995)
    assert fill_price(1000.0, 20.0, -40.0, 1000.0) == pytest.approx(1000.0)  # from +20 to -20: nothing on average


def test_a_close_pays_for_the_skew_that_it_meets():
    rule = {"rule": "skew_pool", "pool_equity": 1e6, "price_skew_scale": 1000.0}
    book = one_market_book([1e6, 1e6], [10.0, -30.0], [100.0, 100.0])
    venue = at_rest(protocol_of(execution=[rule]), book, [100.0])
    args = (0.0, 1e6, 1.0, 0.0, 1, None, None, None, None)
    # Net -20: the sale of 10 ends at -30, mean -25; the purchase of 10 ends at -10, mean -15.
    assert execute(venue, 0, 0, 10.0, *args) == (10.0, pytest.approx(97.5), POOL, NO_LIMIT)
    assert execute(venue, 1, 1, 10.0, *args)[1] == pytest.approx(98.5)
