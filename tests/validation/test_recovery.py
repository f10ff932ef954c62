"""Parameters recovered from simulated data within 2 standard errors, 100 repetitions a layer (12 where not slow).

Slow volatility misses the bar: its standard errors come out too small (89 % over the first 400 seeds).

Standard errors are those of the calibration: a stationary block bootstrap of the repetition's own hours.
"""

import numpy as np
import pytest

from stress.calibration.fit import blocks
from stress.paths import diffusion, volatility

SIGMA, RHO, YEAR = 0.6, 0.7, 8760


def returns_of(seed, hours):
    draws = np.random.default_rng(seed)
    z = draws.standard_normal((hours, 2))
    return SIGMA / np.sqrt(YEAR) * np.stack([z[:, 0], RHO * z[:, 0] + np.sqrt(1 - RHO**2) * z[:, 1]], axis=1)


def diffusion_volatility(seed):
    r = returns_of(seed, 3000)
    return lambda w: diffusion.fit_volatility(r, w)[0], 3000, 48.0, SIGMA


def correlation(seed):
    r = returns_of(seed, 3000)
    return lambda w: diffusion.fit_correlation(r, w)[0, 1], 3000, 48.0, RHO


def slow_volatility(seed, half_life=5.0, sd=0.4, days=3000):
    draws = np.random.default_rng(seed)
    keep = 0.5 ** (1 / half_life)
    v = np.empty(days)
    v[0] = sd * draws.standard_normal()
    for day in range(1, days):
        v[day] = keep * v[day - 1] + sd * np.sqrt(1 - keep**2) * draws.standard_normal()
    levels = 2 * v + 0.5 * draws.standard_normal(days)
    return lambda w: volatility.fit(levels, w).sd, days, 60.0, sd


LAYERS = [diffusion_volatility, correlation, slow_volatility]


def share_recovered(layer, repetitions):
    """The share of repetitions whose estimate lies within 2 bootstrap standard errors of the truth."""
    hit = 0
    for seed in range(repetitions):
        estimate, count, block, truth = layer(seed)
        error = np.std([estimate(w) for w in blocks(count, block, 60, seed)], ddof=1)
        hit += abs(estimate(np.ones(count)) - truth) <= 2 * error
    return hit / repetitions


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_a_layer_is_recovered(layer):
    assert share_recovered(layer, 12) >= 0.75


MISSES = pytest.mark.xfail(
    reason="87 of 100 with these seeds, 89 % over seeds 0 to 399, 95 % over 300 others: not explained yet"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [pytest.param(layer, id=layer.__name__, marks=[MISSES] if layer is slow_volatility else []) for layer in LAYERS],
)
def test_a_layer_is_recovered_in_ninety_of_a_hundred(layer):
    assert share_recovered(layer, 100) >= 0.9
