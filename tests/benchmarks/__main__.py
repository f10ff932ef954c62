"""Time every case and record it with the machine that did (make bench).

A record says what one machine did at one commit; compare records of the same machine, made back to
back. Compilation is not in the times.
"""

from __future__ import annotations

import datetime
import json
import statistics
import time
from pathlib import Path

from stress import provenance
from tests.benchmarks.registry import bench, cases

REPEATS = 7
FOLDER = Path("results/benchmarks")


def main() -> None:
    """Write results/benchmarks/<date>_<commit>.json and print it as a table."""
    record = {}
    for case in cases(paths=16):
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            case.work()
            seconds.append(time.perf_counter() - began)
        record[case.name] = {
            "unit": case.unit,
            "units": case.units,
            "seconds_min": min(seconds),
            "seconds_median": statistics.median(seconds),
            "units_per_second": case.units / min(seconds),
            **case.facts,
        }
        print(f"{case.name:18s} {case.units / min(seconds):.3g} {case.unit}s a second, best of {REPEATS}")
    machine = provenance.machine()
    git = machine["git"] or {"commit": "no-checkout", "dirty": True}
    whole = {"machine": machine, "threads": 1, "seconds_compile": bench().seconds_compile, "cases": record}
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}_{git['commit'][:12]}.json"
    file.write_text(json.dumps(whole, indent=1) + "\n")
    print(f"{file}  (dirty tree: {git['dirty']})")


main()
