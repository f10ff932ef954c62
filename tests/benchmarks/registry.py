"""What is timed: the exhaustive engine by severity of the path, and the generation of paths."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stress import engine
from stress.config import load_study
from stress.sweep import Workbench

STUDY = Path(__file__).with_name("severity.yaml")


@dataclass(frozen=True)
class Case:
    """One thing to time. `work` does it once and returns what it made; `units` of it are in one `work`."""

    name: str
    unit: str
    work: Callable[[], Any]
    units: float
    facts: dict[str, float]


@functools.cache
def bench() -> Workbench:
    """Return the study's books, cells and compiled engine, made once per process."""
    return Workbench(load_study(STUDY))


def cases(paths: int) -> list[Case]:
    """Return every case; compiled and warm. `paths` of the generated scenario in one go."""
    return [*(_engine(name, 1) for name in ("quiet", "fall", "crash")), _engine("generated", paths), _paths(paths)]


def _point(scenario: str) -> int:
    return next(i for i, point in enumerate(bench().plan.path_points) if point.values["scenario"] == scenario)


def _engine(scenario: str, paths: int) -> Case:
    point = _point(scenario)
    built = bench().cell(point, 0)
    compiled = bench().compiled(built)
    block = bench().source(point).generate(0, paths)
    outcome = engine.simulate(compiled, built.cell, block).paths
    accounts, steps = built.cell.traders, bench().study.steps
    facts = {
        "paths": paths,
        "accounts": accounts,
        "rows": len(built.cell.start.rows),
        "share_liquidated": float(outcome["liquidated_accounts"].mean()) / accounts,
        "rounds_per_path": float(outcome["rounds"].mean()),
    }
    work = functools.partial(engine.simulate, compiled, built.cell, block)
    return Case(f"engine/{scenario}", "account-step", work, float(paths * steps * accounts), facts)


def _paths(paths: int) -> Case:
    source = bench().source(_point("generated"))
    source.generate(0, 1)
    units = float(paths * bench().study.steps * len(bench().study.markets))
    return Case(
        "paths/house", "path-step-market", functools.partial(source.generate, 0, paths), units, {"paths": paths}
    )
