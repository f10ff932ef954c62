"""kill -9 of the run and of a worker at random moments: nothing is lost, the result hash is the same.

The engine runs interpreted, so that a run is many short tasks and no compiling.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stress import runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
INTERPRETED = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
STUDY = """
schema: 1
question: Does a run survive being killed?
protocol: protocols/reference.yaml
book: {kind: synthetic, accounts: 12}
market: markets/house.yaml
markets: [BTC, ETH]
scenarios: [stress, panic]
horizon: 1h
step: 60s
axes: {leverage_cap: [20, 50]}
current: {leverage_cap: 20}
tolerance: {probability: 1%}
paths: 512
seed: 20261122
"""
WORKERS = """
import os, random, signal, sys, threading, time
from pathlib import Path
from distributed import Client, LocalCluster
from stress import runs, sweep
from stress.config import load_study

if __name__ == "__main__":
    options = {"threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        place = runs.prepare(load_study(sys.argv[1]), sys.argv[2])
        killed, moments = [], random.Random(int(sys.argv[3]))

        def kill_two():
            for _ in range(2):
                time.sleep(moments.uniform(1.0, 5.0))
                victim = moments.choice(sorted(client.run(os.getpid, on_error="ignore").values()))
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        assassin = threading.Thread(target=kill_two)
        assassin.start()
        swept = runs.sweep_blocks(place, sweep.on_dask(client))
        assassin.join()
        print(len(killed), swept.lost, runs.finalize(place, swept).path)
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "configs").symlink_to(ROOT / "configs")
    file = folder / "kill.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """An undisturbed run."""
    results = tmp_path_factory.mktemp("whole")
    assert start(study, results).wait(600) == 0
    return runs.open_run(next(results.glob("kill/*")))


def start(study, results):
    command = [
        sys.executable,
        "-m",
        "stress",
        "run",
        str(study),
        "--results",
        str(results),
        "--workers",
        "1",
        "--no-report",
    ]
    return subprocess.Popen(command, env=INTERPRETED, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def blocks(results):
    return len(list(results.glob("kill/*.partial/blocks/b*.npz")))


def test_kill_of_the_run(study, whole, tmp_path):
    moments, left = random.Random(1), []
    for finished_first in (0, 2, 3):  # of 16 tasks; then a random moment later
        process = start(study, tmp_path)
        before = blocks(tmp_path)
        while blocks(tmp_path) < before + finished_first:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        left.append(blocks(tmp_path))
    assert left == sorted(left)
    assert left[-1] >= 5
    assert not list(tmp_path.glob("kill/*/grid.zarr")), "a killed run has no final name"
    assert start(study, tmp_path).wait(600) == 0
    finished = runs.open_run(next(tmp_path.glob("kill/*")))
    assert finished.result_hash == whole.result_hash
    assert finished.diary["sweep"]["resumed"] == left[-1]
    assert [path.name for path in tmp_path.glob("kill/*")] == [whole.path.name]
    assert not list(finished.path.rglob("*.tmp"))


def test_kill_of_a_worker(study, whole, tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    command = [sys.executable, str(script), str(study), str(tmp_path / "results"), "2"]
    done = subprocess.run(command, env=INTERPRETED, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    killed, lost, folder = done.stdout.split(" ", 2)
    assert (killed, lost) == ("2", "()")
    assert runs.open_run(folder.strip()).result_hash == whole.result_hash
