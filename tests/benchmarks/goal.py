"""The sweep of the goal: the base point at 512 cells through the Prefect flow, by the command that a user types.

What is printed beside the time is what the bars of a run ask: the share that is neither simulation nor compiling
(orchestration, store, and workers that wait for the last task), and the memory of the largest process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.registry import GOAL, GOAL_PATHS, GOAL_SECONDS, stated

ROOT = Path(__file__).parents[2]


def sweep_goal(cells: int, paths: int) -> dict[str, Any]:
    """Run so many paths through so many cells (1, 64 or 512) in a folder of its own; print and return what it took."""
    study = stated(dataclasses.replace(GOAL, cells=cells), paths)
    with tempfile.TemporaryDirectory(prefix="goal-") as folder:
        file = Path(folder) / "goal.yaml"
        file.write_text(json.dumps(study, default=str))  # JSON is YAML without the aliases that a study may not have
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "flows.sweep_flow", str(file), "--results", f"{folder}/results"],
            check=True,
            cwd=ROOT,
        )
        whole = time.perf_counter() - began
        diary = json.loads(next(Path(folder).glob("results/*/*/run.json")).read_text())
    seconds, swept, workers = diary["seconds"], diary["sweep"], os.cpu_count() or 1
    run = swept["seconds"] + seconds["merge"]
    took: dict[str, Any] = {
        "cells": cells,
        "paths": paths,
        "seconds": whole,
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "share_orchestration_and_store": 1.0 - swept["seconds_of_tasks"] / (workers * run),
        # Of the processes that were started: the flow and its workers.
        "largest_process_gib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20,
    }
    shown = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    print(f"goal: {cells} cells x {paths:,} paths: {whole:.0f} s ({shown} s) on {workers} cores")
    short = " (a run of less than a minute is no measurement of it)" if run < 60.0 + seconds["compile"] else ""
    print(f"      orchestration and store {took['share_orchestration_and_store']:.1%} of sweep and merge{short}")
    print(f"      largest process {took['largest_process_gib']:.2f} GiB")
    if (cells, paths) != (GOAL.cells, GOAL_PATHS):
        # What grows is the work of tasks beyond compiling, which each worker that had a task did once.
        compiling = seconds["compile"] * min(workers, swept["tasks"])
        work = max(0.0, swept["seconds_of_tasks"] - compiling) / workers
        took["seconds_extrapolated"] = whole + work * (GOAL.cells * GOAL_PATHS / (cells * paths) - 1.0)
        print(
            f"      {GOAL.cells} cells x {GOAL_PATHS:,} paths, extrapolated from it: {took['seconds_extrapolated']:.0f} s"
        )
    print(f"      the goal is {GOAL_SECONDS:.0f} s", flush=True)
    return took
