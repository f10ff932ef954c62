"""Running tasks with any map function: the builtin, threads, the workers of a Dask client."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stress import grid
from stress.errors import StoreError
from stress.sweep.block import describe_failure, run_block
from stress.sweep.plan import Receipt, Task

Work = Callable[[Task], Receipt]
# Applies the work to every task and yields receipts in any order; the builtin `map` is one.
MapFunction = Callable[[Work, Sequence[Task]], Iterable[Receipt]]


def in_threads(workers: int) -> MapFunction:
    """Return a map over threads of this process (kernels release the GIL)."""

    def run(work: Work, todo: Sequence[Task]) -> Iterator[Receipt]:
        with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="sweep") as pool:
            futures = [pool.submit(work, task) for task in todo]
            try:
                for future in concurrent.futures.as_completed(futures):
                    yield future.result()
            finally:
                # Reached early by an interrupt: what runs is finished, what waits is dropped.
                pool.shutdown(wait=True, cancel_futures=True)

    return run


@contextlib.contextmanager
def connect(scheduler: str) -> Iterator[Any]:
    """Yield a `distributed.Client` of a Dask scheduler at an address."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout="20s")
    except (OSError, ValueError) as failure:
        raise StoreError(
            f"no Dask scheduler answers: {failure}",
            key="scheduler",
            value=scheduler,
            fix="such as tcp://127.0.0.1:8786",
        ) from failure
    with client:
        yield client


def on_dask(client: Any, retries: int = 2) -> MapFunction:
    """Return a map over the workers of a `distributed.Client`; a lost worker's blocks are done again."""

    def run(work: Work, todo: Sequence[Task]) -> Iterator[Receipt]:
        from distributed import as_completed

        # Keys of this call alone: a scheduler shared with others must never answer with their blocks.
        call = uuid.uuid4().hex
        futures = client.map(work, todo, key=[f"{task.name}-{call}" for task in todo], pure=False, retries=retries)
        named = {future.key: task for future, task in zip(futures, todo, strict=True)}
        try:
            for future in as_completed(futures):
                task = named[future.key]
                if future.status == "finished":
                    yield future.result()
                else:  # the work itself never raises: this is a worker that died repeatedly, or its import
                    yield Receipt(task, failure=describe_failure(future.exception()))
                future.release()
        finally:
            client.cancel(futures)

    return run


def execute(todo: Sequence[Task], folder: Path, map_function: MapFunction = map) -> Iterator[Receipt]:
    """Yield a receipt per task, in any order; a block found whole in the folder is not computed again."""
    blocks = folder / "blocks"
    blocks.mkdir(parents=True, exist_ok=True)
    for stale in blocks.glob(".*.tmp"):
        stale.unlink(missing_ok=True)
    missing = []
    for task in todo:
        receipt = _finished(task, blocks / f"{task.name}.npz")
        if receipt is None:
            missing.append(task)
        else:
            yield receipt
    if missing:
        yield from map_function(functools.partial(run_block, folder=str(folder)), missing)


def _finished(task: Task, file: Path) -> Receipt | None:
    """Return the receipt of a block that an earlier attempt left whole and without a failed cell."""
    if not file.exists():
        return None
    try:
        record = grid.read_record(file)
    except StoreError:
        file.unlink()  # damaged on disk: compute it again
        return None
    if any(json.loads(str(record["failures"]))):
        return None
    return Receipt(task, grid.array_hash(record), resumed=True)
