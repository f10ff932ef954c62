"""Virtual market maker: a liquidation moves along the curve, against the clearing house."""

from __future__ import annotations

import pytest

from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

CURVE = {"rule": "constant_product_impact", "quote_reserve": 10_000.0}


def test_a_close_pays_the_curve():
    # Long 10 at 100 with 60, oracle 97: equity 30 > 24.25; at 96 equity 20 < 24. x0 = 100: selling 10 moves z to -0.1,
    # mean price 96 / 1.1.
    protocol = protocol_of(impact=CURVE, execution=[{"rule": "vamm"}])
    venue, out = run_one(protocol, one_market_book([60.0], [10.0], [100.0]), one_market_paths([100.0, 96.0]))
    cash = account_cash(venue)
    paid = 960.0 / 1.1
    assert cash["A0"] == pytest.approx(60.0 - (1000.0 - paid))
    assert cash["pool"] == pytest.approx(1000.0 - paid)
    assert row_of(venue, "pool") == (0.0, 0.0)
    assert venue.markets[0]["mid"] == pytest.approx(96.0 / 1.21)
    assert out["bad_debt"] == pytest.approx(1000.0 - paid - 60.0)


def test_it_stops_at_the_slippage_cap():
    protocol = protocol_of(impact=CURVE | {"slippage_cap": 0.1}, execution=[{"rule": "vamm"}], rounds_per_step=1)
    venue, _ = run_one(protocol, one_market_book([60.0], [10.0], [100.0]), one_market_paths([100.0, 96.0]))
    assert venue.markets[0]["mid"] == pytest.approx(96.0 * 0.9)
    assert row_of(venue, "A0")[0] == pytest.approx(10.0 - 100.0 * (0.9**-0.5 - 1.0))
