"""I8: any grouping and order of blocks gives the same bytes, for threads and processes alike.

Threads of this process run the compiled engine; worker processes run the same source interpreted
(it starts at once), so the test also holds compiled against interpreted through the whole stack.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stress import runs, sweep
from stress.config import Study
from stress.grid import Piece
from stress.provenance import run_id
from stress.sweep import Task

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def study():
    return Study(
        schema=1,
        name="workers",
        question="Do workers show in a result?",
        protocol=str(CONFIGS / "protocols/reference.yaml"),
        book={"kind": "synthetic", "accounts": 12},
        market=str(CONFIGS / "markets/house.yaml"),
        markets=["BTC", "ETH"],
        scenarios=["panic"],
        horizon="1h",
        step="60s",
        axes={"leverage_cap": [20, 50]},
        current={"leverage_cap": 20},
        tolerance={"probability": "1%"},
        paths=256,
        seed=20261122,
    )


@pytest.fixture(scope="module")
def alone(study, tmp_path_factory):
    """The run by one worker in order."""
    return done(study, tmp_path_factory.mktemp("alone"), map)


def done(study, folder, map_function, seed=None, width=None):
    place = runs.prepare(study, folder)
    if width is not None:  # other tiles than the plan's: one file per cell
        bench = sweep.workbench(Path(place.working), place.study_hash)
        bench.tasks = lambda: [
            Task(place.study_hash, run_id(place.study_hash), Piece(block, 0, cell, width))
            for block in range(4)
            for cell in range(0, 2, width)
        ]
    return runs.finalize(place, runs.sweep_blocks(place, map_function, seed=seed))


def same(one, other):
    assert one.result_hash == other.result_hash
    for name in one.data.variables:
        a, b = one.data[name].values, other.data[name].values
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes() if a.dtype.kind in "biuf" else a.tolist() == b.tolist()


def test_something_happens_in_the_study(alone):
    assert int(alone.data["events_mutualised_loss"].sum()) > 10
    assert not alone.data["failed"].values.any()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_never_show(study, alone, tmp_path, workers):
    same(alone, done(study, tmp_path, sweep.in_threads(workers), seed=workers))


def test_tiles_never_show(study, alone, tmp_path):
    same(alone, done(study, tmp_path, sweep.in_threads(2), seed=9, width=1))


PROCESSES = """
import sys
from pathlib import Path
from distributed import Client, LocalCluster
from stress import runs, sweep
from stress.config import load_study

if __name__ == "__main__":
    for workers in (1, 2, 4):
        options = {"threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "dashboard_address": None}
        with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:
            place = runs.prepare(load_study(sys.argv[1]), Path(sys.argv[2]) / str(workers))
            run = runs.finalize(place, runs.sweep_blocks(place, sweep.on_dask(client), seed=workers))
            print(workers, run.path)
"""


@pytest.mark.timeout(300)
def test_processes_never_show(alone, tmp_path):
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    command = [sys.executable, str(script), str(alone.path / "study.json"), str(tmp_path)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [workers for workers, _ in found] == ["1", "2", "4"]
    for _, folder in found:
        same(alone, runs.open_run(folder))


def test_one_block_computed_again_has_the_hash_of_the_store(alone):
    for block in np.random.default_rng(0).permutation(4)[:2]:
        now, stored = alone.verify(int(block), 0)
        assert now == stored
