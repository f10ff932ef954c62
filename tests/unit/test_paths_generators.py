"""Generated returns against closed forms: moments, martingale, correlation, transitions."""

import math

import numpy as np
import pytest

from stress.errors import StudyError
from stress.paths import AS_CALIBRATED, MarketModel, PathAxes, compose, diffusion, jumps
from stress.scenarios import parse_scenario

DAY = 86400.0
YEAR = 365 * DAY


def model(markets, correlation=None, **layers):
    scale = {"price": 100.0, "depth_usd": 1e6, "open_interest_usd": 1e6}
    return MarketModel.model_validate(
        {
            "schema": 1,
            "name": "case",
            "markets": {name: scale | own for name, own in markets.items()},
            "correlation": correlation or {},
            **layers,
        }
    )


def paths(of, count, *, horizon=DAY, step=None, start="calm", axes=AS_CALIBRATED, seed=1, **scenario):
    entry = {"start": start, **scenario}
    source = compose(
        of,
        parse_scenario(entry, of.regimes.states),
        markets=tuple(of.markets),
        horizon=horizon,
        step=step or horizon,
        seed=seed,
        axes=axes,
    )
    return source.generate(0, count)


def close(sample, expected, *, errors=4):
    sample = np.asarray(sample, dtype=float)
    error = sample.std() / math.sqrt(len(sample))
    assert abs(sample.mean() - expected) <= errors * error, (sample.mean(), expected, error)


NORMAL = {"law": "normal", "mean": -0.03, "sd": 0.04}
KOU = {"law": "kou", "p_down": 0.6, "mean_down": 0.045, "mean_up": 0.03}


def kou_moment(k):
    return math.factorial(k) * (0.4 * 0.03**k + (-1) ** k * 0.6 * 0.045**k)


@pytest.mark.parametrize("steps", [1, 24])
def test_merton_cumulants(steps):
    sigma, rate, t = 0.5, 60.0, 1 / 365
    of = model(
        {"A": {"volatility": sigma, "own_jumps": {"intensity": rate, "size": NORMAL}}}, jumps={"compensated": False}
    )
    x = np.log(paths(of, 200_000 // steps, step=DAY / steps).world[:, -1, 0] / 100)
    mean = (-0.5 * sigma**2 - 0.03 * rate) * t
    close(x, mean)
    close((x - mean) ** 2, (sigma**2 + rate * (0.03**2 + 0.04**2)) * t)
    close((x - mean) ** 3, rate * t * (-(0.03**3) - 3 * 0.03 * 0.04**2))
    close((x - mean) ** 4, rate * t * (0.03**4 + 6 * 0.03**2 * 0.04**2 + 3 * 0.04**4) + 3 * x.var() ** 2, errors=5)


def test_kou_cumulants():
    sigma, rate, t = 0.5, 60.0, 1 / 365
    of = model({"A": {"volatility": sigma}}, jumps={"common": {"intensity": rate, "size": KOU}, "compensated": False})
    x = np.log(paths(of, 200_000).world[:, -1, 0] / 100)
    mean = (-0.5 * sigma**2 + rate * kou_moment(1)) * t
    close(x, mean)
    close((x - mean) ** 2, (sigma**2 + rate * kou_moment(2)) * t)
    close((x - mean) ** 3, rate * t * kou_moment(3))


@pytest.mark.parametrize("volatility", [1.0, 2.0])
@pytest.mark.parametrize("start", ["calm", "panic"])
def test_compensated_prices_are_martingales_in_every_regime(start, volatility):
    of = model(
        {
            "A": {"volatility": 0.5, "jump_dispersion": 0.7, "own_jumps": {"intensity": 100, "size": NORMAL}},
            "B": {"volatility": 0.9, "jump_beta": 1.8, "jump_dispersion": 0.4},
        },
        {"B": {"A": 0.7}},
        regimes={
            "states": {"calm": {}, "panic": {"volatility": 3, "jump_intensity": 5, "jump_size": 1.5}},
            "hourly_transition": [[0.9, 0.1], [0.2, 0.8]],
        },
        volatility={"half_life": "6h", "sd": 0.4},
        jumps={"common": {"intensity": 100, "size": KOU}},
    )
    block = paths(of, 20_000, start=start, step=3600.0, axes=PathAxes(volatility=volatility))
    for market in range(2):
        close(block.world[:, -1, market] / 100, 1.0)


def test_drift_is_on_simple_returns():
    of = model({"A": {"volatility": 0.4, "drift": 20.0}})
    close(paths(of, 20_000).world[:, -1, 0] / 100, math.exp(20 / 365))


def test_without_compensator_jumps_move_the_mean():
    own = {"intensity": 200.0, "size": NORMAL}
    of = model({"A": {"volatility": 0.3, "own_jumps": own}}, jumps={"compensated": False})
    leap = math.exp(-0.03 + 0.5 * 0.04**2) - 1
    close(paths(of, 50_000).world[:, -1, 0] / 100, math.exp(200 / 365 * leap))


def test_total_correlation_of_jump_diffusions():
    def own(variance):
        return {"intensity": 50.0, "size": {"law": "normal", "sd": math.sqrt(variance / 50)}}

    of = model(
        {
            "A": {"volatility": 0.45, "own_jumps": own(0.01)},
            "B": {"volatility": 0.8, "jump_beta": 1.6, "own_jumps": own(0.03)},
        },
        {"B": {"A": 0.74}},
        jumps={"common": {"intensity": 60, "size": {"law": "normal", "sd": math.sqrt(0.0034)}}},
    )
    x = np.log(paths(of, 200_000).world[:, -1] / 100)
    parts = [np.corrcoef(x[i::50].T)[0, 1] for i in range(50)]
    close(parts, 0.8412379335173571)


@pytest.mark.parametrize(("axis", "expected"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (-0.5, 0.25), (-1.0, 0.0)])
def test_correlation_axis_blends_towards_one_and_towards_zero(axis, expected):
    of = model({"A": {"volatility": 0.5}, "B": {"volatility": 0.5}}, {"B": {"A": 0.5}})
    block = paths(of, 20_000, axes=PathAxes(correlation=axis))
    x = np.log(block.world[:, -1] / 100)
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(expected, abs=0.03)
    same = paths(of, 20_000)
    assert (block.world[:, :, 0] == same.world[:, :, 0]).all()  # the first market reads its own shock only


def test_regime_correlation_weight_blends_the_matrix():
    states = {"calm": {}, "panic": {"correlation": 0.8}}
    chain = {"states": states, "hourly_transition": [[1, 0], [0, 1]]}
    of = model({"A": {"volatility": 0.5}, "B": {"volatility": 0.5}}, {"B": {"A": 0.5}}, regimes=chain)
    x = np.diff(np.log(paths(of, 2000, start="panic", step=3600.0).world), axis=1).reshape(-1, 2)
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(0.9, abs=0.01)


def test_volatility_axis_scales_diffusion_and_jumps_of_the_same_shocks():
    own = {"intensity": 300.0, "size": {"law": "normal", "sd": 0.05}}
    of = model({"A": {"volatility": 0.5, "own_jumps": own}}, jumps={"compensated": False})
    one, two = (paths(of, 2000, axes=PathAxes(volatility=k)) for k in (1.0, 2.0))
    x, y = (np.log(block.world[:, -1, 0] / 100) for block in (one, two))
    variance = 0.25 / 365
    np.testing.assert_allclose(y + 2 * variance, 2 * (x + 0.5 * variance), rtol=1e-9, atol=1e-12)


def test_jumps_of_a_partial_day_have_the_intensity_of_the_model():
    own = {"intensity": 2000.0, "size": {"law": "normal", "mean": 0.1, "sd": 0.0}}
    of = model({"A": {"volatility": 0.0, "own_jumps": own}}, jumps={"compensated": False})
    for horizon in (3600.0, 6 * 3600.0, 36 * 3600.0):
        count = np.log(paths(of, 4000, horizon=horizon, step=600.0).world[:, -1, 0] / 100) / 0.1
        close(np.round(count), 2000 * horizon / YEAR)
        close((np.round(count) - 2000 * horizon / YEAR) ** 2, 2000 * horizon / YEAR)


def test_regimes_thin_the_same_jumps():
    states = {"calm": {"jump_intensity": 1}, "panic": {"jump_intensity": 10}}
    chain = {"states": states, "hourly_transition": [[1, 0], [0, 1]]}
    own = {"intensity": 100.0, "size": {"law": "normal", "mean": 0.1, "sd": 0.0}}
    of = model({"A": {"volatility": 0.0, "own_jumps": own}}, regimes=chain, jumps={"compensated": False})
    counts = {}
    for start in states:
        world = paths(of, 4000, start=start, step=600.0).world[:, :, 0]
        counts[start] = np.round(np.diff(np.log(world), axis=1) / 0.1)
        close(counts[start].sum(axis=1), 100 / 365 * states[start]["jump_intensity"])
    assert (counts["calm"] <= counts["panic"]).all()


def test_jump_counts_that_the_cap_would_change_are_refused():
    jumps.count_table(10.0, 40)
    with pytest.raises(ValueError, match="most_per_day above 32"):
        jumps.count_table(20.0, 32)


def test_upward_jumps_without_a_mean_are_refused():
    size = {"law": "kou", "p_down": 0.5, "mean_down": 0.05, "mean_up": 0.2}
    of = model({"A": {"volatility": 0.5}}, jumps={"common": {"intensity": 10, "size": size}})
    paths(of, 1)
    with pytest.raises(StudyError, match="infinite"):
        paths(of, 1, axes=PathAxes(volatility=6.0))


def test_regime_chain_has_the_published_law():
    matrix = [[0.999, 0.0009, 0.0001], [0.02, 0.975, 0.005], [0.01, 0.06, 0.93]]
    chain = {"states": {name: {} for name in ("calm", "stress", "panic")}, "hourly_transition": matrix}
    of = model({"A": {"volatility": 0.5}}, regimes=chain)
    expected = [0.9501965923984272, 0.04521625163827012, 0.004587155963302747]
    np.testing.assert_allclose(of.regimes.stationary, expected, rtol=1e-10)
    walks = paths(of, 3000, start="stationary", horizon=40 * 3600.0, step=3600.0).regime
    assert walks.shape == (3000, 41)
    for state, share in enumerate(expected):
        close((walks == state).mean(axis=1), share)
    moves = np.zeros((3, 3))
    np.add.at(moves, (walks[:, :-1].ravel(), walks[:, 1:].ravel()), 1)
    for state in range(3):
        visits = moves[state].sum()
        error = np.sqrt(np.array(matrix[state]) * (1 - np.array(matrix[state])) / visits)
        assert (np.abs(moves[state] / visits - matrix[state]) <= 4 * error).all()


def test_a_start_is_a_start_and_held_pins_it():
    chain = {"states": {"calm": {}, "panic": {}}, "hourly_transition": [[0.5, 0.5], [0.5, 0.5]]}
    of = model({"A": {"volatility": 0.5}}, regimes=chain)
    free = paths(of, 200, start="panic", step=600.0).regime
    assert (free[:, :6] == 1).all()  # the first hour
    assert 0.3 < (free[:, -1] == 0).mean() < 0.7
    assert (paths(of, 200, start="panic", held=True, step=600.0).regime == 1).all()


def test_slow_volatility_has_its_stationary_law_and_half_life():
    of = model({"A": {"volatility": 0.5}}, volatility={"half_life": "12h", "sd": 0.4}, premium=None)
    world = paths(of, 4000, horizon=13 * 3600.0, step=60.0).world[:, :, 0]
    squared = (np.diff(np.log(world), axis=1) ** 2).reshape(4000, 13, 60).sum(axis=2)
    level = squared / (0.25 / 365 / 24)
    close(level[:, 0], math.exp(2 * 0.4**2))
    # E[exp(2 v_0 + 2 v_12)] = exp(4 sd^2 (1 + 1/2)) after one half-life.
    close(level[:, 0] * level[:, 12], math.exp(4 * 0.4**2 * 1.5))


def test_cholesky_rows_do_not_depend_on_later_markets():
    random = np.random.default_rng(3)
    factors = random.standard_normal((9, 5))
    matrix = np.corrcoef(factors)  # rank 4: singular from row 5 on
    whole = diffusion.cholesky(matrix)
    np.testing.assert_allclose(whole @ whole.T, matrix, atol=1e-7)
    for size in range(1, 9):
        assert (diffusion.cholesky(matrix[:size, :size]) == whole[:size, :size]).all()


@pytest.mark.parametrize(
    ("correlation", "message"),
    [
        ({}, "pair B, A once"),
        ({"B": {"A": 0.1}, "A": {"B": 0.1}}, "2 times"),
        ({"B": {"A": 1.1}}, r"\[-1, 1\]"),
        ({"B": {"A": 0.1, "Z": 0.1}}, "names Z"),
    ],
)
def test_a_wrong_correlation_is_refused(correlation, message):
    with pytest.raises(ValueError, match=message):
        model({"A": {"volatility": 0.5}, "B": {"volatility": 0.5}}, correlation)


def test_a_correlation_that_is_none_is_refused():
    pairs = {"B": {"A": 0.9}, "C": {"A": 0.9, "B": -0.9}}
    with pytest.raises(ValueError, match="positive semi-definite"):
        model({name: {"volatility": 0.5} for name in "ABC"}, pairs)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"step": 7.0}, "horizon"),
        ({"step": 7200.0}, "step"),
        ({"axes": PathAxes(correlation=1.5)}, "axes.correlation"),
        ({"axes": PathAxes(volatility=0.0)}, "axes.volatility"),
        ({"axes": PathAxes(depth=-1.0)}, "axes.depth"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_composed_is_refused_by_key(change, key):
    of = model({"A": {"volatility": 0.5}}, volatility={"half_life": "12h", "sd": 0.4})
    with pytest.raises(StudyError) as refused:
        paths(of, 1, **change)
    assert refused.value.key == key


def test_an_unknown_market_is_refused():
    of = model({"A": {"volatility": 0.5}})
    with pytest.raises(StudyError, match="not a market"):
        compose(of, parse_scenario("calm", ["calm"]), markets=("B",), horizon=DAY, step=DAY, seed=1)
