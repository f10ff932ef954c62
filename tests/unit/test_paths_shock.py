"""Deterministic shocks: size, speed, breadth, liquidity, frozen oracle, blocked venue."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from stress.errors import StudyError
from stress.kernels.venue import ADL, LIQUIDATE
from stress.paths import MarketModel, PathAxes, compose
from stress.scenarios import parse_scenario

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"
MARKETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def house():
    return MarketModel.model_validate(yaml.safe_load(HOUSE.read_text()))


def shocked(house, **entry):
    entry = {"shocks": {"BTC": -0.3}, "over": "10m", "at": "1h", **entry}
    scenario = parse_scenario(entry, house.regimes.states)
    source = compose(house, scenario, markets=MARKETS, horizon=7200.0, step=300.0, seed=1, axes=PathAxes(depth=0.5))
    assert source.paths_available == 1
    return source.generate(0, 1)


def test_a_move_is_flat_then_log_linear_then_flat(house):
    world = shocked(house).world[0] / [market.price for market in list(house.markets.values())[:3]]
    assert (world[:13, 0] == 1).all()
    assert world[13, 0] == pytest.approx(np.sqrt(0.7))
    np.testing.assert_allclose(world[14:, 0], 0.7, rtol=1e-15)
    assert (world[:, 1:] == 1).all()


def test_others_follow_by_beta(house):
    world = shocked(house, others="by_beta").world[0]
    moves = np.log(world[-1] / world[0])
    betas = [house.markets[name].jump_beta for name in MARKETS]
    np.testing.assert_allclose(moves, np.log(0.7) * np.array(betas) / betas[0])


def test_depth_oracle_and_venue_fail_as_stated(house):
    block = shocked(
        house,
        depth=0.3,
        oracle_outage={"from": "1h", "to": "90m"},
        venue_outage={"from": "1h", "to": "65m", "blocks": ["liquidate", "adl"]},
    )
    base = [0.5 * house.markets[name].depth_usd / house.markets[name].price for name in MARKETS]
    np.testing.assert_allclose(block.depth[0, 11], base)
    np.testing.assert_allclose(block.depth[0, 12], 0.3 * np.array(base))
    assert block.oracle_outage[0, :, 0].nonzero()[0].tolist() == list(range(12, 18))
    assert block.venue_outage[0].tolist() == [0] * 12 + [LIQUIDATE | ADL] + [0] * 12


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shocks": {"BTX": -0.3}}, "did you mean BTC"),
        ({"at": "2h"}, "ends after the horizon"),
        ({"oracle_outage": {"from": "61m", "to": "62m"}}, "no step of the study"),
        ({"oracle_outage": {"from": "2h", "to": "1h"}}, "later than"),
        ({"shocks": {"BTC": -1}}, "greater than -1"),
        ({"shocks": {"BTC": -0.1, "ETH": 0.1}, "others": "by_beta"}, "exactly one market"),
        ({"over": "0s"}, "greater than 0"),
        ({"ovr": "1m"}, "did you mean over"),
    ],
)
def test_a_shock_that_makes_no_sense_is_refused(house, entry, message):
    with pytest.raises(StudyError, match=message):
        shocked(house, **entry)
