"""The main job on real prices: dated events by the command of the flow, from file to report; 2025-10-10 on both presets.

Market data do not ship; the test says so where they are absent. The book is synthetic and nothing
is fitted, and the report must say that.
"""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from stress import runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
LIQUIDATION = re.compile(r"First liquidation: (\S+ \S+) UTC")
DELEVERAGING = re.compile(r"First auto-deleveraging: (\S+ \S+) UTC")


def busiest_minute(run, scenario):
    """Return when the most notional was liquidated, by minutes, the resolution of the price file."""
    each = run.trace(scenario.name, run.find_cell({}))["liquidated_notional"].sum(axis=1)[1:]
    minute = int(np.argmax(each.reshape(-1, round(60 / run.study.step)).sum(axis=1)))
    return scenario.from_.astimezone(UTC) + timedelta(minutes=minute)


def through_the_flow(name, market_data, folder):
    """Run a study by the flow's command; return (run, words of its report, what the command printed)."""
    study = ROOT / f"configs/studies/{name}.yaml"
    options = ["--market-data", market_data.resolve(), "--results", folder / "results", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "flows.sweep_flow", study, *options],
        env={**os.environ, "PREFECT_HOME": str(folder / "prefect")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stderr
    run = runs.open_run(folder / "results" / name)
    assert run.data.attrs["failures"] == []
    text = (run.path / "report.md").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    return run, text, done.stdout


@pytest.mark.parametrize("day", ["2020-03-12", "2021-05-19", "2022-11-08"])
def test_an_hourly_day_from_price_file_to_report(day, market_data, tmp_path):
    run, text, printed = through_the_flow(f"replay_{day.replace('-', '_')}", market_data, tmp_path)
    assert float(run.data["ledger_residual"].max()) <= 1e-9
    first, last = run.study.scenarios[0].from_, run.study.scenarios[0].to
    liquidated = [datetime.fromisoformat(f"{when}Z") for when in LIQUIDATION.findall(text)]
    assert len(liquidated) == 2
    assert all(first <= when <= last for when in liquidated)
    assert f"{day} x0, on one historical path, without own impact: an outcome, not a probability." in text
    assert f"{day} x0.3, on one historical path, with 30 % of own impact: an outcome, not a probability." in text
    assert "Simulated against realised" in text
    assert "report  " in printed


@pytest.mark.parametrize("name", ["replay_2025_10_10", "replay_2025_10_10_hyperliquid"])
def test_the_day_from_price_file_to_report(name, market_data, tmp_path):
    run, text, printed = through_the_flow(name, market_data, tmp_path)
    assert float(run.data["ledger_residual"].max()) <= 1e-9
    liquidated = LIQUIDATION.findall(text)
    assert len(liquidated) == 2  # without own impact, and at the venue's stated share
    first, last = (datetime(2025, 10, 10, 21, minute, tzinfo=UTC) for minute in (10, 30))
    for point in run.plan.path_points:
        assert first <= busiest_minute(run, point.scenario) <= last, point.scenario.name
    deleveraged = DELEVERAGING.findall(text)
    assert all(begun >= liquidated[0] for begun in deleveraged)
    if name == "replay_2025_10_10":
        # The stated fund is too small for this day, an unlimited one never calls on winners.
        assert deleveraged
        bare = run.data["mean_adl_notional"].sel(vault_equity=0).values.reshape(2, -1)
        assert (bare[:, 0] > 0).all()
        assert (bare[:, -1] == 0).all()
    assert "The book of accounts is synthetic" in text
    assert "Nothing in it was fitted" in text
    assert "an outcome and not a probability" in text
    assert "Simulated against realised" in text
    assert "report  " in printed
