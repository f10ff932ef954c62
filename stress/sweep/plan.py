"""The plan of a sweep: which tasks there are, and what each leaves to be known."""

from __future__ import annotations

from dataclasses import dataclass

from stress import provenance
from stress.config import Study
from stress.design import Design
from stress.grid import Layout, Piece

# Cost of paths and of the culled engine on one ordinary core, in seconds per unit. It sizes tiles and is
# what `explain` prints; a wrong constant makes tasks shorter or longer and changes nothing else.
_PATH_STEP_MARKET = 20e-9
_STEP_MARKET = 10e-9
_ROW_STEP = 0.12e-9
_TASK_SECONDS = 4.0


@dataclass(frozen=True)
class Task:
    """One unit of work, by indices into the plan of the study in the run's folder.

    `code` is `provenance.run_id` of who planned it: a worker with other sources must refuse it.
    """

    study_hash: str
    code: str
    piece: Piece

    @property
    def name(self) -> str:
        """Name of the task and of its file."""
        return "b{:05d}-p{:03d}-c{:05d}-{:05d}".format(*self.piece)


@dataclass(frozen=True)
class Receipt:
    """What a task reports: `hash` of the file it left, or the `failure` that kept it from leaving one."""

    task: Task
    hash: str | None = None
    seconds: float = 0.0
    seconds_compile: float = 0.0
    failed_cells: int = 0
    failure: dict[str, str] | None = None
    resumed: bool = False


def layout(study: Study, plan: Design) -> Layout:
    """Return the shape of the run; a replay or a shock is one path, whatever the study's `paths`."""
    paths = tuple(1 if point.scenario.one_path else study.paths for point in plan.path_points)
    return Layout(dict(plan.path_axes), dict(plan.cell_axes), study.markets, paths, study.block_size)


def cost(study: Study, rows: int) -> tuple[float, float]:
    """Return estimated core seconds per path (generation, one cell); `rows` are positions of the book."""
    steps = study.steps
    markets = len(study.markets)
    return _PATH_STEP_MARKET * steps * markets, steps * (_STEP_MARKET * markets + _ROW_STEP * rows)


def core_seconds(study: Study, plan: Design, rows: int) -> float:
    """Return the estimated time of a whole run on one core, in seconds, compiling left out."""
    generation, cell = cost(study, rows)
    paths = sum(1 if point.scenario.one_path else study.paths for point in plan.path_points)
    return paths * (generation + cell * len(plan.cells))


def tasks(study_hash: str, shape: Layout, seconds: tuple[float, float]) -> list[Task]:
    """Return every task, blocks first, so that an interrupted run has whole blocks of all cells.

    The tile is as many cells as fit about four seconds (`seconds` as from `cost`).
    """
    code = provenance.run_id(study_hash)
    generation, cell = (value * shape.block_paths for value in seconds)
    per_task = max(1, int((_TASK_SECONDS - generation) / max(cell, 1e-9)))
    tiles = -(-shape.cells // per_task)
    width = -(-shape.cells // tiles)
    return [
        Task(study_hash, code, Piece(block, point, first, min(width, shape.cells - first)))
        for block in range(shape.blocks)
        for point in range(shape.path_points)
        if shape.block_range(point, block)[1]
        for first in range(0, shape.cells, width)
    ]
