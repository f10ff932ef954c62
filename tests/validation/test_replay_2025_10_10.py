"""The replay of 2025-10-10 on both presets, from one-minute bars (market data; not shipped).

What must hold of a model that claims to be these venues; the book is synthetic and nothing is fitted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from stress import engine
from stress.config import load_study
from stress.sweep.workbench import Workbench

STUDIES = Path(__file__).parents[2] / "configs" / "studies"
pytestmark = pytest.mark.slow


def outcomes(study):
    """Yield (values of the point, start, outcome with trace) over scenarios and cells."""
    bench = Workbench(study)
    for point, at in enumerate(bench.plan.path_points):
        block = bench.source(point).generate(0, 1)
        for index, cell in enumerate(bench.plan.cells):
            built = bench.cell(point, index)
            outcome = engine.simulate(bench.compiled(built), built.cell, block, trace_path=0)
            yield {**at.values, **cell.values}, at.scenario.from_, outcome


def busiest_minute(study, start, outcome):
    """Return when the most notional was liquidated, by minutes of the event's clock."""
    each = outcome.trace["liquidated_notional"].sum(axis=1)[1:]
    minute = int(np.argmax(each.reshape(-1, round(60 / study.step)).sum(axis=1)))
    return start.astimezone(UTC) + timedelta(minutes=minute)


@pytest.mark.parametrize("name", ["replay_2025_10_10", "replay_2025_10_10_hyperliquid"])
def test_liquidations_peak_when_the_market_broke(name, market_data):
    study = load_study(STUDIES / f"{name}.yaml", market_data=market_data)
    first, last = (datetime(2025, 10, 10, 21, minute, tzinfo=UTC) for minute in (10, 30))
    for values, start, outcome in outcomes(study):
        record = outcome.paths[0]
        assert record["violation"] == 0, values
        assert record["ledger_residual"] <= 1e-9, values
        if record["first_adl_step"] >= 0:
            assert record["first_adl_step"] >= record["first_liquidation_step"] > 0, values
        current = {key: value for key, value in study.current.items() if key in values}
        if all(values[key] == value for key, value in current.items()):
            assert first <= busiest_minute(study, start, outcome) <= last, values


@pytest.mark.parametrize("day", ["2020_03_12", "2021_05_19", "2022_11_08"])
def test_hourly_replays_run_and_liquidate(day, market_data):
    study = load_study(STUDIES / f"replay_{day}.yaml", market_data=market_data)
    for values, _, outcome in outcomes(study):
        record = outcome.paths[0]
        assert record["violation"] == 0, values
        assert record["ledger_residual"] <= 1e-9, values
        assert record["liquidated_notional"] > 0, values


def test_the_stated_fund_is_exhausted_and_an_unlimited_one_never_deleverages(market_data):
    study = load_study(STUDIES / "replay_2025_10_10.yaml", market_data=market_data)
    stated, unlimited = [], []
    for values, _, outcome in outcomes(study):
        if values["vault_equity"] == study.current["vault_equity"]:
            group = {study.current["insurance_fund"]: stated, 1e12: unlimited}.get(values["insurance_fund"])
            if group is not None:
                group.append(outcome.paths[0])
    assert all(record["adl_notional"] > 0 and record["exhaustion_step"] > 0 for record in stated)
    assert all(record["adl_notional"] == 0 and record["exhaustion_step"] < 0 for record in unlimited)
    assert len(stated) == len(unlimited) == 2  # without own impact, and at the venue's stated share
