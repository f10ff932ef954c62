"""From blocks to a finished run: sweep what is missing, merge, give the folder its name."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stress import config, contagion, grid, measures, provenance, sweep
from stress.design import axes
from stress.errors import StressError
from stress.grid import Piece
from stress.runs.finished import Run, open_run
from stress.runs.folder import Place, lock, prepare, write_whole
from stress.runs.progress import Progress, progress_bar
from stress.vocabulary import ATTRIBUTION_RULE, SCHEMA_VERSION


@dataclass(frozen=True)
class Swept:
    """What a sweep did, for run.json: nothing of it enters the result."""

    tasks: int
    resumed: int
    seconds: float
    seconds_compile: float
    longest_task: float
    seconds_of_tasks: float = 0.0  # over all workers, compiling included
    lost: tuple[tuple[str, dict[str, str]], ...] = ()


def run(
    study: config.Study | Path | str,
    *,
    results: Path | str = "results",
    client: Any = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> Run:
    """Run a study, or finish what an earlier attempt left, and return the run.

    Parameters
    ----------
    study : a study, or the path of its file.
    results : folder of all runs; the run goes to `results`/<study name>/<id>.
    client : a `distributed.Client`; its workers must see the same `results` folder. Default: threads
        of this process.
    workers : number of threads; default: the cores of this machine.
    progress : show progress and time left on stderr; default: only on a terminal.

    Raises
    ------
    StoreError
        If another process runs the same study into the same folder.
    StressError
        If every cell failed; the message is that of the first.
    """
    if not isinstance(study, config.Study):
        study = config.load_study(study)
    started = time.perf_counter()
    place = prepare(study, results)
    if place.finished:
        return open_run(place.final)
    map_function = sweep.in_threads(workers or os.cpu_count() or 1) if client is None else sweep.on_dask(client)
    shown = sys.stderr.isatty() if progress is None else progress
    with progress_bar(study.name) if shown else contextlib.nullcontext() as advance:
        swept = sweep_blocks(place, map_function, advance)
    return finalize(place, swept, seconds_before=time.perf_counter() - started - swept.seconds)


def sweep_blocks(
    place: Place, map_function: sweep.MapFunction = map, progress: Progress | None = None, seed: int | None = None
) -> Swept:
    """Run every task that has left no block yet.

    `seed` shuffles the order of the tasks; it cannot change a result (tests use it).
    """
    started = time.perf_counter()
    working = Path(place.working)
    with lock(working):
        if place.finished:  # by another process, after this one had looked
            return Swept(0, 0, 0.0, 0.0, 0.0)
        bench = sweep.workbench(working, place.study_hash)
        todo = bench.tasks()
        if seed is not None:
            random.Random(seed).shuffle(todo)
        receipts, resumed = [], 0
        for receipt in sweep.execute(todo, working, map_function):
            receipts.append(receipt)
            resumed += receipt.resumed
            if progress is not None and not receipt.resumed:  # what was there costs no time
                progress(len(receipts) - resumed, len(todo) - resumed)
    lost = tuple(sorted((receipt.task.name, receipt.failure) for receipt in receipts if receipt.failure))
    return Swept(
        tasks=len(todo),
        resumed=resumed,
        seconds=time.perf_counter() - started,
        seconds_compile=max((receipt.seconds_compile for receipt in receipts), default=0.0),
        longest_task=max((receipt.seconds for receipt in receipts), default=0.0),
        seconds_of_tasks=sum(receipt.seconds for receipt in receipts),
        lost=lost,
    )


def finalize(place: Place, swept: Swept, *, seconds_before: float = 0.0) -> Run:
    """Merge the blocks into the grid and give the folder its final name."""
    started = time.perf_counter()
    working, final = Path(place.working), Path(place.final)
    with lock(working):
        if place.finished:
            shutil.rmtree(working)
            return open_run(final)
        bench = sweep.workbench(working, place.study_hash)
        study = bench.study
        named: dict[tuple[str, str], list[str]] = {}
        for task, failure in swept.lost:
            named.setdefault((f"task {task}", _reason(failure)), []).append(task)
        traces = [{"task": task, **failure} for task, failure in swept.lost]

        def pieces() -> Iterator[tuple[Piece, grid.Record]]:
            for task in bench.tasks():
                file = working / "blocks" / f"{task.name}.npz"
                if not file.exists():
                    continue
                record = grid.read_record(file)
                for offset, failure in enumerate(json.loads(str(record["failures"]))):
                    if failure is not None:
                        cell = bench.describe(task.piece.path_point, task.piece.first_cell + offset)
                        named.setdefault((cell, _reason(failure)), []).append(task.name)
                        traces.append({"task": task.name, "cell": cell, **failure})
                yield task.piece, record

        data, losses = grid.merge(bench.layout, pieces())
        failures = [
            f"{where}: {reason} ({len(tasks)} of {bench.layout.blocks} blocks, first {min(tasks)})"
            for (where, reason), tasks in sorted(named.items())
        ]
        if not int(data["paths"].max()):
            raise StressError("every cell failed: " + (failures[0] if failures else "no block was computed"))
        data = contagion.extend(measures.estimate(data, losses), bench.plan.shocked)
        data.attrs |= _attributes(bench, failures)
        for axis in ("market", *bench.plan.path_axes, *bench.plan.cell_axes):
            data[axis].attrs |= axes.describe(study.protocols[0], axis, study.markets)
        data.attrs["result_hash"] = grid.result_hash(data, losses)
        grid.write(working / "grid.zarr", data, losses)
        seconds = {
            "start_up": seconds_before,
            "compile": swept.seconds_compile,
            "simulation": swept.seconds - swept.seconds_compile,
            "merge": time.perf_counter() - started,
        }
        diary = {
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
            "sweep": {name: value for name, value in asdict(swept).items() if name != "lost"},
            "machine": provenance.machine(),
            "failures": traces,
        }
        write_whole(working / "run.json", json.dumps(diary, indent=1).encode())
        if not failures:
            shutil.rmtree(working / "blocks")
        sweep.forget(working)
        working.rename(final)
        (final / "lock").unlink()
    return open_run(final)


def _reason(failure: Mapping[str, str]) -> str:
    return f"{failure['type']}: {' '.join(failure['message'].split())}"


def _attributes(bench: sweep.Workbench, failures: list[str]) -> dict[str, Any]:
    study, plan = bench.study, bench.plan
    attributes: dict[str, Any] = {
        "title": "Stress test of the risk parameters of a perpetual-futures venue",
        "schema_version": SCHEMA_VERSION,
        "study": study.name,
        "question": study.question,
        "seed": str(study.seed),  # up to 2**64 - 1: more than JSON readers keep exact
        "horizon_seconds": float(study.horizon),
        "step_seconds": float(study.step),
        "event_names": [term.name for term in grid.EVENTS],
        "attribution": ATTRIBUTION_RULE,
        "failures": failures,
        **provenance.identity(study.content_hash),
    }
    for name in ("current", "proposed"):
        index = getattr(plan, f"{name}_index")
        attributes[f"{name}_index"] = [] if index is None else [int(i) for i in index]
    for axis, values in plan.resolved.items():
        attributes[f"{axis}_resolved"] = json.dumps([{k: _plain(v) for k, v in value.items()} for value in values])
    return attributes


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
