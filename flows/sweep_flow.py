"""One study as a Prefect flow: resolve, sweep, finalize, report.

`sweep` is one task; its blocks are Dask futures inside it (a Prefect task per block costs some
hundred milliseconds each). Tasks hand over names of files and folders, never arrays.

    python -m flows.sweep_flow configs/studies/quickstart.yaml
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cyclopts

import flows

from prefect import flow, task  # isort: skip  (after flows: it sets Prefect's environment)
from prefect.cache_policies import NO_CACHE  # isort: skip

from stress import runs
from stress.cli import DATA, data_folder
from stress.config import Study, load_study
from stress.errors import StressError
from stress.sweep import Workbench, connect, on_dask


@contextlib.contextmanager
def _light_workers() -> Iterator[None]:
    """Keep started processes from importing the main module.

    It would bring Prefect into every worker: some seconds of start-up, and workers that do not end
    when asked to. Workers get their work by name from `stress.sweep` and need nothing else.
    """
    main = sys.modules["__main__"]
    held = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    for name in held:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in held.items():
            setattr(main, name, value)


@contextlib.contextmanager
def dask_client(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """Yield a client of the given scheduler, or of an embedded cluster of one-thread processes."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.WARNING)  # workers that come and go are no news
    if scheduler is not None:
        with connect(scheduler) as client:
            yield client
        return
    environment: dict[str, int | str] = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), 1
    )
    # A worker that is told to end complains of its last heartbeat; failures come back as receipts.
    environment["DASK_LOGGING__DISTRIBUTED"] = "critical"
    with (
        _light_workers(),  # for as long as the cluster lives: a lost worker is started again
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in environment.items()}),
        LocalCluster(
            n_workers=workers or os.cpu_count(),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        # Taking a compiled engine apart needs more seconds than a worker is given to end; blocks are on disk.
        client.run(atexit.register, os._exit, 0)
        yield client


@task(cache_policy=NO_CACHE)
def resolve(study: str, results: str, market_data: str | None, name: str | None) -> dict[str, str]:
    """Read the study, check it, make the run's working folder; return where it lies."""
    return asdict(runs.prepare(load_study(study, market_data=market_data), results, name=name))


@task(cache_policy=NO_CACHE)
def sweep(place: dict[str, str], scheduler: str | None, workers: int | None) -> dict[str, Any]:
    """Compute every block that is missing; return the diary of the sweep."""
    with dask_client(scheduler, workers) as client, runs.progress_bar("sweep") as progress:
        return asdict(runs.sweep_blocks(runs.Place(**place), on_dask(client), progress))


@task(cache_policy=NO_CACHE)
def finalize(place: dict[str, str], swept: dict[str, Any], started: float) -> str:
    """Merge the blocks and give the run's folder its final name; return it."""
    diary = runs.Swept(**swept)
    before = time.perf_counter() - started - diary.seconds
    return str(runs.finalize(runs.Place(**place), diary, seconds_before=before).path)


@task(cache_policy=NO_CACHE)
def report(run: str) -> str:
    """Write the report of a finished run; return the path of the page."""
    return str(runs.open_run(run).report())


def steps(
    study: str,
    results: str,
    market_data: str | None,
    scheduler: str | None,
    workers: int | None,
    name: str | None = None,
    started: float | None = None,
) -> tuple[str, str]:
    """Go through the tasks; return the run's folder and the path of its report."""
    place = resolve(study, results, market_data, name)
    if runs.Place(**place).finished:
        run = place["final"]
    else:
        began = time.perf_counter() if started is None else started
        run = finalize(place, sweep(place, scheduler, workers), began)
    return run, report(run)


@flow(name="sweep", log_prints=False)
def sweep_flow(
    study: str,
    results: str = "results",
    market_data: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> tuple[str, str]:
    """Run a study; return the run's folder and the path of its report."""
    return steps(study, results, market_data, scheduler, workers, started=flows.STARTED)


def checked(study: str, market_data: str | None, scheduler: str | None) -> Study:
    """Return the study, once all that it names is sound: what is wrong is said before Prefect starts.

    Inside a flow the same error would come between tracebacks.
    """
    loaded = load_study(study, market_data=market_data)
    Workbench(loaded).check()
    if scheduler is not None:
        with connect(scheduler):
            pass
    return loaded


app = cyclopts.App(name="python -m flows.sweep_flow", help="Run a study through Prefect and Dask.", version_flags=[])


@app.default
def command(
    study: str,
    *,
    results: str = "results",
    market_data: Annotated[Path, cyclopts.Parameter(help="Folder in which price files are looked for.")] = DATA,
    scheduler: str | None = None,
    workers: int | None = None,
) -> None:
    """Run a study; print the verdict, where store and report are, and where the time went.

    Parameters
    ----------
    study: The study file.
    results: Folder of all runs.
    scheduler: Address of a Dask scheduler whose workers see the same results folder; default: embedded.
    workers: Processes of the embedded cluster; default: the cores of this machine.
    """
    data = folder_of(market_data)
    checked(study, data, scheduler)
    folder, page = sweep_flow(study, results, data, scheduler, workers)
    run = runs.open_run(folder)
    run.summary()
    print(run.where)
    print(f"report  {page}")
    print(f"whole   {time.perf_counter() - flows.STARTED:.1f} s from the command to this line")


def folder_of(market_data: Path) -> str | None:
    """Return the folder of price files as a flow passes it on."""
    found = data_folder(market_data)
    return None if found is None else str(found)


def main(program: cyclopts.App) -> None:
    """Run a command line; an error that a user can cause is printed without a traceback, exit code 2."""
    try:
        program()
    except StressError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(app)
