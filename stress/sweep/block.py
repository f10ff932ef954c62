"""The work of one task: generate paths in chunks, take each through the cells, leave one record."""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from pathlib import Path

import numpy as np

from stress import engine, grid, provenance
from stress.errors import InvariantViolation, StoreError
from stress.grid import Piece, Record
from stress.kernels.venue import PathBlock
from stress.sweep.plan import Receipt, Task
from stress.sweep.workbench import BuiltCell, Workbench, workbench

# Paths generated at a time: bounds memory, never shows in a result.
CHUNK = 32


def run_block(task: Task, folder: str) -> Receipt:
    """Do one task and leave its record in `folder`/blocks; never raises, a failure is in the receipt."""
    started = time.perf_counter()
    try:
        _refuse_foreign(task)
        bench = workbench(Path(folder), task.study_hash)
        record = compute(bench, task.piece)
        fingerprint = grid.write_record(Path(folder) / "blocks" / f"{task.name}.npz", record)
    except Exception as error:  # noqa: BLE001 - whatever a block raises is recorded and the rest completes
        return Receipt(task, seconds=time.perf_counter() - started, failure=describe_failure(error))
    failed = sum(entry is not None for entry in json.loads(str(record["failures"])))
    return Receipt(task, fingerprint, time.perf_counter() - started, bench.seconds_compile, failed)


def _refuse_foreign(task: Task) -> None:
    if task.code != provenance.run_id(task.study_hash):
        raise StoreError(
            "this worker has other sources or library versions than the process that planned the run",
            value=provenance.machine()["host"],
            fix="start workers from the same installation",
        )


def compute(bench: Workbench, piece: Piece) -> Record:
    """Return the record of a piece.

    Outcomes of the whole block are held until it ends and are reduced once per cell, so that the
    chunks in which paths are generated cannot show.
    """
    first, count = bench.layout.block_range(piece.path_point, piece.block)
    source = bench.source(piece.path_point)
    bench.warm(source)
    cells = [_Cell(bench, piece.path_point, piece.first_cell + offset) for offset in range(piece.cells)]
    fingerprint = _PathHash()
    for start in range(first, first + count, CHUNK):
        block = source.generate(start, min(CHUNK, first + count - start))
        if piece.first_cell == 0:  # one of the block's pieces is enough: hashing a path takes longer than making it
            fingerprint.update(block)
        windows = engine.price_windows(block)
        for cell in cells:
            cell.simulate(block, windows)
    return grid.stack_cells(
        [cell.reduce(first, len(bench.layout.markets)) for cell in cells],
        [cell.constants for cell in cells],
        [cell.failure for cell in cells],
        fingerprint.hexdigest() if piece.first_cell == 0 else "",
    )


class _Cell:
    """One cell while a block passes through it."""

    def __init__(self, bench: Workbench, point: int, index: int) -> None:
        self.bench, self.point, self.index = bench, point, index
        self.constants: dict[str, float] = {}
        self.failure: dict[str, str] | None = None
        self._built: BuiltCell | None = None
        self._paths: list[np.ndarray] = []
        self._markets: list[np.ndarray] = []

    def simulate(self, block: PathBlock, windows: np.ndarray) -> None:
        if self.failure is not None:
            return
        try:
            if self._built is None:
                self._built = self.bench.cell(self.point, self.index)
                self.constants = self._built.constants
            outcome = engine.simulate(self.bench.compiled(self._built), self._built.cell, block, windows=windows)
            refuse_violations(outcome.paths, block.first_path)
        except Exception as error:  # noqa: BLE001 - whatever a cell raises is recorded and the rest completes
            self.failure = describe_failure(error)
            return
        self._paths.append(outcome.paths)
        self._markets.append(outcome.markets)

    def reduce(self, first_path: int, markets: int) -> Record:
        if self.failure is not None:
            return grid.empty_cell(markets)
        outcomes = np.concatenate(self._paths)
        happened = events(outcomes, self.constants)
        return grid.reduce_cell(outcomes, np.concatenate(self._markets), happened, first_path)


def events(outcomes: np.ndarray, constants: dict[str, float]) -> np.ndarray:
    """Return which events of `grid.EVENTS` happened on each path: (P, e) bool.

    A mutualised loss counts above the loss floor; the part that is the vault's default loss counts
    only above the study's share of the vault's equity (design: the question).
    """
    vault = outcomes["provider_default_loss"]
    counted = np.where(vault > constants["vault_loss_floor"], vault, 0.0)
    happened = {
        "mutualised_loss": outcomes["mutualised_loss"] - vault + counted > constants["loss_floor"],
        "fund_exhaustion": outcomes["exhaustion_step"] >= 0,
        "adl": outcomes["adl_notional"] > 0,
        "market_makers_default": outcomes["market_makers_default"] > 0,
    }
    return np.stack([happened[term.name] for term in grid.EVENTS], axis=1)


def refuse_violations(outcomes: np.ndarray, first_path: int) -> None:
    """Raise where an invariant failed: its result is void."""
    broken = np.flatnonzero(outcomes["violation"])
    if broken.size:
        number = int(outcomes["violation"][broken[0]])
        if number == engine.NEVER_QUIET:
            what = f"a step was not quiet after {engine.ROUNDS_BEFORE_FAULT:,} rounds"
        else:
            what = f"invariant I{number} failed"
        raise InvariantViolation(
            f"{what} on {broken.size} of {len(outcomes)} paths",
            key="path",
            value=int(first_path + broken[0]),
            fix="this is a defect of a mechanism or of the engine: replay the path with `perpstress path` and report it",
        )


def describe_failure(error: BaseException) -> dict[str, str]:
    """Return type, message and traceback of an exception as text."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


class _PathHash:
    """BLAKE2b over the arrays of a block, the same however the block was cut into chunks."""

    def __init__(self) -> None:
        self._fields = {name: hashlib.blake2b(digest_size=16) for name in PathBlock._fields if name != "first_path"}

    def update(self, block: PathBlock) -> None:
        for name, state in self._fields.items():
            state.update(np.ascontiguousarray(getattr(block, name)).data)

    def hexdigest(self) -> str:
        return hashlib.blake2b(b"".join(s.digest() for s in self._fields.values()), digest_size=16).hexdigest()
