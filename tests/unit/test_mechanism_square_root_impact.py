"""Square-root impact: g(z) = c sign(z) sqrt|z|; a fill pays 2/3 c (|z1|^1.5 - |z0|^1.5) / (z1 - z0)."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from stress.mechanisms.square_root_impact import SquareRootImpact, average, inverse, response
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

IMPACT = {"rule": "square_root_impact", "impact_at_depth": 0.01}


@pytest.fixture(scope="module")
def venue():
    return at_rest(protocol_of(impact=IMPACT), one_market_book([1e6], [1e-9], [100.0]), [100.0])


def test_response_by_hand(venue):
    assert response(venue, 0, 4.0) == pytest.approx(0.02)
    assert response(venue, 0, -4.0) == pytest.approx(-0.02)
    assert response(venue, 0, 0.0) == 0.0
    assert inverse(venue, 0, -0.02) == pytest.approx(-4.0)
    assert inverse(venue, 0, 0.0) == 0.0


def test_average_by_hand(venue):
    assert average(venue, 0, 0.0, 1.0) == pytest.approx(2 / 3 * 0.01)
    # (|4|^1.5 - |1|^1.5) / 3 = 7 / 3; x 2/3 c = 14/9 c, the same for sales with the other sign.
    assert average(venue, 0, 1.0, 4.0) == pytest.approx(14 / 9 * 0.01)
    assert average(venue, 0, -1.0, -4.0) == pytest.approx(-14 / 9 * 0.01)
    # Through zero: G is even, so from -1 to 1 the mean is 0, from -1 to 4 it is 2/3 c x 7/5.
    assert average(venue, 0, -1.0, 1.0) == 0.0
    assert average(venue, 0, -1.0, 4.0) == pytest.approx(2 / 3 * 0.01 * 7 / 5)


def test_average_of_an_empty_fill_is_the_marginal_price(venue):
    assert average(venue, 0, 0.0, 0.0) == 0.0
    assert average(venue, 0, 4.0, 4.0) == pytest.approx(0.02, rel=1e-15)


def test_average_keeps_its_digits_for_a_small_fill_into_large_flow(venue):
    # Against the series g(z) + g'(z) d/2: d = 1e-12 on z = 4, where the plain quotient has lost four digits.
    assert average(venue, 0, 4.0, 4.0 + 1e-12) == pytest.approx(0.02 * (1 + 1e-12 / 16), rel=1e-15)


def test_a_liquidation_pays_the_average():
    # 10 sold into depth 40: z = -1/4, g = -0.005, average -2/3 x 0.005.
    paths = one_market_paths([100.0, 96.5], depth=[40.0, 40.0])
    venue, _ = run_one(protocol_of(impact=IMPACT), one_market_book([40.0], [10.0], [100.0]), paths)
    assert row_of(venue, "outside_book")[1] == pytest.approx(10.0 * 96.5 * (1 - 0.01 / 3))
    assert venue.markets[0]["mid"] == pytest.approx(96.5 * 0.995)


def test_two_liquidations_in_a_row_continue_where_the_first_left_the_book():
    # Two equal accounts: z goes 0 -> -1/4 -> -1/2, and both together pay the average over [0, -1/2].
    paths = one_market_paths([100.0, 96.5], depth=[40.0, 40.0])
    book = one_market_book([45.0, 45.0], [10.0, 10.0], [100.0, 100.0])  # enough to pay for it
    venue, _ = run_one(protocol_of(impact=IMPACT), book, paths)
    assert row_of(venue, "outside_book")[1] == pytest.approx(20.0 * 96.5 * (1 - 2 / 3 * 0.01 * math.sqrt(0.5)))


def test_unknown_and_out_of_bound_parameters_are_refused():
    for wrong in ({"impact_at_depth": -0.01}, {"exponent": 0.5}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            SquareRootImpact(**wrong)
