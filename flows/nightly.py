"""The nightly job: sweep, report, compare with the last run, raise the alarm.

Every night has a folder of its own, results/nightly/<study>/<date>-<id>/, that is never written
again; latest.json beside it is replaced whole. A breach is an alert line, a named artifact and a
non-zero exit: the upper bound of the current cell lies above the tolerance, or a named cell became
significantly worse than in the last run on the same paths.

    python -m flows.nightly configs/studies/quickstart.yaml              once, now
    python -m flows.nightly configs/studies/quickstart.yaml --serve      by schedule, needs a Prefect server
"""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts

from flows.sweep_flow import DATA, checked, folder_of, main, steps

from prefect import flow, get_run_logger, task  # isort: skip  (after flows: it sets Prefect's environment)
from prefect.artifacts import create_markdown_artifact, create_table_artifact  # isort: skip
from prefect.cache_policies import NO_CACHE  # isort: skip
from prefect.schedules import Cron, Interval, Schedule  # isort: skip

from stress import measures, provenance, runs
from stress.config import load_study
from stress.errors import StressError
from stress.stages import parse_duration


@dataclass(frozen=True)
class Alert:
    """One reason to look at the report before the day begins."""

    cell: str
    scenario: str
    reason: str

    def __str__(self) -> str:
        return f"ALERT {self.cell} cell, {self.scenario}: {self.reason}"


def alerts(run: runs.Run, changes: list[runs.Comparison]) -> list[Alert]:
    """Return every breach: the current cell against the tolerance, named cells against the last run."""
    found = []
    tolerance, index = run.study.tolerance, run.plan.current_index
    if index is not None and tolerance is not None:
        for point in run.plan.path_points:
            at = run.data.isel(run.place(point.index, index))
            events, paths = int(at[f"events_{tolerance.measure}"]), int(at["paths"])
            scenario = ", ".join(str(value) for value in point.values.values())
            if reason := _breach(events, paths, tolerance.probability, tolerance.confidence, point.scenario.one_path):
                found.append(Alert("current", scenario, f"{tolerance.measure}: {reason}"))
    found += [
        Alert(change.cell, change.scenario, f"worse than the last run by {change.difference}")
        for change in changes
        if change.difference.low > 0
    ]
    return found


def _breach(events: int, paths: int, tolerance: float, confidence: float, one_path: bool) -> str | None:
    if paths == 0:
        return "the cell failed"
    if one_path:  # an outcome, not a probability
        return "it happens on this path" if events else None
    high = float(measures.clopper_pearson(events, paths, confidence)[1])
    estimate = measures.describe_estimate(events, paths, confidence)
    return f"{estimate}, upper bound {high:.2%} above the tolerance of {tolerance:.2%}" if high > tolerance else None


@task(cache_policy=NO_CACHE)
def compare(folder: str) -> list[runs.Comparison]:
    """Compare the named cells with those of the last run, as far as both have them; publish latest.json."""
    here = Path(folder)
    pointer = here.parent / "latest.json"
    latest = json.loads(pointer.read_text()) if pointer.exists() else {"run": None, "previous": None}
    last = latest["previous"] if latest["run"] == here.name else latest["run"]
    runs.write_whole(pointer, json.dumps({"run": here.name, "previous": last}).encode())
    if last is None:
        return []
    now = runs.open_run(here)
    tolerance = now.study.tolerance
    event = "mutualised_loss" if tolerance is None else tolerance.measure
    return runs.compare(runs.open_run(here.parent / last), now, event)


@task(cache_policy=NO_CACHE)
def publish(folder: str, page: str, changes: list[runs.Comparison]) -> list[str]:
    """Make the Prefect artifacts of a night; return the alert lines."""
    run = runs.open_run(folder)
    raised = [str(alert) for alert in alerts(run, changes)]
    key = re.sub(r"[^a-z0-9]+", "-", run.study.name.lower()).strip("-")
    lines = [f"# {run.study.question}", *(f"- **{line}**" for line in raised or ["no alert"]), ""]
    lines += [f"Report: `{page}`", f"Store: `{run.path / 'grid.zarr'}`", f"Result: `{run.result_hash}`"]
    create_markdown_artifact("\n".join(lines), key=f"{key}-verdict", description=run.study.question)
    rows = [
        {"cell": c.cell, "scenario": c.scenario, "last": c.first, "now": c.second, "now - last": str(c.difference)}
        for c in changes
    ]
    create_table_artifact(
        rows or [{"comparison": "this is the first run of the study"}],
        key=f"{key}-change",
        description="named cells against the last run, on common paths where they have any",
    )
    return raised


@flow(name="nightly")
def nightly(
    study: str,
    results: str = "results",
    market_data: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> list[str]:
    """Run a study into tonight's folder, compare, publish; return the alert lines."""
    loaded = load_study(study, market_data=market_data)
    name = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{provenance.run_id(loaded.content_hash)}"
    folder, page = steps(study, str(Path(results) / "nightly"), market_data, scheduler, workers, name)
    changes = compare(folder)
    raised = publish(folder, page, changes)
    log = get_run_logger()
    for line in raised:
        log.error(line)
    log.info("report %s", page)
    return raised


app = cyclopts.App(name="python -m flows.nightly", help="The nightly job.", version_flags=[])


@app.default
def command(
    study: str,
    *,
    results: str = "results",
    market_data: Annotated[Path, cyclopts.Parameter(help="Folder in which price files are looked for.")] = DATA,
    scheduler: str | None = None,
    workers: int | None = None,
    serve: bool = False,
    cron: str = "17 3 * * *",
    every: str | None = None,
) -> None:
    """Run the nightly job once, or serve its schedule.

    Parameters
    ----------
    study: The study file.
    results: Folder of all runs.
    scheduler: Address of a Dask scheduler; default: an embedded cluster.
    workers: Processes of the embedded cluster; default: the cores of this machine.
    serve: Stay and run by the schedule; needs PREFECT_API_URL of a running Prefect server.
    cron: When to run, in UTC.
    every: Run at this interval instead of by cron, such as 6h.
    """
    data = folder_of(market_data)
    checked(study, data, scheduler)  # an error now, not at three in the morning
    if serve:
        if "PREFECT_API_URL" not in os.environ:
            raise StressError(
                "a schedule needs a running Prefect server",
                key="PREFECT_API_URL",
                fix="run `prefect server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api",
            )
        arguments = {
            "study": study,
            "results": results,
            "market_data": data,
            "scheduler": scheduler,
            "workers": workers,
        }
        nightly.serve(name="nightly", limit=1, schedules=[_schedule(cron, every)], parameters=arguments)
        return
    raised = nightly(study, results, data, scheduler, workers)
    for line in raised:
        print(line)
    if raised:
        sys.exit(1)


def _schedule(cron: str, every: str | None) -> Schedule:
    if every is None:
        return Cron(cron, timezone="UTC")
    return Interval(datetime.timedelta(seconds=parse_duration(every)))


if __name__ == "__main__":
    main(app)
