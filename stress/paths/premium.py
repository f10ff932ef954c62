"""Premium of the venue's (and of external) perpetuals over the world price, before own impact.

Equations    pi = m(t) + n(t) + j(t):  dm = -kappa (m - theta_s) dt moves to the regime's mean, so that the
             sign flips as calm turns into stress;  dn = -kappa n dt + eta dB per market;
             dj = -kappa_j j dt, j <- j + g x jump: perpetuals overshoot the index on a jump.
             Exact: m and j at every step, n at knots about 5 minutes apart (between them linear).
             External perpetuals have the same premium.
Parameters   `mean` theta of each regime, `half_life` of m and n, `sd` of n (stationary), all fractions of
             price; `jump_response` g and its `jump_half_life`. `start`: pi(0) where it is known, else m
             starts at its mean and n in its stationary law.
Calibration  configs/markets/house.yaml names its sources.
Cannot       react to this venue's own flow (that is impact), or part the venue from external perpetuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.jit import kernel
from stress.kernels.mean_reversion import fill_noise, interpolate, kept
from stress.kernels.rng import PREMIUM
from stress.stages import Exact, Seconds


class Premium(BaseModel):
    """Parameters; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    mean: dict[str, float]
    half_life: Annotated[Exact, Field(gt=0)]
    sd: Annotated[float, Field(ge=0)]
    jump_response: float = 0.0
    jump_half_life: Annotated[Exact, Field(gt=0)] = Seconds(900.0)
    start: float | None = None


class PremiumTerms(NamedTuple):
    """What the kernel reads."""

    active: bool
    mean: np.ndarray  # (states,)
    start: float  # nan: at the mean
    keep: float
    keep_knot: float
    sd: float
    jump_response: float
    keep_jump: float


def build(parameters: Premium | None, states: Mapping[str, object], step: float, steps_per_knot: int) -> PremiumTerms:
    """Return the terms; None is a premium of zero."""
    if parameters is None:
        return PremiumTerms(False, np.zeros(len(states)), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return PremiumTerms(
        active=True,
        mean=np.array([parameters.mean[state] for state in states]),
        start=np.nan if parameters.start is None else parameters.start,
        keep=kept(parameters.half_life, step),
        keep_knot=kept(parameters.half_life, step * steps_per_knot),
        sd=parameters.sd,
        jump_response=parameters.jump_response,
        keep_jump=kept(parameters.jump_half_life, step),
    )


@kernel
def walk(keys, path, terms, ids, starts, steps_per_knot, regime, jumps, knots, noise, out):
    """Write the premium into `out` (S + 1, m).

    starts (hours + 1,): first point of each hour, then S + 1; jumps (S, m) log points; knots, noise (S + 1,) are work space.
    """
    if not terms.active:
        out[:] = 0.0
        return
    at_mean = np.isnan(terms.start)
    level = terms.mean[regime[0]] if at_mean else terms.start
    out[0] = level
    for hour in range(len(starts) - 1):
        mean = terms.mean[regime[hour]]
        for t in range(starts[hour] + 1, min(starts[hour + 1], len(out) - 1) + 1):
            level = mean + terms.keep * (level - mean)
            out[t] = level
    for i in range(len(ids)):
        fill_noise(keys, ids[i], path, PREMIUM, terms.keep_knot, terms.sd, not at_mean, knots)
        interpolate(knots, steps_per_knot, noise)
        overshoot = 0.0
        for t in range(len(out)):
            if t > 0:
                overshoot = terms.keep_jump * overshoot + terms.jump_response * jumps[t - 1, i]
            out[t, i] += noise[t] + overshoot
