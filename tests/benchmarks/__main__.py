"""Time every case against its comparators in one run, print one table, keep one record (make bench).

    python -m tests.benchmarks [--only TEXT] [--paths N] [--bars | --venues]
    python -m tests.benchmarks --goal [--cells 512] [--paths 10048]     the sweep of the goal, through the flow
    python -m tests.benchmarks --quote results/benchmarks/FILE          README's table from a record

Each case writes its row when it is measured; `--resume` keeps the rows of an earlier attempt at the same commit.

Ratios are medians over chunks of distinct paths, comparators and engine taking turns on the same chunk; compilation
is timed apart. A record says what one machine did at one commit: compare records of one machine, made back to back.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stress import provenance
from tests.benchmarks.goal import sweep_goal
from tests.benchmarks.measuring import Measured, measure, measure_paths, measure_threads, measure_venues
from tests.benchmarks.quoting import quote
from tests.benchmarks.registry import BARS, FACTORS, GOAL_PATHS, NUMPY_BARS, PRESET_BAR, SCAN_BAR, cases, distinct_paths

FOLDER = Path("results/benchmarks")
COLUMNS = (
    ("culled us", "culled_us", "{:.0f}"),
    ("exhaustive/culled", "exhaustive_over_culled", "{:.1f}"),
    ("numpy/culled", "numpy_over_culled", "{:.0f}"),
    ("bare/exhaustive", "bare_over_exhaustive", "{:.2f}"),
    ("rounds/step", "exhaustive_rounds", "{:.2f}"),
    ("bare/numpy", "bare_over_numpy", "{:.3f}"),
    ("liquidated", "share_liquidated", "{:.2%}"),
    ("ns/liquidation", "ns_per_liquidation", "{:.0f}"),
    ("ns/fill", "ns_per_fill", "{:.0f}"),
    ("evaluated", "share_evaluated", "{:.3%}"),
    ("rebuilds", "rebuilds", "{:.0f}"),
    ("fills", "fills", "{:.0f}"),
    ("paths", "path_share", "{:.1%}"),
    ("bars", "bar", "{}"),
)


def main() -> None:
    """Print the table and write results/benchmarks/<date>_<commit>.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--venues", action="store_true", help="only the presets beside each other")
    parser.add_argument("--bars", action="store_true", help="only the cases that have a bar")
    parser.add_argument("--paths", type=int, help="distinct paths of a measurement; default: by size of the book")
    parser.add_argument("--resume", action="store_true", help="keep the rows that today's record of this commit has")
    parser.add_argument("--goal", action="store_true", help="only the sweep of the goal, through the Prefect flow")
    parser.add_argument("--cells", type=int, choices=(1, 64, 512), default=512, help="of the goal")
    parser.add_argument("--quote", help="record that README is to quote")
    options = parser.parse_args()
    if options.quote:
        quote(options.quote)
        return
    if options.goal:
        sweep_goal(options.cells, options.paths or GOAL_PATHS)
        return
    machine = _machine()  # of the sources that are about to be timed
    git = machine["git"] or {"commit": "no-checkout", "dirty": True}
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}_{git['commit'][:12]}.json"
    kept = json.loads(file.read_text()) if options.resume and file.exists() else {}
    whole: dict[str, Any] = {"machine": machine, "cases": kept.get("cases", {})}
    measured: dict[str, Measured] = whole["cases"]
    print(f"{'case':34s}" + "".join(f"{title:>18s}" for title, _, _ in COLUMNS), flush=True)
    for case in [] if options.venues else cases():
        if options.only in case.name and (not options.bars or case in BARS or case in NUMPY_BARS):
            if case.name not in measured:
                row = measure(case, options.paths or distinct_paths(case))
                row["bar"] = _bar(row, BARS.get(case), NUMPY_BARS.get(case))
                measured[case.name] = row
                _write(file, whole)
            shown = "".join(f"{_show(measured[case.name][key], form):>18s}" for _, key, form in COLUMNS)
            print(f"{case.name:34s}{shown}", flush=True)
    if not options.only:
        whole["venues_in_calm"] = kept.get("venues_in_calm") or _venues(options.paths or 512)
        _write(file, whole)
    whole |= {
        "growth": _growth(measured),
        "paths_us": measure_paths(1_024),
        "threads": measure_threads(256),
        "start": _start(),
        "memory_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    for name in ("growth", "paths_us", "threads", "start", "memory_peak_mib"):
        print(f"{name}: {whole[name]}")
    _write(file, whole)
    print(f"{file}  (dirty tree: {git['dirty']})")


def _write(file: Path, whole: dict[str, Any]) -> None:
    file.write_text(json.dumps(whole, indent=1) + "\n")


def _venues(paths: int) -> dict[str, Measured]:
    """Time the presets beside each other, and print their table."""
    shared = {column[1]: column for column in COLUMNS}
    columns = [
        shared["culled_us"],
        ("over reference", "over_reference", "{:.2f}"),
        *(shared[key] for key in ("share_liquidated", "share_evaluated", "rebuilds", "fills")),
    ]
    print(f"{'venue, calm':34s}" + "".join(f"{title:>18s}" for title, _, _ in columns), flush=True)
    found = measure_venues("calm", paths)
    for name, row in found.items():
        met = "met" if row["over_reference"] <= PRESET_BAR else "missed"
        shown = "".join(f"{_show(row[key], form):>18s}" for _, key, form in columns)
        print(f"{name:34s}{shown}  {met} {PRESET_BAR:g}x", flush=True)
    return found


def _show(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def _bar(row: Measured, exhaustive: float | None, numpy: float | None) -> str | None:
    """Say which bars a case meets, by the columns' names."""
    said = []
    for name, least in (
        ("exhaustive_over_culled", exhaustive),
        ("numpy_over_culled", numpy),
        ("bare_over_exhaustive", exhaustive and SCAN_BAR),
    ):
        found = row[name]
        if least is not None:
            said.append(f"{'met' if found is not None and found >= least else 'missed'} {least:g}")
    return ", ".join(said) or None


def _growth(measured: dict[str, Measured]) -> dict[str, float]:
    """Return the exponent of the culled engine's time in each numeric factor (least squares of logarithms)."""
    exponents = {}
    for factor, values in FACTORS.items():
        points = [
            (float(value), row["culled_us"])
            for value in values
            if not isinstance(value, str) and (row := measured.get(_name_at(factor, value))) is not None
        ]
        if len(points) > 1:
            x, y = np.log(np.array(points)).T
            exponents[factor] = round(float(np.polyfit(x, y, 1)[0]), 3)
    return exponents


def _name_at(factor: str, value: Any) -> str:
    return next(case.name for case in cases() if getattr(case, factor) == value and _base_but(case, factor))


def _base_but(case: Any, factor: str) -> bool:
    return all(key == factor for key in (part.split("=")[0] for part in case.name.split()) if key != "base")


def _start() -> dict[str, float]:
    """Return seconds that a process takes to say what the command can do, and to import the engine."""
    seconds = {}
    for name, words in (("help", ["-m", "stress", "--help"]), ("import_engine", ["-c", "import stress.engine"])):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            taken.append(time.perf_counter() - began)
        seconds[name] = round(float(np.median(taken)), 3)
    return seconds


def _machine() -> dict[str, Any]:
    """Return processor, memory, commit and versions; neither host nor any path."""
    described = provenance.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kept = {key: described[key] for key in ("cpu", "cores", "python", "libraries", "git")}
    return {**kept, "memory_gib": round(memory, 1)}


main()
