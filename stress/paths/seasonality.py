"""Seasonality: volatility by the hour of the day and the day of the week.

Equations    sigma_i(t) = sigma_i x m(s) x exp(v) x f(hour of the day) x g(weekday), in UTC; mean squares of f and of g are
             1, so that variance over a week is what it was without them.
Parameters   `hours` f, 24 factors from 00:00; `weekdays` g, 7 factors from Monday; `start`, the hour of the week (0 =
             Monday 00:00) at which every path starts, or None: each path starts at one of its own, drawn evenly.
Addresses    purpose SEASON, group 0, word 0: the hour at which a path starts.
Calibration  `fit_hours`; weekdays with regimes and slow volatility in `stress.calibration.states`, which last as long.
Cannot       move jumps, depth or premium by the clock (depth follows volatility without its season), know holidays, or
             differ between markets.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.kernels.jit import kernel
from stress.kernels.rng import COMMON, NO_LEVEL, SEASON, uniforms

DAY, WEEK = 24, 168  # hours
_TOLERANCE = 1e-3

Factor = Annotated[float, Field(gt=0)]


class Seasonality(BaseModel):
    """Parameters; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    hours: Annotated[tuple[Factor, ...], Field(min_length=DAY, max_length=DAY)]
    weekdays: Annotated[tuple[Factor, ...], Field(min_length=7, max_length=7)]
    start: Annotated[int, Field(ge=0, lt=WEEK)] | None = None

    @model_validator(mode="after")
    def _keeps_variance(self) -> Self:
        for name in ("hours", "weekdays"):
            spread = math.sqrt(float(np.mean(np.square(getattr(self, name)))))
            if abs(spread - 1) > _TOLERANCE:
                raise ValueError(f"{name} must have mean square 1; divide each by {spread:.6g}")
        return self


class SeasonTerms(NamedTuple):
    """What the kernel reads."""

    active: bool
    log_factor: np.ndarray  # (168,) ln f g from Monday 00:00
    start: int  # hour of the week, -1: drawn


def build(parameters: Seasonality | None) -> SeasonTerms:
    """Return the terms; None switches the layer off."""
    if parameters is None:
        return SeasonTerms(False, np.zeros(WEEK), 0)
    factor = np.outer(parameters.weekdays, parameters.hours).ravel()
    return SeasonTerms(True, np.log(factor), -1 if parameters.start is None else parameters.start)


@kernel
def walk(keys, path, terms, slow, out):
    """Write ln volatility with its season into `out` (hours,); slow (hours,): without."""
    first = terms.start
    if terms.active and first < 0:
        first = int(uniforms(keys, COMMON, 0, path, SEASON, NO_LEVEL)[0] * WEEK)
    for hour in range(len(out)):
        out[hour] = slow[hour]
        if terms.active:
            out[hour] += terms.log_factor[(first + hour) % WEEK]


def fit_hours(power: np.ndarray, hour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return f, (24,), from squared returns over their level without it, (n,), NaN where unknown.

    hour (n,): of the day; weight (n,): how often each hour counts.
    """
    known = np.isfinite(power)
    total = np.bincount(hour[known], (weight * power)[known], DAY)
    squares = total / np.bincount(hour[known], weight[known], DAY)
    return np.sqrt(squares / squares.mean())
