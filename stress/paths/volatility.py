"""Slow volatility inside the regimes, so that volatility clusters over hours and days.

Equations    sigma_i(t) = sigma_i x m(s) x exp(v),  dv = -kappa v dt + eta dB, one v for all markets,
             sampled exactly at full hours and held within the hour. v = 0 is the median, hence
             E[sigma^2] = sigma_i^2 m^2 exp(2 sd^2).
Parameters   `half_life` of v; `sd`, its stationary standard deviation (log points).
Start        v(0) from its stationary law, or 0 with `from_median`.
Calibration  `fit`: what daily realised variance keeps of yesterday's once the regimes are divided out.
Cannot       move markets' volatilities apart, nor react to returns (no leverage effect: fits give ~0).
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.jit import kernel
from stress.kernels.mean_reversion import fill_noise, kept
from stress.kernels.rng import COMMON, VOLATILITY
from stress.stages import Exact, Seconds


class SlowVolatility(BaseModel):
    """Parameters of v; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    half_life: Annotated[Exact, Field(gt=0)]
    sd: Annotated[float, Field(ge=0)]
    from_median: bool = False


class VolatilityTerms(NamedTuple):
    """What the kernel reads."""

    keep: float
    sd: float
    from_median: bool


def build(parameters: SlowVolatility | None, interval: float) -> VolatilityTerms:
    """Return the terms for a state that moves every `interval` seconds; None switches the layer off."""
    if parameters is None:
        return VolatilityTerms(0.0, 0.0, True)
    return VolatilityTerms(kept(parameters.half_life, interval), parameters.sd, parameters.from_median)


@kernel
def walk(keys, path, terms, out):
    """Write v of every hour into `out` (hours,)."""
    if terms.sd == 0.0:
        out[:] = 0.0
    else:
        fill_noise(keys, COMMON, path, VOLATILITY, terms.keep, terms.sd, terms.from_median, out)


def fit(levels: np.ndarray, weight: np.ndarray | None = None) -> SlowVolatility | None:
    """Fit to the log of daily realised variance over its regime's, (days,), averaged over markets.

    ln RV = 2 v + noise of the day, and noise has no memory, so autocovariances at 1 to 5 days hold v alone:
    Cov(k) = 4 sd^2 exp(-kappa k days). Least squares of ln Cov(k) on k. weight (days,): how often each day
    counts. None where what is left does not cluster, or does not fade.
    """
    weight = np.ones(len(levels)) if weight is None else weight
    centred = levels - np.nansum(levels * weight) / weight[~np.isnan(levels)].sum()
    lags = np.arange(1, 6)
    covariance = np.empty(len(lags))
    for k in lags:
        pairs = centred[k:] * centred[:-k]
        covariance[k - 1] = np.nansum(pairs * weight[k:]) / weight[k:][~np.isnan(pairs)].sum()
    if (covariance <= 0).any():
        return None
    # Weights by the covariance itself: the log of a small one is mostly noise.
    slope, intercept = np.polyfit(lags, np.log(covariance), 1, w=covariance)
    if slope >= 0:
        return None
    half_life = math.log(2) / -slope * 86400.0
    return SlowVolatility(half_life=Seconds(round(half_life)), sd=0.5 * math.exp(0.5 * intercept))
