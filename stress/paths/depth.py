"""Depth of the venue's book: falls with volatility and with jumps, and recovers.

Equations    ln D = ln D0 + ln d(s) - phi ln(sigma(t) / sigma0) + n(t) - h(t),  D >= floor x D0,
             dn = -kappa n dt + eta dB (per market),  dh = -kappa h dt, h <- h + k |jump| at a jump.
             Exact: n at knots about 5 minutes apart (between them linear), h at every step. A jump counts
             from the end of its step. sigma(t) / sigma0 is the regime's multiple x the slow volatility of
             this path; the volatility axis scales sigma0 too and so does not move depth, except by k.
             In a replay sigma(t) is realised volatility (`paths.replay`) and h = 0.
Parameters   `phi`; `jump_sensitivity` k per log point of the market's own jump; `half_life` of n and h;
             `sd`, stationary standard deviation of n; `floor`, share of D0.
Axes         `depth` multiplies D, floor included.
Calibration  `fit_elasticity`: phi and D0 from samples of depth, where they are given. The other parameters are not fitted;
             configs/markets/house.yaml names their sources.
Cannot       empty one side only, react to this venue's own liquidations (that is impact), or vanish.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.elementary import exponential
from stress.kernels.jit import kernel
from stress.kernels.mean_reversion import fill_noise, interpolate, kept
from stress.kernels.rng import DEPTH
from stress.stages import Exact

NotNegative = Annotated[float, Field(ge=0)]


class Depth(BaseModel):
    """Parameters; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    phi: NotNegative
    jump_sensitivity: NotNegative
    half_life: Annotated[Exact, Field(gt=0)]
    sd: NotNegative
    floor: Annotated[float, Field(ge=0, lt=1)]


class DepthTerms(NamedTuple):
    """What the kernel reads."""

    base: np.ndarray  # (m,) D0 in base units, axis included
    multiple: np.ndarray  # (states,) ln d(s) - phi ln m(s)
    phi: float
    jump_sensitivity: float
    keep: float  # of h over a step
    keep_knot: float  # of n over a knot interval
    sd: float
    floor: float


def build(
    parameters: Depth | None,
    base: np.ndarray,
    regime_depth: np.ndarray,
    regime_volatility: np.ndarray,
    step: float,
    steps_per_knot: int,
) -> DepthTerms:
    """Return the terms; None keeps depth at D0 x d(s)."""
    if parameters is None:
        return DepthTerms(base, np.log(regime_depth), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return DepthTerms(
        base=base,
        multiple=np.log(regime_depth) - parameters.phi * np.log(regime_volatility / regime_volatility[0]),
        phi=parameters.phi,
        jump_sensitivity=parameters.jump_sensitivity,
        keep=kept(parameters.half_life, step),
        keep_knot=kept(parameters.half_life, step * steps_per_knot),
        sd=parameters.sd,
        floor=parameters.floor,
    )


@kernel
def walk(keys, path, terms, ids, starts, steps_per_knot, regime, slow, travelled, knots, noise, out):
    """Write depth in base units into `out` (S + 1, m); slow (hours,) is ln volatility.

    starts (hours + 1,): first point of each hour, then S + 1; knots and noise (S + 1,) are work space.
    """
    moves = terms.sd > 0.0 or terms.jump_sensitivity > 0.0  # within an hour
    for i in range(len(ids)):
        noise[:] = 0.0
        if terms.sd > 0.0:
            fill_noise(keys, ids[i], path, DEPTH, terms.keep_knot, terms.sd, False, knots)
            interpolate(knots, steps_per_knot, noise)
        if terms.jump_sensitivity > 0.0:
            hit = 0.0
            for t in range(1, len(out)):
                hit = terms.keep * hit + terms.jump_sensitivity * travelled[t - 1, i]
                noise[t] -= hit
        base, floor = terms.base[i], terms.floor
        for hour in range(len(starts) - 1):
            level = terms.multiple[regime[hour]] - terms.phi * slow[hour]
            here = noise[starts[hour] : starts[hour + 1]]
            if not moves:
                here[:] = base * max(exponential(level), floor)
                continue
            for t in range(len(here)):
                here[t] = base * max(exponential(level + here[t]), floor)
        for t in range(len(out)):
            out[t, i] = noise[t]


def fit_elasticity(log_depth: np.ndarray, log_volatility: np.ndarray, weight: np.ndarray) -> tuple[float, np.ndarray]:
    """Return phi and ln D0 of each market (m,), by least squares of ln D = ln D0_i - phi ln(sigma / sigma0).

    log_depth (n, m): over its regime's d(s), NaN where unknown; log_volatility (n,): expected given the whole sample, not
    the volatility of the hour itself, whose noise would pull phi to zero. weight (n,): how often each hour counts.
    """
    seen = np.isfinite(log_depth)
    w = seen * weight[:, None]
    y = np.where(seen, log_depth, 0.0)
    total = np.maximum(w.sum(axis=0), 1e-300)
    mean_y, mean_x = (w * y).sum(axis=0) / total, (w * log_volatility[:, None]).sum(axis=0) / total
    x = log_volatility[:, None] - mean_x
    phi = -float((w * x * (y - mean_y)).sum() / max((w * x * x).sum(), 1e-300))
    return phi, mean_y + phi * mean_x
