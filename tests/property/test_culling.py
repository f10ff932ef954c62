"""I9: the culled engine gives the bytes of the exhaustive one, over random compositions, kernels interpreted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress import engine
from stress.kernels import culling
from stress.kernels.jit import INTERPRETED
from stress.kernels.venue import PathBlock
from tests.property.compositions import PRICES, STEP, blocks, books, protocols
from tests.venues import one_market_book, one_market_paths, paths_of, protocol_of

pytestmark = pytest.mark.interpreted


@st.composite
def wandering_blocks(draw):
    """Longer paths of small moves with rare jumps, so that boxes hold for a while, then break."""
    steps = draw(st.integers(5, 40))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    moves = rng.normal(0.0, draw(st.sampled_from([0.0003, 0.002, 0.008])), (1, steps, 2))
    moves += rng.choice([-0.08, 0.06], (1, steps, 2)) * (rng.random((1, steps, 2)) < 0.04)
    world = PRICES * np.exp(np.concatenate([np.zeros((1, 1, 2)), np.cumsum(moves, axis=1)], axis=1))
    depth = rng.choice([1e4, 300.0, 20.0], (1, steps + 1, 2)) / PRICES
    premium = rng.normal(0.0, 0.003, (1, steps + 1, 2))
    return paths_of(world, depth=depth, premium=premium)


def outcome(protocol, book, block, *, culled):
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    return engine.simulate(engine.compose(protocol, culled=culled), cell, block, trace_path=0)


def assert_same_bytes(protocol, book, block):
    whole, part = (outcome(protocol, book, block, culled=culled) for culled in (False, True))
    assert part.paths.tobytes() == whole.paths.tobytes()
    assert part.markets.tobytes() == whole.markets.tobytes()
    assert part.trace.tobytes() == whole.trace.tobytes()


@given(protocol=protocols(), book=books(), block=blocks(paths=3))
def test_i9_what_one_path_changed_is_put_back_before_the_next(protocol, book, block):
    assert_same_bytes(protocol, book, block)
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    whole = engine.simulate(engine.compose(protocol), cell, block)
    for p in range(3):
        alone = PathBlock(block.first_path + p, *(array[p : p + 1] for array in block[1:]))
        part = engine.simulate(engine.compose(protocol), cell, alone)
        assert part.paths.tobytes() == whole.paths[p : p + 1].tobytes()
        assert part.markets.tobytes() == whole.markets[p : p + 1].tobytes()


@given(protocol=protocols(), first=books(), second=books(), block=blocks(paths=2))
def test_what_the_last_venue_left_in_memory_does_not_show(protocol, first, second, block):
    compiled = engine.compose(protocol)
    for book in (first, second):
        cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
        reused = engine.simulate(compiled, cell, block)
        fresh = engine.replay_venue(compiled, cell, block)[1]
        assert reused.paths.tobytes() == fresh.paths.tobytes()
        assert reused.markets.tobytes() == fresh.markets.tobytes()


@given(protocol=protocols(), book=books(), block=wandering_blocks())
def test_i9_culled_equals_exhaustive_on_wandering_prices(protocol, book, block):
    assert_same_bytes(protocol, book, block)


@given(protocol=protocols(), book=books(), block=blocks())
def test_i9_culled_equals_exhaustive_through_jumps_and_outages(protocol, book, block):
    assert_same_bytes(protocol, book, block)


def test_quiet_accounts_are_skipped_and_a_broken_box_looks_again(monkeypatch):
    assert INTERPRETED
    looked = []
    select = engine.select_candidates

    def counting(v, t, *rules):
        found = select(v, t, *rules)
        looked.append(found)
        return found

    monkeypatch.setattr(engine, "select_candidates", counting)
    engine._compose.cache_clear()
    try:
        # 2x leverage: far from 40x maintenance until the price halves.
        book = one_market_book(cash=[50.0, 50.0], size=[1.0, -1.0], entry=[100.0, 100.0])
        block = one_market_paths([100.0, 100.1, 99.9] * 10 + [60.0, 51.0])
        cell = engine.build_cell(protocol_of(), book, prices=block.world[0, 0], step=STEP)
        out = engine.simulate(engine.compose(protocol_of()), cell, block).paths[0]
    finally:
        engine._compose.cache_clear()
    assert looked[:20] == [0] * 20  # inside the boxes nobody is evaluated
    assert max(looked) >= 1  # the crash brings the long back into the list
    assert out["liquidated_accounts"] == 1


def test_power_a_box_that_is_never_laid_anew_is_noticed(monkeypatch):
    """Breaking the bound on purpose must change the outcome: the comparison has teeth."""
    monkeypatch.setattr(culling, "is_inside", lambda v, b: v.markets[0]["box_high"][b] > 0.0)  # never broken
    monkeypatch.setattr(engine, "range_windows", lambda world, windows: windows.fill(100.0))  # nor laid where prices go
    engine._compose.cache_clear()
    try:
        book = one_market_book(cash=[50.0, 50.0], size=[1.0, -1.0], entry=[100.0, 100.0])
        block = one_market_paths([100.0, 100.0, 51.0, 51.0])
        whole, part = (outcome(protocol_of(), book, block, culled=culled) for culled in (False, True))
    finally:
        engine._compose.cache_clear()
    assert whole.paths[0]["liquidated_accounts"] == 1
    assert part.paths[0]["liquidated_accounts"] == 0
