"""Margin that grows with the share of the skew scale that a position takes."""

from __future__ import annotations

import pytest

from stress.mechanisms.skew_linear_margin import initial, maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


# Synthetix SOL (SCCP-382): 4.9 at a skew scale of 1,406,250, floor 2 %, scalar 0.33, 50 USD per position.
RATES = {
    "skew_scale": 1_406_250.0,
    "initial_margin_ratio": 4.9,
    "minimum_initial_margin_ratio": 0.02,
    "maintenance_to_initial_ratio": 0.33,
    "minimum_position_margin": 50.0,
}


def test_requirements_by_hand():
    venue = venue_of({"X": 150.0}, [], margin={"rule": "skew_linear_margin", "markets": {"X": RATES}})
    # 2,812.5 units are 0.2 % of the scale: 0.98 % + 2 % = 2.98 %. 421,875 USD.
    for size in (2812.5, -2812.5):
        assert initial(venue, 0, size, 150.0) == pytest.approx(421_875.0 * 0.0298 + 50.0)
        assert maintenance(venue, 0, size, 150.0) == pytest.approx(421_875.0 * 0.0298 * 0.33 + 50.0)
    assert initial(venue, 0, 0.0, 150.0) == maintenance(venue, 0, 0.0, 150.0) == 0.0
