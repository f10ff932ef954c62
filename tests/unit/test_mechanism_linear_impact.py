"""Linear impact: g(z) = c z, c = impact_at_depth."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.impact import absorb_flow, displacement
from stress.mechanisms.linear_impact import LinearImpact, average, inverse, response
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

FLAT = one_market_book([1e6], [1e-9], [100.0])  # an account too small to matter


@pytest.fixture(scope="module")
def venue():
    return at_rest(protocol_of(impact={"rule": "linear_impact", "impact_at_depth": 0.02}), FLAT, [100.0])


def test_response_average_and_inverse_by_hand(venue):
    assert response(venue, 0, 1.5) == pytest.approx(0.03)  # 0.02 x 1.5
    assert response(venue, 0, -1.5) == pytest.approx(-0.03)
    assert response(venue, 0, 0.0) == 0.0
    assert average(venue, 0, 1.0, 2.0) == pytest.approx(0.03)  # the mean of 0.02 and 0.04
    assert average(venue, 0, -1.0, 1.0) == 0.0
    assert average(venue, 0, 0.5, 0.5) == pytest.approx(0.01)  # an empty fill pays the margin
    assert inverse(venue, 0, -0.03) == pytest.approx(-1.5)


def test_a_liquidation_pays_the_average_and_leaves_the_mid_displaced():
    # Long 10 at 100, cash 40, requirement 2.5 % of 940 = 23.5. At 94 equity is 40 - 60 = -20 < 0, at 96.5
    # it is 5 < 24.1: liquidated. Depth 100: z = -0.1, g = -0.001, average -0.0005.
    paths = one_market_paths([100.0, 96.5], depth=[100.0, 100.0])
    venue, out = run_one(protocol_of(), one_market_book([40.0], [10.0], [100.0]), paths)
    price = 96.5 * (1 - 0.0005)
    assert row_of(venue, "outside_book") == pytest.approx((10.0, 10.0 * price))
    assert venue.accounts[0]["cash"] == pytest.approx(40.0 + 10.0 * (price - 100.0))
    assert out["paid_to_book"] == pytest.approx(10.0 * 96.5 * 0.0005)
    assert venue.markets[0]["mid"] == pytest.approx(96.5 * 0.999)
    assert out["dislocation"] == pytest.approx(0.001)


def test_flow_decays_with_the_resilience_and_the_permanent_share_stays():
    # z = -0.1 at step 1, a quarter permanent, resilience = 2 steps:
    # z(2) = -0.025 - 0.075 exp(-1/2); g = 0.01 z.
    impact = {"rule": "linear_impact", "permanent": 0.25, "resilience": "120s"}
    paths = one_market_paths([100.0, 96.5, 96.5, 96.5], depth=[100.0] * 4)
    trace = trace_one(protocol_of(impact=impact), one_market_book([40.0], [10.0], [100.0]), paths)
    assert trace["venue_mid"][1] == pytest.approx(96.5 * (1 - 0.001), rel=1e-14)
    for later in (1, 2):
        z = -0.025 - 0.075 * np.exp(-later / 2)
        assert trace["venue_mid"][1 + later] == pytest.approx(96.5 * (1 + 0.01 * z), rel=1e-14)


def test_flow_is_normalised_by_the_depth_at_the_fill_and_never_repriced(venue):
    venue.markets[0]["flow"] = venue.markets[0]["permanent_flow"] = 0.0
    venue.markets[0]["depth"] = 50.0
    absorb_flow(venue, 0, 0, -10.0 / 50.0)
    venue.markets[0]["depth"] = 5.0  # a thinner book later does not move old flow
    assert displacement(venue, 0, 0) == pytest.approx(-0.2)
    absorb_flow(venue, 0, 0, -1.0 / 5.0)
    assert displacement(venue, 0, 0) == pytest.approx(-0.4)
    venue.markets[0]["flow"] = 0.0


def test_the_arbitrage_share_reaches_the_sources():
    # pi = 0.5: the source moves by half of the own impact. Seen by an oracle with one step of delay.
    impact = {"rule": "linear_impact", "arbitrage_share": 0.5, "permanent": 1.0}
    paths = one_market_paths([100.0, 96.5, 96.5], depth=[100.0] * 3)
    book = one_market_book([40.0], [10.0], [100.0])
    trace = trace_one(protocol_of(impact=impact), book, paths)
    assert trace["oracle_price"][1] == pytest.approx(96.5 * (1 - 0.0005))  # read again within the step
    delayed = {"rule": "external_feed", "oracle_delay": "60s"}
    trace = trace_one(protocol_of(impact=impact, oracle=delayed), book, paths)
    assert trace["oracle_price"].tolist() == pytest.approx([100.0, 100.0, 96.5])  # nothing was filled before step 2


def test_additive_impact_moves_by_the_initial_price():
    # g = -0.001 of 100 = -0.1, whatever the price has become.
    impact = {"rule": "linear_impact", "additive": True}
    paths = one_market_paths([100.0, 96.5], depth=[100.0, 100.0])
    trace = trace_one(protocol_of(impact=impact), one_market_book([40.0], [10.0], [100.0]), paths)
    assert trace["venue_mid"][1] == pytest.approx(96.4)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("impact_at_depth", 0.0),
        ("permanent", 1.1),
        ("arbitrage_share", -0.1),
        ("impact_max", 1.0),
        ("slippage_cap", 0.0),
        ("slippage_cap", 1.0),
        ("resilience", "0s"),
        ("resilience", 1800),
        ("steepness", 1.0),
    ],
)
def test_parameters_out_of_bounds_are_refused_by_name(key, value):
    with pytest.raises(ValidationError, match=key):
        LinearImpact(**{key: value})
