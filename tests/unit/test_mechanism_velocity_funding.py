"""Velocity funding: the skew moves the rate."""

from __future__ import annotations

import pytest

from stress.mechanisms.velocity_funding import accrued, velocity
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


def test_by_hand():
    assert velocity(20.0, 10_000.0, 3.0) == pytest.approx(0.006)
    assert velocity(-1e9, 10_000.0, 3.0) == -3.0
    assert accrued(2000.0, 0.006, -0.006, 1.0) == 0.0
    assert accrued(2000.0, 0.0, 0.006, 1.0) == pytest.approx(6.0)


def test_the_rate_integrates_the_skew_and_the_index_the_rate():
    rule = {"rule": "velocity_funding", "funding_skew_scale": 1000.0, "velocity_max": 9.0, "funding_rate_start": 0.01}
    venue, _ = run_one(
        protocol_of(funding=rule), one_market_book([1e6], [10.0], [100.0]), one_market_paths([100.0] * 5)
    )
    days = 4 * 60 / 86_400
    rate = 0.01 + 0.09 * days
    assert venue.markets[0]["rate_moved"] == pytest.approx(rate - 0.01)
    assert venue.markets[0]["funding_index"] == pytest.approx(100.0 * 0.5 * (0.01 + rate) * days)
