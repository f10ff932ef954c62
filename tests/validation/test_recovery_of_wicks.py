"""Rate, tail and common share of simulated wicks recovered within 2 standard errors, 100 repetitions (12 where not slow).

Standard errors are those of the calibration: a stationary block bootstrap of the repetition's own hours.
"""

from functools import cache

import numpy as np
import pytest

from stress.calibration.fit import blocks
from stress.paths import Market, MarketModel, Wicks, compose, wicks
from stress.paths.wicks import WickSide
from stress.scenarios import STATIONARY, RegimeScenario

HOURS = 9000
COMMON = 120.0
OWN = {"A": 180.0, "B": 130.0, "C": 80.0}
TAIL = 3.3
MODEL = MarketModel(
    schema=1,
    name="wicks",
    markets={
        name: Market(
            price=100.0, depth_usd=1e6, open_interest_usd=1e6, volatility=0.5,
            wick_down=WickSide(rate=rate, joins=rate / OWN["A"], tail=TAIL),
        )
        for name, rate in OWN.items()
    },
    correlation={"B": {"A": 0.7}, "C": {"A": 0.7, "B": 0.7}},
    wicks=Wicks(common_down=COMMON),
)  # fmt: skip


@cache
def beyond(seed):
    """How far simulated lows reach beyond the body, (n, m), from steps of 20 s."""
    source = compose(
        MODEL,
        RegimeScenario(name="s", start=STATIONARY),
        markets=tuple(OWN),
        horizon=HOURS * 3600.0,
        step=20.0,
        seed=seed,
    )
    x = np.log(source.generate(0, 1).world[0])
    start = x[:-1:180]
    inside = x[1:].reshape(HOURS, 180, -1) - start[:, None]
    low = np.minimum(inside.min(axis=1), 0.0)
    return wicks.excess(inside[:, -1], low, low, np.full(low.shape, 0.5 / np.sqrt(8760)))[:, :, 0]


ESTIMATES = {
    "rate": (lambda x, w: wicks.fit_sizes(x[:, 0], w, 180.0).rate, OWN["A"] + COMMON),
    "tail": (lambda x, w: wicks.fit_sizes(x[:, 0], w, 180.0).tail, TAIL),
    "common": (wicks.fit_common, COMMON / (OWN["A"] + COMMON)),
}


def share_recovered(name, repetitions):
    estimate, truth = ESTIMATES[name]
    hit = 0
    for seed in range(repetitions):
        x = beyond(seed)
        error = np.std([estimate(x, w) for w in blocks(HOURS, 48.0, 60, seed)], ddof=1)
        hit += abs(estimate(x, np.ones(HOURS)) - truth) <= 2 * error
    return hit / repetitions


@pytest.mark.parametrize("name", ESTIMATES)
def test_wicks_are_recovered(name):
    assert share_recovered(name, 12) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATES)
def test_wicks_are_recovered_in_ninety_of_a_hundred(name):
    assert share_recovered(name, 100) >= 0.9
