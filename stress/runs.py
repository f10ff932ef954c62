"""A run: prepare a folder, sweep its blocks, finish the grid; open, inspect and check it later.

    results/<study>/<id>.partial/   study.json, blocks/…       while it runs (any number of attempts)
    results/<study>/<id>/           study.json, grid.zarr, run.json, report.*      once it is whole

The folder gets its final name by one rename, so a finished run is never torn. `id` names study,
sources and library versions. Everything but run.json is the same for every way of running.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stress import config, engine, grid, measures, provenance, report, sweep
from stress.errors import StoreError, StressError, did_you_mean
from stress.grid import Piece
from stress.vocabulary import ATTRIBUTION_RULE, SCHEMA_VERSION

Progress = Callable[[int, int], None]


# ------------------------------------------------------------------------------------- running


@dataclass(frozen=True)
class Place:
    """Where a run lives; names only, so that it can be handed between processes."""

    study_hash: str
    final: str
    working: str

    @property
    def finished(self) -> bool:
        """Whether the run is whole and no block of it is missing."""
        return (Path(self.final) / "grid.zarr").is_dir() and not (Path(self.final) / "blocks").exists()


@dataclass(frozen=True)
class Swept:
    """What a sweep did, for run.json: nothing of it enters the result."""

    tasks: int
    resumed: int
    seconds: float
    seconds_compile: float
    longest_task: float
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


def prepare(study: config.Study, results: Path | str, name: str | None = None) -> Place:
    """Make the working folder with the resolved study, unless the run is already whole.

    `name` of the run's folder; default: the run's id.
    """
    name = name or provenance.run_id(study.content_hash)
    final = Path(results).resolve() / study.name / name
    place = Place(study.content_hash, str(final), str(final.with_name(f"{name}.partial")))
    if place.finished:
        return place
    working = Path(place.working)
    if (final / "blocks").exists() and not working.exists():
        # Finished with failures: it becomes unfinished again, and only what failed is done again.
        final.rename(working)
    (working / "blocks").mkdir(parents=True, exist_ok=True)
    text = json.dumps(study.resolved(), indent=1, ensure_ascii=False)
    for reference, fingerprint in study.data_hashes.items():
        # A run keeps what it read, so that it can be opened, verified and replayed on its own.
        kept = f"inputs/{fingerprint[:8]}-{Path(reference).name.removeprefix(f'{fingerprint[:8]}-')}"
        (working / "inputs").mkdir(exist_ok=True)
        write_whole(working / kept, study.locate(reference).read_bytes())
        text = text.replace(json.dumps(reference, ensure_ascii=False), json.dumps(kept, ensure_ascii=False))
    write_whole(working / "study.json", text.encode())
    return place


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
            np.random.default_rng(seed).shuffle(todo)  # type: ignore[arg-type]
        receipts = []
        for receipt in sweep.execute(todo, working, map_function):
            receipts.append(receipt)
            if progress is not None:
                progress(len(receipts), len(todo))
    lost = tuple(sorted((receipt.task.name, receipt.failure) for receipt in receipts if receipt.failure))
    return Swept(
        tasks=len(todo),
        resumed=sum(receipt.resumed for receipt in receipts),
        seconds=time.perf_counter() - started,
        seconds_compile=max((receipt.seconds_compile for receipt in receipts), default=0.0),
        longest_task=max((receipt.seconds for receipt in receipts), default=0.0),
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
        data = measures.estimate(data, losses)
        data.attrs |= _attributes(bench, failures)
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


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


# ---------------------------------------------------------------------------------- a finished run


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run.

    Attributes
    ----------
    data : the grid (`xarray.Dataset`): parameters x scenario -> probabilities, losses, intervals.
    losses : the paths with a loss as rows.
    study, plan : what was asked, and the points that were visited.
    path : the folder.
    """

    path: Path
    study: config.Study
    data: xr.Dataset
    losses: xr.Dataset
    diary: dict[str, Any] = field(default_factory=dict)

    @property
    def bench(self) -> sweep.Workbench:
        """Path sources and cells of the study, built when first used."""
        return sweep.workbench(self.path, self.data.attrs["study_hash"])

    @property
    def plan(self) -> Any:
        """Axes and points of the study (`stress.design.Design`)."""
        return self.bench.plan

    @property
    def result_hash(self) -> str:
        """BLAKE2b-128 over every array of the store."""
        return str(self.data.attrs["result_hash"])

    @property
    def where(self) -> str:
        """Where the store lies, where the time went, and what failed; one line each."""
        lines = [f"store   {self.path / 'grid.zarr'}  (result {self.result_hash})"]
        if seconds := self.diary.get("seconds"):
            lines.append(
                "time    " + ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in seconds.items())
            )
        return "\n".join(lines + [f"failed  {failure}" for failure in self.data.attrs["failures"]])

    def summary(self, console: Any = None) -> None:
        """Print the verdict and the table behind it, with intervals."""
        from rich.console import Console

        (console or Console()).print(report.summary(self))

    def report(self, folder: Path | str | None = None) -> Path:
        """Write report.html and report.md to the run's folder (or another) and return the page's path."""
        return report.write(self, folder or self.path)

    def trace(self, scenario: str, cell: Mapping[str, int], path: int = 0) -> np.ndarray:
        """Simulate one path of one cell again: (S + 1, m) records of `vocabulary.TRACE`.

        `cell` gives the position on every cell axis; other path axes are at their first value.
        """
        point = next(i for i, p in enumerate(self.plan.path_points) if p.values["scenario"] == scenario)
        return trace(self.bench, point, self.cell_number(cell), path)

    def cell_number(self, cell: Mapping[str, int]) -> int:
        """Return the number of a cell from its position on every cell axis."""
        shape = self.bench.layout.cell_shape
        return int(np.ravel_multi_index([cell[name] for name in self.plan.cell_axes], shape)) if shape else 0

    def find_cell(self, values: Mapping[str, str]) -> dict[str, int]:
        """Return the position on every cell axis of axis values given as text; others as in the current cell."""
        axes = self.plan.cell_axes
        cell = dict(zip(axes, self.plan.current_index or [0] * len(axes), strict=True))
        for name, text in values.items():
            if name not in axes:
                raise StoreError("is no cell axis of the run", key=name, fix=did_you_mean(name, axes))
            shown = [config.show(value) for value in axes[name]]
            if (wanted := config.show(config.axis_value(_number(text)))) not in shown:
                raise StoreError("is not on the axis", key=name, value=text, fix="one of " + ", ".join(shown))
            cell[name] = shown.index(wanted)
        return cell

    def verify(self, block: int, point: int) -> tuple[str, str]:
        """Compute one block of one path point again; return (hash now, hash in the store)."""
        layout = self.bench.layout
        record = sweep.compute(self.bench, Piece(block, point, 0, layout.cells))
        stored = self.data["block_hash"].values.reshape(layout.path_points, layout.blocks)[point, block]
        return grid.array_hash({"cells": record["cell_hash"]}), str(stored)

    def __repr__(self) -> str:
        shape = " x ".join(f"{name} {size}" for name, size in self.data["paths"].sizes.items())
        return f"<Run {self.study.name} {self.path.name}: {shape}, result {self.result_hash[:12]}>"

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=110)
        self.summary(console)
        return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.25">{code}</pre>')


def trace(bench: sweep.Workbench, point: int, cell: int, path: int) -> np.ndarray:
    """Simulate one path of one cell with its trace: (S + 1, m) records of `vocabulary.TRACE`."""
    built = bench.cell(point, cell)
    outcome = engine.simulate(bench.compiled(built), built.cell, bench.source(point).generate(path, 1), trace_path=0)
    assert outcome.trace is not None
    return outcome.trace


def trace_table(run: Run, scenario: str, cell: Mapping[str, int], path: int) -> Any:
    """Return the trace of one path of one cell as a pandas table: a row per step and market."""
    import pandas as pd

    rows = run.trace(scenario, cell, path)
    steps, markets = rows.shape
    table = pd.DataFrame({name: rows[name].ravel() for name in rows.dtype.names or ()})
    table.insert(0, "market", np.tile(run.study.markets, steps))
    table.insert(0, "seconds", np.repeat(np.arange(steps) * float(run.study.step), markets))
    return table


@dataclass(frozen=True)
class Comparison:
    """One named cell in two runs: P(event) in the second minus that in the first."""

    cell: str
    scenario: str
    first: str
    second: str
    difference: measures.Difference


def compare(first: Run, second: Run, event: str = "mutualised_loss") -> list[Comparison]:
    """Compare the current and the proposed cell of two runs, scenario by scenario.

    Scenarios are matched by name, other path axes by value. On common paths (equal hashes) the
    difference is paired; without any it is that of two independent runs and says so.
    """
    if event not in (names := [term.name for term in grid.EVENTS]):
        raise StoreError("is not an event of the store", key="event", value=event, fix="one of " + ", ".join(names))
    found = []
    for name in ("current", "proposed"):
        cells = [list(run.data.attrs[f"{name}_index"]) for run in (first, second)]
        if not all(len(cell) == len(run.plan.cell_axes) for cell, run in zip(cells, (first, second), strict=True)):
            continue
        for point in first.plan.path_points:
            other = next((p for p in second.plan.path_points if p.values == point.values), None)
            if other is None:
                continue
            at = [
                dict(zip((*run.plan.path_axes, *run.plan.cell_axes), (*p.index, *cell), strict=True))
                for run, p, cell in zip((first, second), (point, other), cells, strict=True)
            ]
            counts = [
                (int(run.data[f"events_{event}"].isel(place)), int(run.data["paths"].isel(place)))
                for run, place in zip((first, second), at, strict=True)
            ]
            if not all(paths for _, paths in counts):
                continue  # a failed cell is named in its own report
            pair = ((first.data, first.losses), (second.data, second.losses))
            difference = measures.compare_cells(*pair, *at, event)
            found.append(
                Comparison(
                    name,
                    ", ".join(str(value) for value in point.values.values()),
                    *(measures.describe_estimate(*count) for count in counts),
                    difference,
                )
            )
    if not found:
        raise StoreError("the two runs share no scenario and no named cell", file=f"{first.path}, {second.path}")
    return found


def comparison_table(comparisons: list[Comparison]) -> Any:
    """Return what `rich` prints of a comparison."""
    from rich.table import Table

    table = Table("cell", "scenario", "first", "second", "second - first", "paths in common", caption="95 % intervals")
    for one in comparisons:
        paths = f"{one.difference.paths:,}" if one.difference.paths else "none: independent runs"
        table.add_row(one.cell, one.scenario, one.first, one.second, str(one.difference), paths)
    return table


def open_run(path: Path | str) -> Run:
    """Open a finished run by its folder, its grid.zarr, or a folder that holds exactly one run."""
    folder = Path(path)
    if folder.name == "grid.zarr":
        folder = folder.parent
    if not (folder / "grid.zarr").is_dir():
        inside = sorted(store.parent for store in folder.glob("*/grid.zarr") if not store.parent.suffix)
        if len(inside) != 1:
            listed = ", ".join(str(run) for run in inside) or "none; run the study (again) to finish it"
            raise StoreError("is not a finished run", file=str(folder), fix=f"finished runs inside: {listed}")
        folder = inside[0]
    data, losses = grid.read(folder / "grid.zarr")
    study = config.load_study(folder / "study.json")
    if study.content_hash != data.attrs["study_hash"]:
        raise StoreError(
            "the study beside the grid is not the one that made it",
            file=str(folder / "study.json"),
            value=study.content_hash,
            fix=f"expected {data.attrs['study_hash']}",
        )
    diary = folder / "run.json"
    return Run(folder, study, data, losses, json.loads(diary.read_text()) if diary.exists() else {})


# ------------------------------------------------------------------------------- files and progress


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is either absent, old, or new and whole."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


@contextlib.contextmanager
def lock(working: Path) -> Iterator[None]:
    """Hold the working folder for this process; the kernel lets go when the process dies, however it dies."""
    try:
        stream = (working / "lock").open("a+")
    except FileNotFoundError:
        raise StoreError(
            "another process has just finished this run", file=str(working), fix="run the same command again to see it"
        ) from None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise StoreError(
                f"another process is running this study: {stream.read().strip() or 'unknown'}",
                file=str(working),
                fix="wait for it, or use another --results folder",
            ) from None
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {provenance.machine()['host']}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show finished blocks and the time left on stderr; without a terminal, a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("tasks,"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, TextColumn("left"), console=console) as bar:
        shown = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)


class _Lines:
    """Progress for logs: one line every fifteen seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last < 15 and done < total:
            return
        self.last = now
        left = (now - self.started) / done * (total - done)
        print(f"{self.title}: {done} of {total} tasks, {left:.0f} s left", file=sys.stderr)  # noqa: T201
