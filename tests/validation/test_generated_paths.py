"""What the house model's paths show, measured as on market data, each against a stated bar.

Every test has a small form that always runs and a large one (slow). Seeds are fixed.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import norm

from stress.paths import MarketModel, compose
from stress.paths.jumps import Jumps
from stress.paths.regimes import Regimes
from stress.scenarios import parse_scenario

HOUSE = MarketModel.model_validate(
    yaml.safe_load((Path(__file__).parents[2] / "configs/markets/house.yaml").read_text())
)
MARKETS = ("BTC", "ETH", "SOL", "XRP")
DAY = 86400.0


def generated(count, *, first=0, start="stationary", held=False, days=1, step=60.0, of=HOUSE):
    scenario = parse_scenario({"start": start, "held": held}, of.regimes.states)
    source = compose(of, scenario, markets=MARKETS, horizon=days * DAY, step=step, seed=20261122)
    return source.generate(first, count)


def log_returns(block):
    return np.diff(np.log(block.world), axis=1)


# ------------------------------------------------------------------ volatility clusters

LAGS = {"1 h": 12, "6 h": 72, "24 h": 288}  # of five-minute returns


def autocorrelation(x, lag):
    x = x - x.mean(axis=-1, keepdims=True)
    return (x[..., lag:] * x[..., :-lag]).sum(axis=-1) / (x * x).sum(axis=-1)


def above_shuffled_band(size, random):
    """Return flags by lag for `size` (paths, steps), all of one market.

    The autocorrelation, averaged over the paths, lies above the 99 % quantile of the same average over
    200 shuffles of every path.
    """
    observed = [autocorrelation(size, lag).mean() for lag in LAGS.values()]
    shuffled = np.array([[autocorrelation(s, lag) for lag in LAGS.values()] for s in _shuffles(size, random)])
    return observed > np.quantile(shuffled.reshape(200, -1, len(LAGS)).mean(axis=1), 0.99, axis=0)


def _shuffles(size, random):
    return (random.permuted(path) for _ in range(200) for path in size)


@pytest.mark.parametrize("paths", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_absolute_returns_are_autocorrelated_over_a_day(paths):
    random = np.random.default_rng(1)
    size = np.abs(log_returns(generated(paths, days=90, step=300.0)))
    for market, name in enumerate(MARKETS):
        assert above_shuffled_band(size[:, :, market], random).all(), name


def test_the_bar_on_clustering_fails_without_slow_volatility_and_regimes():
    random = np.random.default_rng(2)
    flat = HOUSE.model_copy(update={"volatility": None, "regimes": Regimes(), "premium": None})
    size = np.abs(log_returns(generated(1, days=90, step=300.0, start="calm", of=flat)))
    passed = [above_shuffled_band(size[:, :, market], random) for market in range(len(MARKETS))]
    assert np.mean(passed) < 0.2


# ------------------------------------------------------------------ jumps stand out as often as stated

WINDOW = 240  # minutes of bipower variation behind each return


def exceedances(returns):
    """Count |r| > 5 local bipower sigma, of (paths, steps); the window ends before the return."""
    product = np.pi / 2 * np.abs(returns[:, 1:] * returns[:, :-1])  # j pairs returns j, j + 1
    total = np.cumsum(np.pad(product, ((0, 0), (1, 0))), axis=1)
    local = (total[:, WINDOW:-1] - total[:, : -WINDOW - 1]) / WINDOW
    return int((np.abs(returns[:, WINDOW + 1 :]) > 5 * np.sqrt(local)).sum()), local.size


def implied_exceedances(name, regime, minutes):
    """Return the expected count: jumps beyond 5 sigma, averaged over slow volatility, plus false alarms.

    False alarms: a Gaussian return beyond 5 sigma-hat, where sigma-hat misses by the sampling error of
    bipower variation (asymptotic variance 2.61 / window) and by the drift of slow volatility over the window.
    """
    market, state = HOUSE.markets[name], HOUSE.regimes.states[regime]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    level = np.exp(HOUSE.volatility.sd * nodes)  # slow volatility
    bar = 5 * market.volatility * state.volatility * math.sqrt(60 / (365 * DAY)) * level[:, None] / state.jump_size
    kou = HOUSE.jumps.common.size
    eps = np.exp(market.jump_dispersion * np.clip(nodes, -3, 3) - 0.5 * market.jump_dispersion**2)
    reach = market.jump_beta * eps[None, :]
    common = kou.p_down * np.exp(-bar / (reach * kou.mean_down))
    common += (1 - kou.p_down) * np.exp(-bar / (reach * kou.mean_up))
    own = 2 * norm.sf(bar[:, 0] / market.own_jumps.size.sd)
    per_year = HOUSE.jumps.common.intensity * (weights @ common @ weights) + market.own_jumps.intensity * (
        weights @ own
    )
    hours = WINDOW / 60
    drift = HOUSE.volatility.sd * math.sqrt(2 * (1 - 0.5 ** (hours / 2 * 3600 / HOUSE.volatility.half_life)))
    miss = math.sqrt(2.61 / WINDOW / 4 + drift**2)
    false = weights @ (2 * norm.sf(5 * np.exp(miss * nodes)))
    return minutes * (per_year * state.jump_intensity / (365 * 1440) + false)


@pytest.mark.parametrize("regime", ["calm", "panic"])
@pytest.mark.parametrize("blocks", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_exceedances_beyond_five_bipower_sigma_are_those_of_the_parameters(regime, blocks):
    count, minutes = np.zeros(len(MARKETS)), 0
    for block in range(blocks):
        returns = log_returns(generated(250, first=250 * block, start=regime, held=True))
        found = [exceedances(returns[:, :, market]) for market in range(len(MARKETS))]
        count += [number for number, _ in found]
        minutes += found[0][1]
    expected = np.array([implied_exceedances(name, regime, minutes) for name in MARKETS])
    assert (expected > 30).all()
    assert (np.abs(count - expected) <= 3 * np.sqrt(expected)).all(), (count, expected)


# ------------------------------------------------------------------ depth follows volatility


def slope_of_depth(block):
    """Return the slope of hourly ln depth on ln volatility and its standard error, clustered by path.

    Realised volatility of even minutes is the regressor, that of odd minutes its instrument: the two have
    independent measurement errors, so that the slope is not attenuated.
    """
    returns = log_returns(block)
    paths, steps, markets = returns.shape
    scale = np.array([HOUSE.markets[name].volatility for name in MARKETS])
    hourly = (returns / scale).reshape(paths, steps // 60, 30, 2, markets)
    x, z = (0.5 * np.log((hourly[:, :, :, half] ** 2).mean(axis=2)) for half in (0, 1))
    y = np.log(block.depth[:, :-1]).reshape(paths, steps // 60, 60, markets).mean(axis=2)
    y = y - np.log([HOUSE.markets[name].depth_usd / HOUSE.markets[name].price for name in MARKETS])
    x, y, z = (v.reshape(paths, -1) - v.mean() for v in (x, y, z))
    slope = (z * y).sum() / (z * x).sum()
    scores = (z * (y - slope * x)).sum(axis=1)
    return slope, math.sqrt((scores**2).sum()) / abs((z * x).sum())


@pytest.mark.parametrize("paths", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_log_depth_falls_with_log_volatility_by_phi(paths):
    # Jumps are switched off: they take depth on their own (tests/unit/test_paths_liquidity.py).
    quiet = HOUSE.model_copy(
        update={
            "jumps": Jumps(),
            "markets": {n: m.model_copy(update={"own_jumps": None}) for n, m in HOUSE.markets.items()},
        }
    )
    blocks = [generated(paths, first=paths * i, start=s, of=quiet) for i, s in enumerate(HOUSE.regimes.states)]
    joined = blocks[0]._replace(
        world=np.concatenate([block.world for block in blocks]), depth=np.concatenate([block.depth for block in blocks])
    )
    slope, error = slope_of_depth(joined)
    assert error < 0.05
    assert abs(slope + HOUSE.depth.phi) <= 2 * error, (slope, error)
