"""Depth and premium: closed forms of the fall, the recovery and the transition."""

import math

import numpy as np
import pytest

from stress.paths import AS_CALIBRATED, MarketModel, PathAxes, compose
from stress.scenarios import parse_scenario

SCALE = {"price": 100.0, "depth_usd": 1e6, "open_interest_usd": 1e6}
CALM_AND_PANIC = {
    "states": {"calm": {}, "panic": {"volatility": 4, "depth": 0.5}},
    "hourly_transition": [[1, 0], [0, 1]],
}


def paths(layers, count, *, start="calm", horizon=86400.0, step=600.0, axes=AS_CALIBRATED, **market):
    model = MarketModel.model_validate(
        {"schema": 1, "name": "case", "markets": {"A": SCALE | {"volatility": 0.0} | market}, **layers}
    )
    scenario = parse_scenario(start, model.regimes.states)
    source = compose(model, scenario, markets=("A",), horizon=horizon, step=step, seed=3, axes=axes)
    return source.generate(0, count)


def depth(**change):
    return {"phi": 0.0, "jump_sensitivity": 0.0, "half_life": "1h", "sd": 0.0, "floor": 0.0} | change


def test_depth_without_its_layer_is_constant_in_base_units():
    block = paths({}, 2)
    assert (block.depth == 1e4).all()


def test_depth_follows_the_regime_and_its_volatility():
    layers = {"regimes": CALM_AND_PANIC, "depth": depth(phi=1.1)}
    assert (paths(layers, 1).depth == 1e4).all()
    np.testing.assert_allclose(paths(layers, 1, start="panic").depth, 1e4 * 0.5 * 4**-1.1, rtol=1e-14)


def test_depth_axis_scales_depth_and_floor():
    layers = {"regimes": CALM_AND_PANIC, "depth": depth(phi=5.0, floor=0.02)}
    block = paths(layers, 1, start="panic", axes=PathAxes(depth=0.3))
    np.testing.assert_allclose(block.depth, 0.3 * 0.02 * 1e4, rtol=1e-14)


def test_a_jump_takes_depth_and_half_of_the_hit_is_gone_after_a_half_life():
    own = {"intensity": 30.0, "size": {"law": "normal", "mean": -0.05, "sd": 0.0}}
    layers = {"depth": depth(jump_sensitivity=32.0), "jumps": {"compensated": False}}
    block = paths(layers, 300, own_jumps=own)
    fall = -np.diff(np.log(block.world[:, :, 0]), axis=1)
    single = [(p, t) for p, t in np.argwhere(fall > 0.04) if (fall[p] > 0.04).sum() == 1 and t < 130]
    assert len(single) > 5
    for p, t in single:
        line = block.depth[p, :, 0] / 1e4
        assert (line[: t + 1] == 1).all()
        assert line[t + 1] == pytest.approx(math.exp(-1.6), rel=1e-12)  # -5 % cuts 80 %
        assert line[t + 7] == pytest.approx(math.exp(-0.8), rel=1e-12)  # six steps of 10 minutes


def test_depth_noise_has_its_stationary_law_and_half_life():
    block = paths({"depth": depth(sd=0.25)}, 20_000, horizon=3600.0, step=300.0)
    x = np.log(block.depth[:, :, 0] / 1e4)
    assert x.std(axis=0) == pytest.approx(0.25, rel=0.02)
    assert np.corrcoef(x[:, 0], x[:, -1])[0, 1] == pytest.approx(0.5, abs=0.03)


def test_slow_volatility_moves_depth_by_phi():
    layers = {"volatility": {"half_life": "12h", "sd": 0.3}, "depth": depth(phi=1.2)}
    block = paths(layers, 20_000, horizon=3600.0, step=3600.0)
    assert np.log(block.depth[:, 0, 0] / 1e4).std() == pytest.approx(0.36, rel=0.02)


def premium(**change):
    return {"mean": {"calm": -0.2}, "half_life": "4h", "sd": 0.0} | change


def test_premium_transition_is_the_ornstein_uhlenbeck_law():
    kappa, eta, dt = 6.0, 1.2, 1 / 24
    half_life = f"{math.log(2) / kappa * 86400:.12f}s"
    layers = {"premium": premium(half_life=half_life, sd=eta / math.sqrt(2 * kappa), start=0.3)}
    x = paths(layers, 100_000, horizon=3600.0, step=3600.0).premium[:, -1, 0]
    mean = -0.2 + 0.5 * math.exp(-kappa * dt)
    variance = eta**2 / (2 * kappa) * (1 - math.exp(-2 * kappa * dt))
    assert x.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / len(x)))
    assert x.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / len(x)))


def test_premium_flips_with_the_regime():
    chain = {"states": {"calm": {}, "panic": {}}, "hourly_transition": [[0, 1], [0, 1]]}
    layers = {"regimes": chain, "premium": premium(mean={"calm": 0.001, "panic": -0.003}, half_life="1h")}
    line = paths(layers, 1, step=3600.0).premium[0, :, 0]
    assert line[0] == 0.001
    assert line[1] == 0.001  # calm until the end of the first hour
    assert line[2] == pytest.approx(-0.001)
    assert line[-1] == pytest.approx(-0.003, rel=1e-5)


def test_premium_overshoots_on_a_jump_and_external_perpetuals_with_it():
    own = {"intensity": 300.0, "size": {"law": "normal", "mean": -0.1, "sd": 0.0}}
    layers = {
        "premium": premium(mean={"calm": 0.0}, jump_response=0.05, jump_half_life="15m"),
        "jumps": {"compensated": False},
    }
    block = paths(layers, 50, step=900.0, own_jumps=own)
    expected = np.zeros((50, 97))
    jump = np.diff(np.log(block.world[:, :, 0]), axis=1)
    for t in range(96):
        expected[:, t + 1] = 0.5 * expected[:, t] + 0.05 * jump[:, t]
    np.testing.assert_allclose(block.premium[:, :, 0], expected, atol=1e-12)
    assert (block.external_premium == block.premium).all()


def test_premium_must_name_every_regime():
    with pytest.raises(ValueError, match=r"premium.mean must name every regime"):
        paths({"regimes": CALM_AND_PANIC, "premium": premium()}, 1)
