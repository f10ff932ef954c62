"""Seasonality: volatility follows the clock, variance over a week does not; off, it changes no bit."""

import numpy as np
import pytest
from pydantic import ValidationError

from stress.paths import MarketModel, compose
from stress.paths.seasonality import Seasonality, fit_hours
from stress.scenarios import STATIONARY, RegimeScenario

NIGHT = np.where(np.arange(24) < 12, 0.5, np.sqrt(1.75))  # mean square 1
WEEKEND = np.array([1, 1, 1, 1, 1, np.sqrt(0.5), np.sqrt(1.5)])
CLOCK = {"hours": tuple(NIGHT), "weekdays": tuple(WEEKEND)}


def model(**layers):
    market = {"price": 100, "depth_usd": 1e6, "open_interest_usd": 1e6, "volatility": 0.5}
    return MarketModel.model_validate({"schema": 1, "name": "clock", "markets": {"A": market}, **layers})


def returns(found, paths=400, hours=168):
    scenario = RegimeScenario(name="s", start=STATIONARY)
    source = compose(found, scenario, markets=("A",), horizon=hours * 3600.0, step=3600.0, seed=1)
    return np.diff(np.log(source.generate(0, paths).world[:, :, 0]), axis=1)


def test_a_path_that_starts_on_monday_has_the_hours_of_its_week():
    ratio = returns(model(seasonality={**CLOCK, "start": 0})) / returns(model())
    # Their drift, minus half the variance, differs too, by 1e-5 of a return's size or so.
    np.testing.assert_allclose(np.median(ratio, axis=0), np.outer(WEEKEND, NIGHT).ravel(), rtol=2e-3)


def test_paths_start_at_hours_of_their_own_unless_told():
    ratio = np.median(np.abs(returns(model(seasonality=CLOCK)) / returns(model())).reshape(400, 7, 24), axis=1)
    assert len({int(np.argmin(np.abs(row - 0.5))) for row in ratio}) > 3
    first = (returns(model(seasonality=CLOCK)) ** 2)[:, 0].mean() / (returns(model()) ** 2)[:, 0].mean()
    assert first == pytest.approx(1.0, abs=0.2)  # an hour drawn evenly has the mean variance


def test_depth_follows_volatility_without_its_season():
    deep = {"phi": 1.0, "jump_sensitivity": 0, "half_life": "1h", "sd": 0, "floor": 0.01}
    scenario = RegimeScenario(name="s", start=STATIONARY)
    pair = [
        compose(model(depth=deep, **layer), scenario, markets=("A",), horizon=86400.0, step=3600.0, seed=1)
        for layer in ({}, {"seasonality": CLOCK})
    ]
    np.testing.assert_array_equal(*(source.generate(0, 2).depth for source in pair))


def test_factors_that_change_variance_are_refused():
    with pytest.raises(ValidationError, match="mean square 1; divide each by 2"):
        Seasonality(hours=(2.0,) * 24, weekdays=(1.0,) * 7)


def test_hours_are_read_from_squares():
    hour = np.arange(2400) % 24
    found = fit_hours(np.where(hour < 12, 1.0, 4.0), hour, np.ones(2400))
    np.testing.assert_allclose(found[[0, 23]], [np.sqrt(0.4), np.sqrt(1.6)])
