"""Measuring one case: engine and comparators take turns on chunks of distinct paths.

Time is that of the measuring thread on its processor, so that other work of the machine does not count as ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from stress import config, engine
from stress.kernels.venue import PathBlock
from stress.sweep import Workbench
from stress.sweep.workbench import BuiltCell
from tests.benchmarks.comparators import equity_loop, numpy_engine
from tests.benchmarks.registry import Case, bench, diffusion_alone, stated, venues

Measured = dict[str, Any]

CHUNK = 16  # paths
PATHS_AT_A_TIME = 32  # as a block of a run makes them
CELLS_PER_CHUNK = 4  # of a case with many, in turn
COMPARATOR_SECONDS = 8.0  # of each comparator and case, once it has finished a first path
SLOWEST = 20.0  # a comparator whose first path takes longer is left out
CULLED_SECONDS = 40.0
# Only this preset's rules are those of the NumPy engine.
NUMPY_PRESET = "reference"


class _Turns:
    """Seconds per path of one engine, one number a chunk, until its time is used up."""

    def __init__(self, budget: float) -> None:
        self.budget, self.per_path = budget, []

    def take(self, work: Callable[[int], Any], paths: int) -> Any:
        """Do `work` on so many paths; fewer where they would take too long, none where time is used up."""
        if self.budget <= 0.0:
            return None
        if self.per_path:
            paths = max(1, min(paths, int(self.budget / self.per_path[-1])))
        began = time.thread_time()
        result = work(paths)
        seconds = time.thread_time() - began
        self.budget -= seconds
        if not self.per_path and seconds / paths > SLOWEST:
            self.budget = 0.0
            return result
        self.per_path.append(seconds / paths)
        return result


def first_paths(block: PathBlock, count: int) -> PathBlock:
    """Return the first paths of a block."""
    return block._replace(**{name: getattr(block, name)[:count] for name in block._fields if name != "first_path"})


def measure(case: Case, paths: int) -> Measured:
    """Return times and ratios of a case over `paths` distinct paths; see COLUMNS for what is printed."""
    work = bench(case)
    source, count = work.source(0), len(work.plan.cells)
    built = [work.cell(0, index) for index in range(0, count, max(1, count // 16))]
    culled, exhaustive = (_compiled(built[0], source.generate(0, 1), culled=culled) for culled in (True, False))
    warm = source.generate(0, 1)
    bare_arguments = built[0].cell.start.accounts, built[0].cell.start.rows, built[0].cell.traders
    equity_loop(*bare_arguments, warm.world[:, :2])
    turns = {name: _Turns(COMPARATOR_SECONDS) for name in ("exhaustive", "bare", "numpy")}
    turns["culled"] = _Turns(CULLED_SECONDS)
    generation, outcomes = [], []
    for chunk, first in enumerate(range(0, paths, CHUNK)):
        began = time.thread_time()
        block = source.generate(first, CHUNK)
        generation.append((time.thread_time() - began) / CHUNK)
        now = [built[(chunk * CELLS_PER_CHUNK + k) % len(built)] for k in range(min(CELLS_PER_CHUNK, len(built)))]

        def simulate(compiled: engine.Engine, count: int, now=now, block=block) -> list[np.ndarray]:
            some = first_paths(block, count)
            windows = engine.price_windows(some)
            return [engine.simulate(compiled, one.cell, some, windows=windows).paths for one in now]

        found = turns["culled"].take(lambda n: simulate(culled[0], n), CHUNK)
        if found is None:
            break
        outcomes += found
        slow = 2 if turns["exhaustive"].per_path else 1
        turns["exhaustive"].take(lambda n: simulate(exhaustive[0], n), slow)
        turns["bare"].take(lambda n: equity_loop(*bare_arguments, block.world[:n]), 2)  # noqa: B023
        if case.preset == NUMPY_PRESET:
            turns["numpy"].take(lambda n: [numpy_engine(now[0].cell, block, p) for p in range(n)], 1)  # noqa: B023
    cells = len(now)
    per_cell = {
        name: np.array(t.per_path) / (cells if name in ("culled", "exhaustive") else 1) for name, t in turns.items()
    }
    median = {name: float(np.median(times)) if times.size else None for name, times in per_cell.items()}
    whole = np.concatenate(outcomes)
    traders = built[0].cell.traders
    looked, rebuilds = _effort(culled[0], built[0], source.generate(0, CHUNK))
    scanned, _ = _effort(exhaustive[0], built[0], source.generate(0, 2)) if median["exhaustive"] else (0, 0)
    mean = float(per_cell["culled"].mean())
    liquidated, fills = float(whole["liquidated_accounts"].mean()), float(whole["fills"].mean())
    path = float(np.median(generation))
    return {
        "paths": len(generation) * CHUNK,
        "accounts": traders,
        "rows": len(built[0].cell.start.rows),
        **{f"{name}_us": _scaled(value, 1e6) for name, value in median.items()},
        "culled_us_mean": mean * 1e6,
        "exhaustive_over_culled": _over(median["exhaustive"], median["culled"]),
        "numpy_over_culled": _over(median["numpy"], median["culled"]),
        "bare_over_exhaustive": _over(median["bare"], median["exhaustive"]),
        "exhaustive_rounds": scanned / (2 * case.steps * traders) if scanned else None,
        "bare_over_numpy": _over(median["bare"], median["numpy"]),
        "share_liquidated": liquidated / traders,
        "fills": fills,
        "ns_per_liquidation": mean * 1e9 / liquidated if liquidated else None,
        "ns_per_fill": mean * 1e9 / fills if fills else None,
        "share_evaluated": looked / (CHUNK * case.steps * traders),
        "rebuilds": rebuilds / CHUNK,
        "path_us": path * 1e6,
        "path_share": path / (path + case.cells * mean),
        "seconds_compile": {"culled": culled[1], "exhaustive": exhaustive[1]},
    }


def measure_threads(paths: int) -> Measured:
    """Return how much faster two threads take two blocks of paths through one cell than one thread; wall time, median of 5."""
    work = bench(Case())
    built = work.cell(0, 0)
    compiled, _ = _compiled(built, work.source(0).generate(0, 1), culled=True)
    blocks = [work.source(0).generate(first, paths) for first in (0, paths)]

    def simulate(block: PathBlock) -> engine.Outcome:
        return engine.simulate(compiled, built.cell, block)

    ratios = []
    with ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            took = []
            for run in (map, threads.map):
                began = time.perf_counter()
                list(run(simulate, blocks))
                took.append(time.perf_counter() - began)
            ratios.append(took[0] / took[1])
    return {"one_over_two_threads": float(np.median(ratios)), "lowest": min(ratios), "highest": max(ratios)}


def measure_paths(paths: int) -> Measured:
    """Return microseconds of one path of the base point, its arrays included: diffusion alone, and every layer of the house model."""
    found = {}
    for name, study in (("diffusion", diffusion_alone(Case())), ("house", stated(Case()))):
        source = Workbench(config.Study(**study)).source(0)
        source.generate(0, 1)
        taken = []
        for first in range(0, paths, PATHS_AT_A_TIME):
            began = time.thread_time()
            source.generate(first, PATHS_AT_A_TIME)
            taken.append((time.thread_time() - began) / PATHS_AT_A_TIME)
        found[f"{name}_us"] = round(float(np.median(taken)) * 1e6, 1)
    return found


def measure_venues(severity: str, paths: int) -> dict[str, Measured]:
    """Return each preset's time per path and over the reference venue's, all taking turns on the same paths."""
    works = venues(severity)
    source = works[NUMPY_PRESET].source(0)
    built = {name: work.cell(0, 0) for name, work in works.items()}
    warm = source.generate(0, 1)
    compiled = {name: _compiled(one, warm, culled=True)[0] for name, one in built.items()}
    turns = {name: _Turns(CULLED_SECONDS) for name in built}
    for first in range(0, paths, CHUNK):
        block = source.generate(first, CHUNK)
        for name, one in built.items():
            turns[name].take(lambda n: engine.simulate(compiled[name], one.cell, first_paths(block, n)), CHUNK)  # noqa: B023
    median = {name: float(np.median(taken.per_path)) for name, taken in turns.items()}
    block = source.generate(0, CHUNK)
    steps = CHUNK * (block.world.shape[1] - 1)
    found = {}
    for name, one in built.items():
        looked, rebuilds = _effort(compiled[name], one, block)
        outcome = engine.simulate(compiled[name], one.cell, block).paths
        found[name] = {
            "culled_us": median[name] * 1e6,
            "over_reference": median[name] / median[NUMPY_PRESET],
            "share_evaluated": looked / (steps * one.cell.traders),
            "rebuilds": rebuilds / CHUNK,
            "share_liquidated": float(outcome["liquidated_accounts"].mean()) / one.cell.traders,
            "fills": float(outcome["fills"].mean()),
        }
    return found


def _compiled(built: BuiltCell, block: PathBlock, *, culled: bool) -> tuple[engine.Engine, float]:
    composed = engine.compose(built.protocol, culled=culled)
    began = time.thread_time()
    engine.simulate(composed, built.cell, block)
    return composed, time.thread_time() - began


def _effort(culled: engine.Engine, built: BuiltCell, block: PathBlock) -> tuple[float, float]:
    """Return account evaluations and rebuilt boxes over a block; a venue counts those of its last path."""
    looked = rebuilds = 0
    for p in range(len(block.world)):
        one = block._replace(
            **{name: getattr(block, name)[p : p + 1] for name in block._fields if name != "first_path"}
        )
        venue, _ = engine.replay_venue(culled, built.cell, one)
        looked += int(venue.venue[0]["evaluations"])
        rebuilds += int(venue.venue[0]["rebuilds"])
    return looked, rebuilds


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _over(slow: float | None, fast: float | None) -> float | None:
    return None if slow is None or fast is None else slow / fast
