"""Collateral discounted by the size of the holding."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.collateral_skew_discount import CollateralSkewDiscount, bound, haircut, sale
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted

ASSET = {
    "collateral_skew_scale": 100.0,
    "discount_scalar": 2.0,
    "lowest_discount": 0.01,
    "highest_discount": 0.1,
}


@pytest.mark.parametrize(("size", "discount"), [(0.1, 0.01), (0.5, 0.01), (2.0, 0.04), (5.0, 0.1), (80.0, 0.1)])
def test_discount_by_hand(size, discount):
    rule = {"rule": "collateral_skew_discount", "markets": {"C": ASSET}}
    venue = venue_of({"C": 30.0}, [(-1.0, {0: (size, 0.0)})], collateral=[rule])
    assert haircut(venue, 0, size, 30.0) == pytest.approx(size * 30.0 * discount)
    assert bound(venue, 0, size, 20.0, 40.0) == pytest.approx(size * 40.0 * discount)
    assert sale(venue, 0, 0, 1.0, 2.0, 1) == size


def test_two_rules_share_a_venue():
    weights = {"initial_weight": 0.5, "maintenance_weight": 0.5}
    rules = [
        {"rule": "collateral_weights", "markets": {"D": weights}},
        {"rule": "collateral_skew_discount", "markets": {"C": ASSET}},
    ]
    venue = venue_of({"C": 30.0, "D": 1.0}, [(0.0, {0: (2.0, 0.0), 1: (10.0, 0.0)})], collateral=rules)
    assert venue.markets["holding"].tolist() == [2, 1]
    assert haircut(venue, 0, 2.0, 30.0) == pytest.approx(2.4)


def test_discounts_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="does not exceed"):
        CollateralSkewDiscount(markets={"C": ASSET | {"lowest_discount": 0.2}})
