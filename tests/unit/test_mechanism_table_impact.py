"""Table impact: straight lines between measured points."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.table_impact import TableImpact, average, inverse, response
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted

PROFILE = [(1.0, 0.01), (3.0, 0.05)]


@pytest.fixture(scope="module")
def venue():
    impact = {"rule": "table_impact", "profile": PROFILE}
    return at_rest(protocol_of(impact=impact), one_market_book([1e6], [1.0], [100.0]), [100.0])


@pytest.mark.parametrize(
    ("z", "g"), [(0.0, 0.0), (0.5, 0.005), (1.0, 0.01), (2.0, 0.03), (3.0, 0.05), (4.0, 0.07), (-2.0, -0.03)]
)
def test_response_is_the_line_and_its_inverse_undoes_it(venue, z, g):
    assert response(venue, 0, z) == pytest.approx(g)
    assert inverse(venue, 0, g) == pytest.approx(z)


def test_mean_over_a_knot_by_hand(venue):
    # Areas: 0..1: 0.005; 1..3: 0.06. From 0 to 3: 0.065 / 3.
    assert average(venue, 0, 0.0, 3.0) == pytest.approx(0.065 / 3.0)
    assert average(venue, 0, -1.0, 3.0) == pytest.approx((0.065 - 0.005) / 4.0)
    assert average(venue, 0, 0.5, 0.5) == pytest.approx(0.005)


def test_a_profile_rises():
    with pytest.raises(ValidationError, match="rise"):
        TableImpact(profile=((1.0, 0.02), (2.0, 0.01)))
