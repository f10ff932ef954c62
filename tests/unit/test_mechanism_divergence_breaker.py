"""Divergence breaker: |V / O - 1| > limit stops actions, and for a pause after it ended. Step 60 s."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.mechanisms.divergence_breaker import DivergenceBreaker
from tests.venues import book_of, one_market_book, one_market_paths, paths_of, protocol_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

# Long 10 at 100 with cash 40: below its requirement at 96.5, and still solvent there.
LONG = one_market_book([40.0], [10.0], [100.0])
EACH_STEP = {"rule": "premium_clamp_funding", "funding_interval": "60s", "interest": 0.01, "funding_clamp": 1.0}


def protocol(pause="0s", blocks=("liquidate",), limit=0.25, **stages):
    rule = {"rule": "divergence_breaker", "divergence_limit": limit, "divergence_pause": pause}
    return protocol_of(breakers=[rule | {"divergence_blocks": list(blocks)}], **stages)


def liquidated_at(premium, steps=8, **given):
    world = [100.0] + [96.5] * (steps - 1)
    premium = list(premium) + [0.0] * (steps - len(premium))
    out = run_one(protocol(**given), LONG, one_market_paths(world, premium=premium))[1]
    return out["first_liquidation_step"]


def test_liquidation_stops_in_the_very_step_and_resumes_in_the_next():
    assert liquidated_at([0.0, 0.3, 0.0]) == 2
    assert liquidated_at([0.0, -0.3, -0.3, 0.0]) == 3  # below as well as above


def test_the_limit_itself_is_tolerated():
    # V / O = 1.25 exactly at O = 96: 96 x 1.25 = 120.
    paths = one_market_paths([100.0, 96.0], premium=[0.0, 0.25])
    assert run_one(protocol(), one_market_book([45.0], [10.0], [100.0]), paths)[1]["first_liquidation_step"] == 1


@pytest.mark.parametrize(("pause", "first"), [("0s", 2), ("60s", 3), ("90s", 4), ("120s", 4)])
def test_the_pause_starts_when_the_condition_ends_and_is_rounded_up(pause, first):
    assert liquidated_at([0.0, 0.3, 0.0], pause=pause) == first


def test_a_new_divergence_extends_the_pause():
    assert liquidated_at([0.0, 0.3, 0.0, 0.3, 0.0], pause="120s") == 6


def test_other_actions_go_on():
    assert liquidated_at([0.0, 0.3], blocks=("fund", "adl", "mark_update")) == 1


def test_the_world_moves_on_and_the_mark_jumps_at_resume():
    # Tripped in step 1 after its mark; step 2 is the first update that can be stopped.
    trace = trace_one(
        protocol(blocks=("mark_update",)),
        one_market_book([1e6], [1e-9], [100.0]),
        one_market_paths([100.0, 90.0, 80.0, 70.0], premium=[0.0, 0.3, 0.0, 0.0]),
    )
    assert trace["mark_price"].tolist() == [100.0, 90.0, 90.0, 70.0]


def test_funding_stops_in_the_step_after_the_condition_was_seen():
    # Paid in steps 1 (before the breaker looks), 3 and 4, not in 2: the interest is 0.01 per 8 h, a step
    # holds 1/480 of it, whatever the premium (the clamp is wide).
    venue, _ = run_one(
        protocol(blocks=("fund",), funding=EACH_STEP),
        one_market_book([1e6], [1e-9], [100.0]),
        one_market_paths([100.0] * 5, premium=[0.0, 0.3, 0.0, 0.0, 0.0]),
    )
    assert venue.markets[0]["funding_index"] == pytest.approx(3 * 0.01 / 480 * 100.0)


def test_only_the_market_in_which_it_holds_stops():
    book = book_of(("X", "Y"), [40.0, 40.0], [[(0, 10.0, 100.0)], [(1, 10.0, 100.0)]])
    world = np.array([[[100.0, 100.0], [96.5, 96.5]]])
    venue, _ = run_one(protocol(), book, paths_of(world, premium=np.array([[[0.0, 0.0], [0.3, 0.0]]])))
    assert [venue.rows[r]["size"] for r in range(2)] == [10.0, 0.0]


def test_the_limit_is_positive_and_what_stops_is_named_and_counted_once():
    for wrong in ([], ["breathe"], "liquidate"):
        with pytest.raises(ValidationError, match="divergence_blocks"):
            DivergenceBreaker(divergence_limit=0.1, divergence_blocks=wrong)
    with pytest.raises(ValidationError, match="divergence_limit"):
        DivergenceBreaker(divergence_limit=0.0, divergence_blocks=["fund"])
    named = DivergenceBreaker(divergence_limit=0.1, divergence_blocks=["fund", "liquidate", "fund"])
    assert named.terms("X", 60.0)["divergence_blocks"] == 16 + 2
