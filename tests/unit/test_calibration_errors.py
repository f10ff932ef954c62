"""Errors of fitted parameters: the larger of two, intervals on a parameter's own scale, likelihoods against their sampling."""

import numpy as np
import pytest

from stress.calibration.errors import holds, interval, scale, standard_errors
from stress.paths.jumps import fitting
from stress.paths.regimes import fit_correlation_weights

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(
    ("key", "value", "error", "low", "high"),
    [
        ("markets.BTC.own_jumps.size.sd", 0.02, 0.005, 0.02 * np.exp(-0.5), 0.02 * np.exp(0.5)),
        ("occupancy.panic", 0.2, 0.032, 0.2 / (0.2 + 0.8 * np.exp(0.4)), 0.2 / (0.2 + 0.8 * np.exp(-0.4))),
        ("correlation.ETH.BTC", 0.8, 0.036, np.tanh(np.arctanh(0.8) - 0.2), np.tanh(np.arctanh(0.8) + 0.2)),
        ("regimes.states.panic.correlation", 0.6, 0.04, 1 - 0.4 * np.exp(0.2), 1 - 0.4 * np.exp(-0.2)),
        ("depth.phi", 1.1, 0.1, 0.9, 1.3),
    ],
)
def test_two_errors_are_an_interval_on_the_scale_of_the_parameter(key, value, error, low, high):
    assert interval(key, value, error) == pytest.approx((low, high))
    assert holds(key, value, error, 0.999 * high)
    assert not holds(key, value, error, 1.001 * high)


def test_a_value_at_its_end_has_its_own_unit():
    assert interval("markets.BTC.wick_up.joins", 1.0, 0.1) == pytest.approx((0.8, 1.2))
    assert interval("markets.BTC.jump_dispersion", 0.0, 0.1) == pytest.approx((-0.2, 0.2))


@pytest.mark.parametrize(
    "key", ["jumps.common.intensity", "occupancy.calm", "correlation.A.B", "regimes.states.stress.correlation"]
)
def test_a_scale_has_its_slope_and_its_way_back(key):
    on = scale(key, 0.3)
    assert on.slope(0.3) == pytest.approx((on.of(0.3 + 1e-6) - on.of(0.3 - 1e-6)) / 2e-6, rel=1e-6)
    assert on.back(on.of(0.3)) == pytest.approx(0.3)


def test_the_larger_error_counts_and_what_no_replicate_moves_has_none():
    fitted, drawn = {"a": 2.0, "b": 2.0, "c": 2.0}, {"a": [1.0, 3.0], "b": [1.99, 2.01], "c": [2.0, 2.0]}
    errors = standard_errors(fitted, drawn, {"a": 0.1, "b": 0.1, "c": 0.1})
    assert errors == pytest.approx({"a": np.sqrt(2), "b": 0.2})
    assert standard_errors(fitted, drawn, {}, {"a": 1.5}) == pytest.approx(
        {"a": 1.5 * np.sqrt(2), "b": 0.01 * np.sqrt(2)}
    )


def test_errors_of_a_likelihood_are_those_of_its_sampling():
    draws = np.random.default_rng(0)
    n, threshold, sd = 40, np.full(40, 0.02), 0.02
    exposure, found = fitting.Exposure(np.array([0.02]), np.array([5.0])), []
    for _ in range(200):
        size = np.abs(draws.normal(0, np.hypot(sd, 0.02 / fitting.THRESHOLD), 4000))
        found.append(fitting.fit_normal(size[size > 0.02][:n], threshold, np.ones(n), exposure, 1.0))
    spread = np.std([np.log(one.size) for one in found])
    assert np.mean([one.size_error for one in found]) == pytest.approx(spread, rel=0.2)


def loading(draws, hours, dispersion):
    """Common jumps of an anchor of 5 to 20 deviations, a market that takes 1.4 of them, and both diffusions."""
    level = np.full((hours, 2), 0.005)
    noise = draws.standard_normal((hours, 2)) @ np.linalg.cholesky([[1, 0.7], [0.7, 1]]).T * level
    jump = draws.uniform(5, 20, hours) * 0.005 * draws.choice([-1, 1], hours)
    eps = np.exp(dispersion * draws.standard_normal(hours) - 0.5 * dispersion**2)
    returns = np.stack([jump + noise[:, 0], 1.4 * eps * jump + noise[:, 1]], axis=1)
    flags = np.ones((hours, 2), bool)
    seen = fitting.Seen(flags, flags[:, 0], flags, ~flags, ~flags)
    found = fitting.fit_beta(returns, level, seen, np.array([[1, 0.7], [0.7, 1]]), np.ones(hours))
    return found.beta[1], found.dispersion[1], found.errors[1]


def test_beta_and_dispersion_are_recovered_though_noise_turns_some_signs():
    beta, dispersion, errors = loading(np.random.default_rng(1), 4000, 0.7)
    assert beta == pytest.approx(1.4, abs=4 * errors[0] * 1.4)
    assert dispersion == pytest.approx(0.7, abs=4 * errors[1] * 0.7)
    assert errors.max() < 0.03


@pytest.mark.parametrize("degrees", [None, 5])
def test_weights_of_regimes_are_recovered_from_normal_and_from_heavy_hours(degrees):
    draws, hours = np.random.default_rng(0), 60_000
    state = draws.choice(3, hours, p=[0.8, 0.15, 0.05])
    rho = 0.6 + 0.4 * np.array([0, 0.4, 0.8])[state]
    z = draws.standard_normal((hours, 2))
    tail = 1.0 if degrees is None else np.sqrt((degrees - 2) / draws.chisquare(degrees, hours))
    size = np.array([1.0, 2.0, 4.0])[state] * tail
    first, second = size * z[:, 0], size * (rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1])
    found = fit_correlation_weights(
        first[:, None], second[:, None], np.eye(3)[state], np.tile([1.0, 4.0, 16.0], (hours, 1)), np.array([0.6]),
        np.ones(hours),
    )  # fmt: skip
    assert found == pytest.approx([0, 0.4, 0.8], abs=0.03)
