"""The house model: its file, its calibration targets, its pinned numbers."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from stress.paths import MarketModel, compose
from stress.scenarios import parse_scenario

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"


@pytest.fixture(scope="module")
def house():
    return MarketModel.model_validate(yaml.safe_load(HOUSE.read_text()))


def test_every_block_of_the_file_names_its_source(house):
    named = " ".join(source.of for source in house.sources)
    for block in (
        "price",
        "depth_usd",
        "open_interest_usd",
        "volatility",
        "correlation",
        "regimes",
        "jumps",
        "premium",
    ):
        assert block in named
    for market in house.markets:
        assert market in named
    assert all(source.date and source.text for source in house.sources)


def test_common_jumps_and_occupancies_meet_the_fit(house):
    law = house.regimes.stationary
    assert law @ house.regimes.values("jump_intensity") * house.jumps.common.intensity == pytest.approx(23, rel=0.01)
    assert law == pytest.approx([0.950, 0.045, 0.0046], rel=0.01)


# Annualised volatility of hourly returns, 2022-01 to 2026-05 (fitted; SOL and the last three on spot).
FITTED = {
    "BTC": 0.511,
    "ETH": 0.682,
    "SOL": 0.984,
    "XRP": 0.822,
    "DOGE": 0.954,
    "ADA": 0.892,
    "AVAX": 0.980,
    "LINK": 0.907,
}


def total_volatility(house, name):
    """Root of the stationary quadratic variation per year: regimes x slow volatility, plus both kinds of jumps."""
    law, values, market = house.regimes.stationary, house.regimes.values, house.markets[name]
    diffusive = market.volatility**2 * np.exp(2 * house.volatility.sd**2) * (law @ values("volatility") ** 2)
    kou = house.jumps.common.size
    common = 2 * (kou.p_down * kou.mean_down**2 + (1 - kou.p_down) * kou.mean_up**2)
    common *= house.jumps.common.intensity * market.jump_beta**2 * np.exp(market.jump_dispersion**2)
    own = market.own_jumps.intensity * market.own_jumps.size.sd**2
    return np.sqrt(diffusive + law @ (values("jump_intensity") * values("jump_size") ** 2) * (common + own))


@pytest.mark.parametrize("name", FITTED)
def test_total_volatility_is_the_fitted_one(house, name):
    assert total_volatility(house, name) == pytest.approx(FITTED[name], rel=0.08)


def test_the_model_reads_back_from_its_own_dump(house):
    dumped = house.model_dump(mode="json", by_alias=True)
    assert MarketModel.model_validate(dumped) == house


# Paths of a stored study: a change here is a change of every published number.
GOLDEN_WORLD = [
    [78317.14335228376, 2184.807415425321, 86.95028290523207, 1.4187405088921348],
    [81788.47335232471, 2349.5467517407424, 92.78156113260167, 1.4956339833583552],
    [83904.40369277846, 2389.2492603610112, 95.43910437507131, 1.5489578500563963],
]
GOLDEN_DEPTH = [195.38522807250922, 1285.553942819295, 1025.3180925986576]
GOLDEN_PREMIUM = [-0.0018993871856452117, -0.0002044372301509573, -0.00023863713474835384]
GOLDEN_REGIMES = [841, 540, 60]


def test_golden_path(house):
    scenario = parse_scenario("panic", house.regimes.states)
    source = compose(house, scenario, markets=("BTC", "ETH", "SOL", "XRP"), horizon=86400.0, step=60.0, seed=20261122)
    block = source.generate(4095, 1)
    np.testing.assert_allclose(block.world[0, [1, 720, 1440]], GOLDEN_WORLD, rtol=1e-12)
    np.testing.assert_allclose(block.depth[0, [0, 720, 1440], 0], GOLDEN_DEPTH, rtol=1e-12)
    np.testing.assert_allclose(block.premium[0, [0, 720, 1440], 0], GOLDEN_PREMIUM, rtol=1e-9)
    assert np.bincount(block.regime[0], minlength=3).tolist() == GOLDEN_REGIMES
