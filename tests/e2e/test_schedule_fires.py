"""A schedule really fires: a Prefect server, a served nightly job, a run that the scheduler made.

An import or a plain flow run would pass with library versions under which schedules never fire, or
artifacts cannot be listed; this does not.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
STUDY = """
schema: 1
question: Does the schedule fire?
protocol: protocols/reference.yaml
book: {kind: synthetic, accounts: 12}
market: markets/house.yaml
markets: [BTC, ETH]
scenarios: [panic]
horizon: 1h
step: 60s
axes: {leverage_cap: [20, 50]}
current: {leverage_cap: 50}
tolerance: {probability: 1%}
paths: 128
seed: 20261122
"""


@contextlib.contextmanager
def running(command, environment, log):
    """Run a process in a group of its own and end the whole group at the end."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            for sign, patience in ((signal.SIGINT, 30), (signal.SIGKILL, 10)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)


def ask(url, query=None):
    """Return the answer of the server; `query` is posted as JSON."""
    body = None if query is None else json.dumps(query).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def wait_for(what, probe, seconds, process, log):
    """Return the first true value of `probe`, or fail with the process's log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the process ended while waiting for {what}:\n{log.read_text()[-3000:]}"
        with contextlib.suppress(OSError):
            if found := probe():
                return found
        time.sleep(1)
    pytest.fail(f"no {what} within {seconds} s:\n{log.read_text()[-3000:]}")


@pytest.fixture
def prefect(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": address,
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path / "server.log"
    with running([sys.executable, "-m", "prefect", "server", "start"], environment, log) as server:
        wait_for("healthy server", lambda: ask(f"{address}/health"), 240, server, log)
        yield address, {**environment, "PREFECT_API_URL": address}
    assert "Can't evaluate bulk DML" not in log.read_text(), "the scheduler service of the server fails"


def test_a_scheduled_run_completes_and_its_artifacts_can_be_listed(prefect, tmp_path):
    address, environment = prefect
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    study = tmp_path / "fires.yaml"
    study.write_text(STUDY)
    results, log = tmp_path / "results", tmp_path / "serve.log"
    command = [sys.executable, "-m", "flows.nightly", str(study), "--results", str(results), "--workers", "1"]

    def completed():
        query = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}, "flows": {"name": {"any_": ["nightly"]}}}
        return [run for run in ask(f"{address}/flow_runs/filter", query) if run["auto_scheduled"]]

    with running([*command, "--serve", "--every", "20s"], environment, log) as served:
        run = wait_for("scheduled run that completed", completed, 420, served, log)[0]
    assert run["deployment_id"]
    # `prefect artifact ls` sends null filters: some versions of fastapi answer them with 422.
    listed = subprocess.run(
        [sys.executable, "-m", "prefect", "artifact", "ls"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert listed.returncode == 0, listed.stderr
    keys = {artifact["key"] for artifact in ask(f"{address}/artifacts/latest/filter", {})}
    assert {"fires-verdict", "fires-change"} <= keys
    latest = json.loads((results / "nightly" / "fires" / "latest.json").read_text())
    assert (results / "nightly" / "fires" / latest["run"] / "grid.zarr").is_dir()
    assert (results / "nightly" / "fires" / latest["run"] / "report.html").is_file()
