"""Outages and lags of a venue, by any scenario: which actions are blocked in which step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stress.config import load_study
from stress.errors import StudyError
from stress.kernels.venue import ADL, FUND, LIQUIDATE
from stress.paths import compose
from stress.scenarios import VenueOutage, parse_scenario

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_lag_opens_once_in_its_time_and_never_at_its_start():
    times = 60.0 * np.arange(12)
    lag = VenueOutage(**{"from": "2m", "to": "9m", "blocks": ["liquidate", "fund"], "settles_every": "3m"})
    bits = lag.bits(times, 60.0, "here")
    assert bits.tolist() == [0, 0] + [LIQUIDATE | FUND] * 3 + [0] + [LIQUIDATE | FUND] * 2 + [0] * 4
    assert lag.words == "lags: once in 3m only can it liquidate and fund from 2m to 9m"
    assert lag.model_copy(update={"settles_every": None}).words == "cannot liquidate and fund from 2m to 9m"
    with pytest.raises(StudyError, match="two steps of 1m or more"):
        lag.model_copy(update={"settles_every": 60.0}).bits(times, 60.0, "here")
    with pytest.raises(StudyError, match="no step of the study"):
        lag.bits(times[:2], 60.0, "here")


def test_a_regime_with_a_lag_has_the_paths_of_the_regime_and_outages_add_up():
    study = load_study(CONFIGS / "studies" / "congestion.yaml")
    entries = [
        {"start": "panic", "venue_outages": outages}
        for outages in (
            [],
            [{"from": "0s", "to": "30m", "blocks": ["liquidate"]}, {"from": "20m", "to": "1h", "blocks": ["adl"]}],
        )
    ]
    plain, failing = (
        compose(
            study.market, parse_scenario(entry, study.market.regimes.states), markets=("BTC",), horizon=3600.0,
            step=600.0, seed=1,
        ).generate(0, 3)
        for entry in entries
    )  # fmt: skip
    assert plain.world.tobytes() == failing.world.tobytes()
    assert not plain.venue_outage.any()
    expected = [LIQUIDATE, LIQUIDATE, LIQUIDATE | ADL, ADL, ADL, ADL, 0]
    assert failing.venue_outage.tolist() == [expected] * 3


def test_the_shipped_study_runs_with_and_without_a_lag():
    study = load_study(CONFIGS / "studies" / "congestion.yaml")
    assert [len(scenario.outages) for scenario in study.scenarios] == [0, 1]
