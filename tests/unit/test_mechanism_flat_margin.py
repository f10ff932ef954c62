"""Flat margin: one pair of fractions per market."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.flat_margin import MECHANISM, FlatMargin, initial, maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def venue(**markets):
    return venue_of(dict.fromkeys(("X", "Y"), 100.0), [], margin={"rule": "flat_margin", "markets": markets})


def test_fractions_by_hand_for_both_sides_and_markets():
    # Perpetual Protocol v1: 10x, 6.25 % maintenance; 3 units at 100 are 300 USD.
    v = venue(
        X={"leverage_cap": 10, "maintenance_to_initial_ratio": 0.625},
        default={"leverage_cap": 4, "maintenance_to_initial_ratio": 0.5},
    )
    for size in (3.0, -3.0):
        assert initial(v, 0, size, 100.0) == pytest.approx(30.0)
        assert maintenance(v, 0, size, 100.0) == pytest.approx(18.75)
        assert maintenance(v, 1, size, 100.0) == pytest.approx(37.5)
        assert MECHANISM.bound(v, 0, size, 90.0, 120.0) == pytest.approx(22.5)


def test_a_market_without_rates_is_named():
    with pytest.raises(ValueError, match="nothing stated for Z and no `default`"):
        FlatMargin(markets={"X": {"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}}).terms("Z", 60.0)


@pytest.mark.parametrize("rates", [(0.5, 0.5), (10, 1.0), (10, 0.0)])
def test_rates_that_make_no_sense_are_refused(rates):
    with pytest.raises(ValidationError):
        FlatMargin(markets={"X": {"leverage_cap": rates[0], "maintenance_to_initial_ratio": rates[1]}})
