"""Initial margin that grows with open interest, between two bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.open_interest_margin import OpenInterestMargin, initial, maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


# dYdX Long-Tail: 20 % initial, half of it maintenance, scaled between 5M and 10M of open interest.
RATES = {
    "leverage_cap": 5,
    "maintenance_to_initial_ratio": 0.5,
    "open_interest_lower": 5e6,
    "open_interest_upper": 10e6,
}


@pytest.mark.parametrize(
    ("interest", "fraction"), [(0.0, 0.2), (5e6, 0.2), (6e6, 0.36), (7.5e6, 0.6), (10e6, 1.0), (50e6, 1.0)]
)
def test_scaling_by_hand_and_maintenance_is_not_scaled(interest, fraction):
    venue = venue_of({"X": 50.0}, [], margin={"rule": "open_interest_margin", "markets": {"X": RATES}})
    venue.markets[0]["open_interest"] = interest
    for size in (2.0, -2.0):
        assert initial(venue, 0, size, 50.0) == pytest.approx(100.0 * fraction)
        assert maintenance(venue, 0, size, 50.0) == pytest.approx(10.0)


def test_the_engine_sets_open_interest_of_one_side_at_the_start():
    accounts = [(100.0, {0: (3.0, 50.0)}), (100.0, {0: (-5.0, 50.0)})]  # long 3, short 5: makers are long 2
    venue = venue_of({"X": 50.0}, accounts, margin={"rule": "open_interest_margin", "markets": {"X": RATES}})
    assert venue.markets[0]["open_interest"] == 250.0


def test_a_step_rounds_the_scaled_part_down():
    rule = {"rule": "open_interest_margin", "fraction_step": 0.05, "markets": {"X": RATES}}
    venue = venue_of({"X": 1.0}, [], margin=rule)
    venue.markets[0]["open_interest"] = 6e6  # 16 % added, of which 15 % count
    assert initial(venue, 0, 1.0, 1.0) == pytest.approx(0.35)


def test_bounds_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="lies below"):
        OpenInterestMargin(markets={"X": RATES | {"open_interest_lower": 10e6}})
