"""Two nights by the command that a person types: exit codes, alert lines, the comparison on common paths.

From an empty folder: Prefect makes its home inside `results/` and its temporary server ends with the
command. The engine runs interpreted, so that a night is seconds of work.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stress import runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
STUDY = """
schema: 1
name: nights
question: What is said when a venue raises its cap overnight?
protocol: protocols/reference.yaml
book: {kind: synthetic, accounts: 24}
market: markets/house.yaml
markets: [BTC, ETH]
scenarios: [panic]
horizon: 2h
step: 60s
axes: {leverage_cap: [10, 50]}
current: {leverage_cap: CAP}
tolerance: {probability: 50%}
paths: 256
seed: 20261122
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("nights")
    (place / "configs").symlink_to(ROOT / "configs")
    return place


def night(folder, text):
    (folder / "nights.yaml").write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "flows.nightly", "nights.yaml", "--workers", "1"],
        env={**environment, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


def latest(folder):
    return json.loads((folder / "results/nightly/nights/latest.json").read_text())


def test_a_quiet_night_and_one_after_a_change_for_the_worse(folder):
    monday = night(folder, STUDY.replace("CAP", "10"))
    assert (monday.returncode, monday.stdout) == (0, ""), monday.stderr
    first = latest(folder)
    assert first["previous"] is None
    tuesday = night(folder, STUDY.replace("CAP", "50"))
    assert tuesday.returncode == 1, tuesday.stderr
    assert latest(folder) == {"run": latest(folder)["run"], "previous": first["run"]}
    (alert,) = tuesday.stdout.splitlines()
    assert alert.startswith("ALERT current cell, panic: worse than the last run by +")
    nights = folder / "results/nightly/nights"
    before, after = (runs.open_run(nights / name) for name in (first["run"], latest(folder)["run"]))
    (change,) = runs.compare(before, after)
    assert change.difference.paths == 256  # paired: the same paths were dealt on both nights
    assert str(change.difference) in alert
    assert (after.path / "report.html").is_file()
    assert (folder / "results/.prefect").is_dir()


def test_what_is_wrong_with_a_file_is_said_without_a_traceback(folder):
    refused = night(folder, STUDY.replace("CAP", "30"))
    assert refused.returncode == 2
    assert "nights.yaml" in refused.stderr
    assert "not on the grid" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "prefect" not in refused.stderr
