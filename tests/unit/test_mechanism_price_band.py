"""Price band: an order fills nowhere beyond it."""

from __future__ import annotations

import pytest

from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_order_stops_at_the_band_around_the_oracle_price(side):
    # Impact 1 % per depth of 1: a band of 2 % is two contracts wide, whatever is left.
    price = 100.0 - 4.0 * side
    protocol = protocol_of(
        breakers=[{"rule": "price_band", "band": 0.02}],
        execution=[{"rule": "order_book", "deficit_fill": "any"}],
        rounds_per_step=1,
    )
    book = one_market_book([50.0], [10.0 * side], [100.0])
    venue, _ = run_one(protocol, book, one_market_paths([100.0, price], depth=1.0))
    assert row_of(venue, "A0")[0] == pytest.approx(8.0 * side)
    assert venue.markets[0]["mid"] == pytest.approx(price * (1 - 0.02 * side))
