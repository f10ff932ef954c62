"""Adaptive margin: a multiplier that follows volatility and correlation. Step 60 s."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from stress.mechanisms.adaptive_margin import YEAR, AdaptiveMargin, bound, correlation, scaled, target, update
from tests.venues import at_rest, book_of, one_market_book, one_market_paths, paths_of, protocol_of, run_one

pytestmark = pytest.mark.interpreted

# A move of 1 % per minute is this volatility per year.
ONE_PERCENT = 0.01 * math.sqrt(YEAR / 60.0)
RULE = {
    "rule": "adaptive_margin",
    "reference_volatility": ONE_PERCENT,
    "volatility_half_life": "60s",
    "reset_interval": "120s",
    "speed_limit": 0.5,
}


def multiplier_after(world, **rule):
    protocol = protocol_of(margin_modifiers=[RULE | rule])
    venue, _ = run_one(protocol, one_market_book([1e9], [1e-9], [100.0]), one_market_paths(world))
    return venue.markets[0]["margin_multiplier"]


def swings(*moves):
    return [100.0, *(100.0 * np.exp(np.cumsum(moves))).tolist()]


def test_variance_and_multiplier_by_hand():
    # Half-life of one step: after moves of 2 % and 4 %, 1 -> 2.5 -> 9.25 times the reference variance.
    # The reset in step 2 asks for 3.04 and gets 1.5, that in step 4 would get 2.25.
    assert multiplier_after(swings(0.02, 0.04)) == pytest.approx(1.5)
    assert multiplier_after(swings(0.02, 0.04), speed_limit=9.0) == pytest.approx(math.sqrt(9.25))
    assert multiplier_after(swings(0.02, 0.04), speed_limit=9.0, ceiling=2.0) == 2.0
    assert multiplier_after(swings(0.02, -0.04, 0.04, -0.04)) == pytest.approx(2.25)


def test_between_resets_nothing_changes():
    assert multiplier_after(swings(0.05)) == 1.0
    assert multiplier_after(swings(0.02, 0.04, 0.3)) == pytest.approx(1.5)


def test_calm_lowers_it_to_the_floor_and_no_faster_than_the_limit():
    calm = swings(*[0.0] * 8)
    assert multiplier_after(calm, floor=0.5, speed_limit=0.1) == pytest.approx(1.1**-4)
    assert multiplier_after(calm, floor=0.5, speed_limit=9.0) == 0.5
    assert multiplier_after(calm) == 1.0


def test_the_stressed_weight_holds_it_up_in_calm():
    # Variance 2^-8, volatility 1/16: 0.75 / 16 + 0.25 x 2.4.
    kept = multiplier_after(
        swings(*[0.0] * 8), floor=0.1, speed_limit=9.0, stressed_weight=0.25, stressed_multiplier=2.4
    )
    assert kept == pytest.approx(0.75 / 16.0 + 0.6)


@pytest.fixture(scope="module")
def pair():
    rule = RULE | {"reset_interval": "60s", "correlation_weight": 1.0, "reference_correlation": 0.0, "floor": 0.01}
    return at_rest(
        protocol_of(margin_modifiers=[rule]), book_of(("X", "Y"), [1e9], [[(0, 1e-9, 100.0)]]), [100.0, 100.0], steps=1
    )


def test_correlation_of_markets_that_move_as_one(pair):
    v = pair
    for t in range(2, 40):
        v.markets["oracle"] *= 1.0 + 0.01 * (-1.0) ** t
        update(v, None, t)
    assert correlation(v, 0) == pytest.approx(1.0, abs=1e-6)
    assert target(v, 0) == pytest.approx(2.0 * math.sqrt(v.markets[0]["realised_variance"]) / ONE_PERCENT)
    for t in range(40, 80):  # and against each other
        v.markets["oracle"] *= 1.0 + 0.01 * (-1.0) ** t * np.array([1.0, -1.0])
        update(v, None, t)
    assert correlation(v, 0) == pytest.approx(-1.0, abs=1e-3)
    assert target(v, 0) == pytest.approx(math.sqrt(v.markets[0]["realised_variance"]) / ONE_PERCENT)


def test_requirement_is_scaled_up_to_notional(pair):
    pair.markets[0]["margin_multiplier"] = 3.0
    assert scaled(pair, 0, -2.0, 100.0, 10.0) == 30.0
    assert scaled(pair, 0, -2.0, 100.0, 90.0) == 200.0
    assert bound(pair, 0, -2.0, 80.0, 110.0, 11.0) == 33.0


def test_a_calm_account_is_liquidated_by_a_rise_of_the_multiplier_alone():
    # 10 at 100, 2.5 %: 25 USD. Equity 30 is enough until the multiplier is 1.5: 37.5.
    book = one_market_book([30.0], [10.0], [100.0])
    world = [100.0, 102.0, 100.0, 102.0, 100.0]
    for rules, fills in (([], 0), ([RULE], 1)):
        for culled in (True, False):
            _, out = run_one(protocol_of(margin_modifiers=rules), book, one_market_paths(world), culled=culled)
            assert out["fills"] == fills


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"floor": 6.0}, "floor does not exceed ceiling"),
        ({"reset_interval": "0s"}, "above 0s"),
        ({"reference_volatility": {"X": 0.0}}, "greater than 0"),
        ({"stressed_weight": 1.5}, "less than or equal to 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(change, rule):
    with pytest.raises(ValidationError, match=rule):
        AdaptiveMargin(**{key: value for key, value in (RULE | change).items() if key != "rule"})


def test_a_path_of_two_markets_takes_the_references_of_each():
    rule = RULE | {
        "reference_volatility": {"X": ONE_PERCENT, "default": 4.0 * ONE_PERCENT},
        "speed_limit": 9.0,
        "floor": 0.1,
    }
    world = np.array([swings(0.02, 0.04)]).T[None] * np.ones(2)
    book = book_of(("X", "Y"), [1e9], [[(0, 1e-9, 100.0)]])
    venue, _ = run_one(protocol_of(margin_modifiers=[rule]), book, paths_of(world))
    assert venue.markets["margin_multiplier"] == pytest.approx([math.sqrt(9.25), math.sqrt(13.0) / 4.0])
