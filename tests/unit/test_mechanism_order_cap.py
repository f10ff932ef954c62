"""Order cap: a large position goes in pieces, one per round."""

from __future__ import annotations

import pytest

from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

BOOK = one_market_book([40.0], [10.0], [100.0])


@pytest.mark.parametrize(("rounds", "left"), [(1, 8.0), (2, 6.0), (None, 4.0)])
def test_each_order_closes_no_more_than_the_cap(rounds, left):
    protocol = protocol_of(breakers=[{"rule": "order_cap", "largest_order": 2 * 97.0}], rounds_per_step=rounds)
    venue, out = run_one(protocol, BOOK, one_market_paths([100.0, 97.0]))
    # Infinite depth: each order fills at 97. With 4 left the requirement of 9.7 is below the equity of 10.
    assert row_of(venue, "A0")[0] == pytest.approx(left, abs=1e-9)
    assert out["fills"] == round((10.0 - left) / 2)
