"""Minimum collateral of a position against a pool, scaled with open interest to open."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.pool_minimum_collateral import PoolMinimumCollateral, initial, maintenance
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


# GMX BTC: 0.5 %, 6e-11 per USD of open interest: from 83.3M on the open interest decides.
FRACTIONS = {
    "minimum_collateral": 0.005,
    "minimum_collateral_for_liquidation": 0.005,
    "minimum_collateral_per_open_interest": 6e-11,
}


@pytest.mark.parametrize(("interest", "fraction"), [(0.0, 0.005), (50e6, 0.005), (95e6, 0.0057)])
def test_fractions_by_hand(interest, fraction):
    venue = venue_of({"X": 1e5}, [], margin={"rule": "pool_minimum_collateral", "markets": {"X": FRACTIONS}})
    venue.markets[0]["open_interest"] = interest
    assert initial(venue, 0, -2.0, 1e5) == pytest.approx(2e5 * fraction)
    assert maintenance(venue, 0, -2.0, 1e5) == pytest.approx(1_000.0)


def test_more_to_keep_than_to_open_is_refused():
    with pytest.raises(ValidationError, match="does not exceed"):
        PoolMinimumCollateral(markets={"X": FRACTIONS | {"minimum_collateral_for_liquidation": 0.01}})
