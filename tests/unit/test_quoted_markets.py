"""Wrapped, staked and bridged assets: a price in another asset, with a peg of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from stress import paths
from stress.errors import StudyError
from stress.paths import MarketModel
from stress.scenarios import RegimeScenario, ShockScenario

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"


def model(**wrapped):
    data = yaml.safe_load(HOUSE.read_text())
    peg = data["markets"]["BTC"] | {"price": 0.998, "volatility": 1e-6, "jump_beta": 0.0, "quoted_in": "BTC"} | wrapped
    peg["idiosyncratic_intensity"] = 0.0
    data["correlation"]["WBTC"] = dict.fromkeys(data["markets"], 0.0)
    data["markets"]["WBTC"] = {key: value for key, value in peg.items() if key in paths.Market.model_fields}
    return MarketModel.model_validate(data)


def source(scenario, markets=("BTC", "WBTC"), **wrapped):
    return paths.compose(model(**wrapped), scenario, markets=markets, horizon=3600.0, step=60.0, seed=7)


def test_a_wrapped_asset_follows_its_base_at_the_peg():
    drawn = source(RegimeScenario(name="stress", start="stress"))
    block = drawn.generate(0, 20)
    assert drawn.initial_prices[1] == pytest.approx(0.998 * drawn.initial_prices[0])
    assert block.world[:, 0, 1] == pytest.approx(np.full(20, drawn.initial_prices[1]))
    assert block.world[:, :, 1] / block.world[:, :, 0] == pytest.approx(np.full((20, 61), 0.998), rel=1e-3)
    assert np.ptp(block.world[:, -1, 0]) > 0.0
    alone = source(RegimeScenario(name="stress", start="stress"), markets=("BTC",)).generate(0, 20)
    assert alone.world[:, :, 0].tobytes() == np.ascontiguousarray(block.world[:, :, 0]).tobytes()


def test_a_depeg_is_a_shock_of_the_peg_alone():
    depeg = ShockScenario(name="depeg", shocks={"WBTC": -0.2}, others="still", at="10m", over="5m", on="stress")
    calm = source(RegimeScenario(name="stress", start="stress")).generate(0, 4)
    struck = source(depeg).generate(0, 4)
    assert struck.world[:, :, 0] == pytest.approx(calm.world[:, :, 0])
    assert struck.world[:, 20:, 1] == pytest.approx(0.8 * calm.world[:, 20:, 1])
    fall = source(ShockScenario(name="both", shocks={"BTC": -0.5}, others="still", at="10m", over="5m"))
    path = fall.generate(0, 1).world[0]
    assert path[-1] == pytest.approx(0.5 * path[0])  # the wrapped asset falls with its base


def test_what_it_is_quoted_in_must_be_there():
    with pytest.raises(StudyError, match="quoted in BTC, which the study leaves out"):
        source(RegimeScenario(name="stress", start="stress"), markets=("WBTC", "ETH"))
    with pytest.raises(ValueError, match="must be a market quoted in USD"):
        model(quoted_in="NONE")
