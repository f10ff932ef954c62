"""A finished run: its grid, verdict and report; a path replayed, a block computed again."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stress import config, engine, grid, report, sweep
from stress.errors import StoreError, did_you_mean
from stress.grid import Piece
from stress.runs.folder import write_whole


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
        if self.diary:
            split = ", ".join(f"{name.replace('_', ' ')} {took:.1f} s" for name, took in self.diary["seconds"].items())
            lines.append(f"time    {split}; finished {self.diary['finished']}")
        return "\n".join(lines + [f"failed  {failure}" for failure in self.data.attrs["failures"]])

    def summary(self, console: Any = None) -> None:
        """Print the verdict and the table behind it, with intervals."""
        from rich.console import Console

        (console or Console()).print(report.summary(self))

    def report(self, folder: Path | str | None = None) -> Path:
        """Write report.html and report.md to the run's folder (or another) and return the page's path.

        What it took goes into the diary of the run's own folder.
        """
        began = time.perf_counter()
        page = report.write(self, folder or self.path)
        if folder is None and self.diary:
            self.diary["seconds"]["report"] = time.perf_counter() - began
            write_whole(self.path / "run.json", json.dumps(self.diary, indent=1).encode())
        return page

    def propose(self, folder: Path | str | None = None, **header: Any) -> Path:
        """Write proposal.md, its figures and payload.json (default: to `proposal` in the run's folder).

        `header`: see `stress.report.proposal.write`. Return the path of the text.
        """
        return report.propose(self, folder or self.path / "proposal", **header)

    def liquidatable(self, scenario: str, cell: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return which accounts of the book a cell's terms make liquidatable at t = 0, and their notional [USD]: (A,)."""
        point = next(i for i, p in enumerate(self.plan.path_points) if p.values["scenario"] == scenario)
        return self.bench.liquidatable(point, self.cell_number(cell))

    def trace(self, scenario: str, cell: Mapping[str, int], path: int = 0) -> np.ndarray:
        """Simulate one path of one cell again: (S + 1, m) records of `vocabulary.TRACE`.

        `cell` gives the position on every cell axis; other path axes are at their first value.
        """
        point = next(i for i, p in enumerate(self.plan.path_points) if p.values["scenario"] == scenario)
        return trace(self.bench, point, self.cell_number(cell), path)

    def place(self, point: tuple[int, ...], cell: tuple[int, ...]) -> dict[str, int]:
        """Return the position on every axis of the store of a path point and a cell."""
        return dict(zip((*self.plan.path_axes, *self.plan.cell_axes), (*point, *cell), strict=True))

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


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
