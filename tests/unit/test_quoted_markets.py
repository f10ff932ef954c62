"""Wrapped, staked and bridged assets: a price in another asset, with a peg of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from stress import engine, paths
from stress.config import load_study
from stress.errors import StudyError
from stress.paths import MarketModel
from stress.scenarios import RegimeScenario, ShockScenario
from stress.sweep.workbench import Workbench

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


def test_the_market_file_of_collateral_is_the_house_model_with_three_assets():
    house, other = (yaml.safe_load(HOUSE.with_name(f"{name}.yaml").read_text()) for name in ("house", "collateral"))
    assets = {"WBTC", "WBETH", "USDE"}
    assert {name: value for name, value in other["markets"].items() if name not in assets} == {
        name: house["markets"][name] for name in ("BTC", "ETH")
    }
    own = {"name", "title", "markets", "correlation", "sources"}
    assert {key: value for key, value in other.items() if key not in own} == {
        key: value for key, value in house.items() if key not in own
    }
    assert other["correlation"]["ETH"] == house["correlation"]["ETH"]
    assert all(value == 0 for name in assets for value in other["correlation"][name].values())


@pytest.mark.interpreted
def test_the_shipped_depegs_take_collateral_away_where_weights_count_it():
    """The peg of each asset falls as its source says, and the ledger holds while the venue sells what is held."""
    study = load_study(HOUSE.parents[1] / "studies/depeg.yaml")
    study = study.model_copy(update={"book": study.book.model_copy(update={"accounts": 24})})
    bench = Workbench(study)
    names = [point.scenario.name for point in bench.plan.path_points]
    assert names == ["2025-10-10-depeg", "bridge of WBTC fails", "USDE at 0.65"]
    held = list(study.markets)
    for point, asset, low in ((0, "USDE", 0.65), (1, "WBTC", 0.4), (2, "USDE", 0.65)):
        block = bench.source(point).generate(0, 1)
        world = block.world[0] / block.world[0, 0]
        base = world[:, held.index("BTC")] if asset == "WBTC" else 1.0
        assert (world[:, held.index(asset)] / base).min() == pytest.approx(low, abs=0.02)
        built = bench.cell(point, 0)
        outcome = engine.simulate(bench.compiled(built), built.cell, block, trace_path=0)
        record = outcome.paths[0]
        assert record["violation"] == 0
        assert record["ledger_residual"] <= 1e-9
        # In the crash the venue sells what is held; two dozen accounts carry the other two without a sale.
        assert (outcome.trace["liquidated_notional"][:, held.index(asset)].sum() > 0) == (point == 0), names[point]
