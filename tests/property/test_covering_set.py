"""Compiled compositions in which every two rules of different stages meet at least once: I1 to I3 and I9 hold on each."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stress import engine
from stress.kernels.jit import INTERPRETED
from stress.mechanisms import of_stage
from stress.stages import Stage
from tests.property.compositions import STEP, blocks, books, rules
from tests.venues import protocol_of

STAGES = (
    Stage.WATERFALL,
    Stage.EXECUTION,
    Stage.BREAKERS,
    Stage.MARGIN,
    Stage.SIZE,
    Stage.FUNDING,
    Stage.TRIGGER,
    Stage.IMPACT,
    Stage.FEES,
    Stage.MARK,
    Stage.ORACLE,
    Stage.MARGIN_MODIFIERS,
)
LISTS = (Stage.WATERFALL, Stage.EXECUTION, Stage.BREAKERS, Stage.MARGIN_MODIFIERS)


def covering_set() -> list[dict[Stage, str]]:
    """Return compositions, one rule per stage, that hold every pair of rules of two stages; greedy, the same every time."""
    shelf = {stage: sorted(of_stage(stage)) for stage in STAGES}
    missing = {
        frozenset({(a, x), (b, y)}) for a, b in itertools.combinations(STAGES, 2) for x in shelf[a] for y in shelf[b]
    }
    found = []
    while missing:
        chosen = dict(min(sorted(pair) for pair in missing))
        for stage in STAGES:
            if stage not in chosen:
                gains = [
                    sum(frozenset({(stage, rule), other}) in missing for other in chosen.items())
                    for rule in shelf[stage]
                ]
                chosen[stage] = shelf[stage][gains.index(max(gains))]
        missing -= {frozenset(pair) for pair in itertools.combinations(chosen.items(), 2)}
        found.append(chosen)
    return found


def test_every_pair_of_rules_meets():
    found = covering_set()
    largest = sorted(len(of_stage(stage)) for stage in STAGES)[-2:]
    assert largest[0] * largest[1] <= len(found) <= 4 * largest[0] * largest[1]


each_composition = pytest.mark.parametrize(
    "chosen", covering_set(), ids=lambda chosen: f"{chosen[Stage.WATERFALL]}-{chosen[Stage.EXECUTION]}"
)
few = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


def play(chosen, data, culled=True):
    stated = {stage.value: data.draw(rules(name)) for stage, name in chosen.items()}
    listed = {stage.value for stage in LISTS}
    protocol = protocol_of(
        **{name: [rule] if name in listed else rule for name, rule in stated.items()}, rounds_per_step=3
    )
    book, block = data.draw(books()), data.draw(blocks(paths=2))
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    outcomes = [
        engine.simulate(engine.compose(protocol, culled=way), cell, block)
        for way in ((True, False) if culled else (True,))
    ]
    assert (outcomes[0].paths["violation"] == 0).all()
    assert all(outcome.paths.tobytes() == outcomes[0].paths.tobytes() for outcome in outcomes)
    assert all(outcome.markets.tobytes() == outcomes[0].markets.tobytes() for outcome in outcomes)


@pytest.mark.interpreted
@each_composition
@few
@given(st.data())
def test_identities_hold_where_two_rules_meet(chosen, data):
    play(chosen, data)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="compiled kernels are what this test is about")
@each_composition
@few
@given(st.data())
def test_identities_hold_where_two_rules_meet_compiled(chosen, data):
    play(chosen, data, culled=False)  # one compilation each
