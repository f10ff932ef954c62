"""Compiled compositions in which every two rules of different stages meet at least once: I1 to I3 and I9 hold on each."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from stress import engine
from stress.kernels.jit import INTERPRETED
from stress.kernels.venue import ACCOUNT_FIELDS, MARKET_FIELDS, ROW_FIELDS, VENUE_FIELDS, Start
from stress.mechanisms import of_stage, shelf
from stress.stages import MechanismParameters, Stage
from tests.property.compositions import STEP, blocks, books, rules
from tests.venues import protocol_of

ONE_RULE = (
    Stage.MARGIN,
    Stage.SIZE,
    Stage.FUNDING,
    Stage.TRIGGER,
    Stage.IMPACT,
    Stage.FEES,
    Stage.MARK,
    Stage.ORACLE,
)
# Stages that hold a list are split into places, in the order of the list: rules of one place would not stand beside each other.
LISTS = (
    (Stage.EXECUTION, lambda name: name != "backstop_vault"),
    (Stage.EXECUTION, lambda name: name == "backstop_vault"),
    (Stage.WATERFALL, lambda name: "fund" in name),
    (Stage.WATERFALL, lambda name: name.startswith("adl_")),
    (Stage.WATERFALL, lambda name: "fund" not in name and not name.startswith("adl_")),
    (Stage.BREAKERS, lambda name: name < "open"),
    (Stage.BREAKERS, lambda name: name >= "open"),
    (Stage.MARGIN_MODIFIERS, lambda name: name < "j"),
    (Stage.MARGIN_MODIFIERS, lambda name: name >= "j"),
)
Place = tuple[Stage, int]
PLACES: dict[Place, list[str]] = {(stage, 0): sorted(of_stage(stage)) for stage in ONE_RULE} | {
    (stage, k): sorted(filter(stands, of_stage(stage))) for k, (stage, stands) in enumerate(LISTS)
}


@functools.cache
def covering_set() -> list[dict[Place, str]]:
    """Return compositions, one rule a place, that hold every pair of rules of two stages; greedy, the same every time."""
    missing = {
        frozenset({(a, x), (b, y)})
        for a, b in itertools.combinations(PLACES, 2)
        if a[0] is not b[0]
        for x in PLACES[a]
        for y in PLACES[b]
    }
    found = []
    while missing:
        chosen = dict(min(sorted(pair) for pair in missing))
        for place in sorted(PLACES, key=lambda place: -len(PLACES[place])):
            if place not in chosen:
                gains = [
                    sum(frozenset({(place, rule), other}) in missing for other in chosen.items())
                    for rule in PLACES[place]
                ]
                chosen[place] = PLACES[place][gains.index(max(gains))]
        missing -= {frozenset(pair) for pair in itertools.combinations(chosen.items(), 2)}
        found.append({place: chosen[place] for place in PLACES})
    return found


def test_every_pair_of_rules_meets():
    assert {stage: sorted(itertools.chain(*(PLACES[p] for p in PLACES if p[0] is stage))) for stage, _ in PLACES} == {
        stage: sorted(of_stage(stage)) for stage, _ in PLACES
    }
    largest = len(of_stage(Stage.MARGIN)) * len(of_stage(Stage.SIZE))
    assert largest <= len(covering_set()) <= 1.5 * largest


each_composition = pytest.mark.parametrize(
    "chosen", covering_set(), ids=lambda chosen: f"{chosen[Stage.MARGIN, 0]}-{chosen[Stage.SIZE, 0]}"
)
few = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


@functools.cache
def fields_of_the_shelf() -> dict[str, np.dtype]:
    """Return records with the terms and memory of every rule: with one layout, compositions share what is compiled of a rule."""
    everybody = [(mechanism, MechanismParameters()) for mechanism in shelf().values()]
    known = {"venue": VENUE_FIELDS, "market": MARKET_FIELDS, "account": ACCOUNT_FIELDS, "row": ROW_FIELDS}
    layouts = {scope: engine._records(fields, everybody, scope, 0).dtype for scope, fields in known.items()}
    terms: dict[str, Any] = {}
    for name in itertools.chain(*PLACES.values()):
        stated = find(rules(name), lambda _: True)
        terms |= (
            shelf()[name].parameters(**{key: value for key, value in stated.items() if key != "rule"}).terms("A", STEP)
        )
    return layouts | {"terms": engine._record_dtype(terms)}


def widened(cell):
    """Return a cell whose records have the fields of the whole shelf; those of other rules stay zero, and nobody reads them."""

    def wide(records, layout):
        copied = np.zeros(len(records), fields_of_the_shelf()[layout])
        for name in records.dtype.names:
            copied[name] = records[name]
        return copied

    start = [
        wide(records, layout) for records, layout in zip(cell.start, ("venue", "market", "account", "row"), strict=True)
    ]
    return dataclasses.replace(cell, terms=wide(cell.terms, "terms"), start=Start(*start))


def play(chosen, data, culled=True):
    stated: dict[str, Any] = {}
    for (stage, _), name in chosen.items():
        rule = data.draw(rules(name))
        if stage in ONE_RULE:
            stated[stage.value] = rule
        else:
            stated.setdefault(stage.value, []).append(rule)
    protocol = protocol_of(**stated, rounds_per_step=3)
    book, block = data.draw(books()), data.draw(blocks(paths=2))
    cell = widened(engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP))
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


def play_compiled(place):
    """Play one composition of the set; where compiled kernels run, in a process of its own."""

    @settings(few, derandomize=True, database=None)
    @given(st.data())
    def drawn(data):
        play(covering_set()[place], data, culled=False)  # one compilation

    drawn()


@pytest.fixture(scope="module")
def worker():
    """A process that is replaced after some compositions: what it has compiled, 350 MiB for each, it does not give back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=8) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="compiled kernels are what this test is about")
@pytest.mark.parametrize("place", range(len(covering_set())))
def test_identities_hold_where_two_rules_meet_compiled(place, worker):
    worker.submit(play_compiled, place).result()
