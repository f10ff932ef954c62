"""README's first command, as a new user has it: an empty Prefect home, the quickstart study, two cores.

The grid must say something: at least a fifth of its cells safe and a fifth risky, beyond their
intervals. The whole command may take 150 s on an idle machine of two cores; on a busy one it is not timed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stress import measures, runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
WHOLE_SECONDS = 150
STAGES = {"start_up", "compile", "simulation", "merge", "report"}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """Return (run, seconds of the whole command, load of the machine before it)."""
    folder = tmp_path_factory.mktemp("quickstart")
    (folder / "configs").symlink_to(ROOT / "configs")
    load = os.getloadavg()[0]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.sweep_flow", "configs/studies/quickstart.yaml", "--workers", "2"],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3500,
    )
    assert done.returncode == 0, done.stderr
    seconds = float(re.search(r"^whole   ([\d.]+) s", done.stdout, re.MULTILINE)[1])
    return runs.open_run(folder / "results/quickstart"), seconds, load


def test_every_stage_is_timed_by_itself(quickstart):
    run, seconds, _ = quickstart
    assert set(run.diary["seconds"]) == STAGES
    assert 0 < sum(run.diary["seconds"].values()) <= seconds


def test_a_fifth_of_the_cells_is_safe_and_a_fifth_risky(quickstart):
    run, *_ = quickstart
    asked = run.study.tolerance
    events, paths = (run.data[name].values.ravel() for name in ("events_mutualised_loss", "paths"))
    assert len(events) == 2 * 5 * 4 * 5
    standings = [
        str(measures.standing(int(e), int(n), asked.probability, asked.confidence))
        for e, n in zip(events, paths, strict=True)
    ]
    assert standings.count("safe") >= len(standings) / 5
    assert standings.count("risky") >= len(standings) / 5


def test_the_whole_command_is_done_in_time(quickstart):
    _, seconds, load = quickstart
    if load > 0.5 or (os.cpu_count() or 1) < 2:
        pytest.skip(
            f"not timed: {os.cpu_count()} cores with a load of {load:.1f} before the run; it took {seconds:.0f} s"
        )
    assert seconds <= WHOLE_SECONDS
