"""Constant product: x y = k."""

from __future__ import annotations

import pytest

from stress.mechanisms.constant_product_impact import average, inverse, response
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted


def test_price_and_mean_price_are_those_of_the_curve():
    # x0 = 100 base units, y0 = 10,000 USD, k = 1e6: buying 20 leaves 80 and costs 1e6 / 80 - 10,000 = 2,500.
    assert 100.0 * (1 + response(None, 0, 0.2)) == pytest.approx(1e6 / 80**2)
    assert 100.0 * (1 + average(None, 0, 0.0, 0.2)) == pytest.approx(2500.0 / 20.0)
    # Selling 25 then leaves 105.
    assert 100.0 * (1 + average(None, 0, 0.2, -0.05)) == pytest.approx((1e6 / 80 - 1e6 / 105) / 25)
    assert inverse(None, 0, response(None, 0, 0.2)) == pytest.approx(0.2)
    assert response(None, 0, 1.0) == float("inf")
    assert inverse(None, 0, -1.0) == inverse(None, 0, -1.5) == -float("inf")


def test_its_depth_is_the_base_reserve_whatever_the_path_says():
    impact = {"rule": "constant_product_impact", "quote_reserve": 50_000.0}
    venue = at_rest(protocol_of(impact=impact), one_market_book([1e6], [1.0], [100.0]), [100.0])
    assert venue.markets[0]["depth"] == 500.0
