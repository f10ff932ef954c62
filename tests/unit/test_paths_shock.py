"""Deterministic shocks: size, speed, breadth, liquidity, frozen oracle, blocked venue."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from stress.errors import StudyError
from stress.kernels.venue import ADL, LIQUIDATE
from stress.paths import MarketModel, PathAxes, compose
from stress.scenarios import expand, parse_scenario

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


def test_a_venue_that_lags_settles_in_batches(house):
    # Steps of 5 min from 20 min on: what is blocked goes through at 35 and 50 min; at 65 min it is over.
    lag = {"from": "20m", "to": "65m", "blocks": ["liquidate"], "settles_every": "15m"}
    open_at = [t for t, bits in enumerate(shocked(house, venue_outage=lag).venue_outage[0]) if bits == 0]
    assert open_at == [0, 1, 2, 3, 7, 10, *range(13, 25)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"venue_outage": {"from": "0s", "to": "1h", "blocks": ["adl"], "settles_every": "5m"}},
            "two steps of 5m or more",
        ),
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


def test_the_standard_set_is_every_size_speed_breadth_liquidity_and_oracle(house):
    entry = {"set": "g8", "market": "BTC", "oracle": ["live", "frozen"], "at": "10m", "frozen_for": "30m"}
    members = expand(parse_scenario(entry, house.regimes.states))
    assert len(members) == 14 * 4 * 4 * 3 * 2
    assert len({member.name for member in members}) == len(members)
    sizes = {member.shocks["BTC"] for member in members}
    assert sizes == {sign * size for sign in (-1, 1) for size in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)}
    by_name = {member.name: member for member in members}
    frozen = by_name["g8 BTC -30% 10m decoupled depth 0.3 oracle frozen"]
    assert (frozen.oracle_outage.from_, frozen.oracle_outage.to) == (600, 2400)
    block = compose(house, frozen, markets=MARKETS, horizon=7200.0, step=300.0, seed=1).generate(0, 1)
    moves = np.log(block.world[0, -1] / block.world[0, 0])
    np.testing.assert_allclose(moves, np.log(0.7) * np.array([1, -1, -1]))
    assert block.oracle_outage[0, :, 0].nonzero()[0].tolist() == list(range(2, 8))
    at_once = by_name["g8 BTC +50% step one depth 1"]
    world = compose(house, at_once, markets=MARKETS, horizon=7200.0, step=300.0, seed=1).generate(0, 1).world[0]
    np.testing.assert_allclose(world[:, 0] / world[0, 0], [1.0] * 3 + [1.5] * 22)
    shorter = expand(
        parse_scenario({"set": "g8", "market": "BTC", "sizes": [-0.2], "over": ["1h"]}, house.regimes.states)
    )
    assert len(shorter) == 4 * 3
    assert all(member.oracle_outage is None for member in shorter)
