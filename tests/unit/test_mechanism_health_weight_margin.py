"""Health weights: longs below their price, shorts above."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.health_weight_margin import HealthWeightMargin, initial, maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


WEIGHTS = {
    "long_initial_weight": 0.9,
    "long_maintenance_weight": 0.95,
    "short_initial_weight": 1.1,
    "short_maintenance_weight": 1.06,
}


def test_requirements_by_hand_for_either_side():
    venue = venue_of({"X": 20.0}, [], margin={"rule": "health_weight_margin", "markets": {"X": WEIGHTS}})
    assert initial(venue, 0, 5.0, 20.0) == pytest.approx(10.0)
    assert maintenance(venue, 0, 5.0, 20.0) == pytest.approx(5.0)
    assert initial(venue, 0, -5.0, 20.0) == pytest.approx(10.0)
    assert maintenance(venue, 0, -5.0, 20.0) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"long_maintenance_weight": 0.8}, "a long counts no less"),
        ({"short_maintenance_weight": 1.2}, "a short counts"),
    ],
)
def test_weights_in_the_wrong_order_are_refused(change, rule):
    with pytest.raises(ValidationError, match=rule):
        HealthWeightMargin(markets={"X": WEIGHTS | change})
