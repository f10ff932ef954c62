"""Wicks: the price leaves its path for minutes and comes back, as when an order book is empty.

Equations    ln W_i(t) = x_i(t) + sum_k w_ik 2^(-(t - t_k) / half_life) over wicks t_k <= t, x the path without them;
             |w_ik| = X sigma_i(t_k) sqrt(1 h), X Pareto: P(X > v) = (v / smallest)^-tail. Sizes are multiples of the
             standard deviation of the hour's own diffusion: in hourly bars of 2018 to 2026 the rate of such multiples
             hardly depends on the regime. |w| is held below ln 10, beyond which a print is a bad one.
             A common train hits every market that joins, with one time, one side and one uniform for X; each market
             has a train of its own. An hour holds at most one wick of each train.
             The step that holds t_k ends at the extreme itself: a wick is visited whatever the step.
Parameters   `smallest`, `half_life`, rates per year of the common train (`common_down`, `common_up`); per market and side
             (`wick_down`, `wick_up`) the `rate` per year of its own train, the chance `joins` of following a common one,
             `tail`. Rates of both trains are of wicks above `smallest`.
Addresses    group = hour: one uniform each for presence and side, time, size, joining; own train: presence and side, time,
             size.
Calibration  `fit_sizes`, `fit_common`: how far an hour's low lies below its open and close (high: above), in local
             deviations; a motion without wicks is further than two of them in one hour of 15,000. Maximum likelihood of
             the tail, allowing for where in the hour the wick began and for what its close still holds of it. Highs and
             lows do not show how fast a wick is undone: `half_life` is kept from the template; its default is about the
             median time from low to half of the way back over 36 tapes of 2025-10-10 (190 s, quartiles 95 and 400 s).
Cannot       stay (what is not undone is a jump), be of one venue only (that is premium and dispersion; bars of one
             exchange hold such wicks too), cluster in time beyond the common train. No compensator: at any one time
             the mean price lies lower by rate x duration x size, about 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import minimize_scalar

from stress.kernels.jit import kernel
from stress.kernels.mean_reversion import kept
from stress.kernels.rng import COMMON, NO_LEVEL, WICK, uniforms
from stress.stages import Exact

HOUR = 3600.0
YEAR_HOURS = 8760.0
MOST = 6000.0  # a year, of one train and side: below one in two hours, since both sides share the hour's uniform
SMALLEST = 2.0  # hourly deviations
FEWEST = 20  # wicks of one side below which a tail is not fitted
_LARGEST = math.log(10.0)
_NEGLIGIBLE = 1e-6  # log points
_TAILS = (1.2, 12.0)
_EDGES = np.append(np.geomspace(SMALLEST, 100.0, 32), np.inf)


class WickSide(BaseModel):
    """Wicks of one market to one side; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    rate: Annotated[float, Field(ge=0, le=MOST)]
    joins: Annotated[float, Field(ge=0, le=1)] = 0.0
    tail: Annotated[float, Field(gt=1)]


class WicksOfMarket(BaseModel):
    """A market's own part of this layer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    wick_down: WickSide | None = None
    wick_up: WickSide | None = None


class Wicks(BaseModel):
    """The part of the layer that all markets share."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    half_life: Annotated[Exact, Field(gt=0)] = Field(default="180s", validate_default=True)
    smallest: Annotated[float, Field(gt=0)] = SMALLEST
    common_down: Annotated[float, Field(ge=0, le=MOST)] = 0.0
    common_up: Annotated[float, Field(ge=0, le=MOST)] = 0.0


class WickTerms(NamedTuple):
    """What the kernel reads; column 0 is down, column 1 up."""

    active: bool
    common: np.ndarray  # (2,) chance of an hour
    own: np.ndarray  # (m, 2) chance of an hour
    joins: np.ndarray  # (m, 2)
    power: np.ndarray  # (m, 2) -1 / tail
    sigma: np.ndarray  # (states, m) smallest wick: log points at median volatility
    keep: float  # share of a wick that a step leaves


_OFF = WickSide(rate=0.0, tail=2.0)


def build(
    parameters: Wicks | None, of_markets: Sequence[WicksOfMarket], volatility: np.ndarray, year: float, step: float
) -> WickTerms:
    """Return the terms; volatility (states, m) per sqrt year of `year` seconds; None switches the layer off."""
    sides = [(market.wick_down or _OFF, market.wick_up or _OFF) for market in of_markets]
    on = parameters or Wicks()

    def chance(rates: object) -> np.ndarray:
        return -np.expm1(-np.array(rates, dtype=np.float64) / YEAR_HOURS)

    return WickTerms(
        active=parameters is not None,
        common=chance([on.common_down, on.common_up]),
        own=chance([[side.rate for side in pair] for pair in sides]),
        joins=np.array([[side.joins for side in pair] for pair in sides]),
        power=np.array([[-1 / side.tail for side in pair] for pair in sides]),
        sigma=on.smallest * volatility * math.sqrt(HOUR / year),
        keep=kept(on.half_life, step),
    )


@kernel
def _strike(side, u_time, u_size, hour, step, i, terms, regime, slow, world, travelled):
    """Let one wick of market i begin in `hour` and fade."""
    steps = len(world) - 1
    t = int((hour + u_time) * HOUR / step)
    if t >= steps:
        return
    size = terms.sigma[regime[hour], i] * math.exp(slow[hour]) * u_size ** terms.power[i, side]
    left = min(size, _LARGEST) * (1.0 if side == 1 else -1.0)
    travelled[t, i] += abs(left)
    while t < steps and abs(left) > _NEGLIGIBLE:
        world[t + 1, i] *= math.exp(left)
        left *= terms.keep
        t += 1


@kernel
def _side(u, chance):
    """Return 0 for a wick down, 1 for one up, -1 for none."""
    if u < chance[0]:
        return 0
    return 1 if u >= 1.0 - chance[1] else -1


@kernel
def walk(keys, path, terms, ids, clock, step, regime, slow, world, travelled):
    """Put wicks on `world` (S + 1, m) and add their sizes to `travelled` (S, m).

    ids (m,): permanent market ids; clock (S + 1,): hour of each step; regime, slow (hours,).
    """
    for hour in range(math.ceil((len(world) - 1) * step / HOUR - 1e-9)):
        u = uniforms(keys, COMMON, hour, path, WICK, NO_LEVEL)
        side = _side(u[0], terms.common)
        for i in range(len(ids)):
            if side >= 0 and u[3] < terms.joins[i, side]:
                _strike(side, u[1], u[2], hour, step, i, terms, regime, slow, world, travelled)
            v = uniforms(keys, ids[i], hour, path, WICK, NO_LEVEL)
            mine = _side(v[0], terms.own[i])
            if mine >= 0:
                _strike(mine, v[1], v[2], hour, step, i, terms, regime, slow, world, travelled)


def excess(returns: np.ndarray, high: np.ndarray, low: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return how far each hour's low lies below its body and its high above, in hourly deviations, (n, m, 2).

    returns, high, low (n, m): logs over the previous close; level (n, m): local standard deviation of an hour.
    """
    return np.stack([np.minimum(returns, 0) - low, high - np.maximum(returns, 0)], axis=2) / level[:, :, None]


@cache
def _log_depths(half_life: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(least depth / smallest) of a wick that reaches each edge beyond the body, (edges, 800), and weights, (800,).

    A wick that begins when the path lies a height above the hour's body reaches that much less far, and what the hour's
    close still holds of it belongs to the body. Gauss quadrature over time, close and bridge.
    """
    time, of_time = np.polynomial.legendre.leggauss(8)
    deviates, of_normal = np.polynomial.hermite_e.hermegauss(10)
    t, close, bridge = np.meshgrid(0.5 + 0.5 * time, deviates, deviates, indexing="ij")
    height = t * close + np.sqrt(t * (1 - t)) * bridge - np.minimum(close, 0)
    undone = 1 - 0.5 ** ((1 - t) * HOUR / half_life)
    least = (_EDGES[:-1, None] + height.ravel()) / undone.ravel()
    weights = of_time[:, None, None] * of_normal[:, None] * of_normal
    return np.log(np.maximum(SMALLEST, least) / SMALLEST), (weights / weights.sum()).ravel()


def _beyond(tail: float, half_life: float) -> np.ndarray:
    """Return P(a wick reaches further than each edge beyond the body)."""
    depths, weights = _log_depths(half_life)
    return np.append(np.exp(-tail * depths) @ weights, 0.0)


def fit_sizes(beyond: np.ndarray, weight: np.ndarray, half_life: float) -> WickSide | None:
    """Fit rate and tail of one market's wicks to one side, all of them its own; None where too few were seen.

    beyond (n,): see `excess`, NaN where unknown; weight (n,): how often each hour counts; half_life in seconds.
    """
    known = np.isfinite(beyond)
    hours = weight[known].sum()
    seen = known & (beyond > SMALLEST)
    count = np.histogram(beyond[seen], _EDGES, weights=weight[seen])[0]
    if count.sum() < FEWEST:
        return None

    def loss(tail: float) -> float:
        reach = _beyond(tail, half_life)
        return float(-count @ np.log(np.maximum(-np.diff(reach) / reach[0], 1e-300)))

    tail = float(minimize_scalar(loss, bounds=_TAILS, method="bounded").x)
    share = count.sum() / hours / _beyond(tail, half_life)[0]
    return WickSide(rate=min(-YEAR_HOURS * math.log1p(-min(share, 0.5)), MOST), tail=tail)


def fit_common(beyond: np.ndarray, weight: np.ndarray) -> float:
    """Return the share of wicks to one side that come with the common train, from markets (n, k) with long histories.

    Of hours in which one market has a wick of twice the smallest size, how often each other one has a wick too, less
    what chance gives and over how often it joins: a wick that deep is hidden in neither of the two.
    """
    known = np.isfinite(beyond)
    filled = np.where(known, beyond, 0.0)
    wick, deep = (filled > SMALLEST).astype(np.float64), (filled > 2 * SMALLEST) * weight[:, None]
    often = (wick * weight[:, None]).sum(axis=0) / np.maximum(known.T @ weight, 1.0)
    hours, both = deep.T @ known, deep.T @ wick  # (i, j): deep wicks of i while j is known, and while j has one
    joins = np.minimum(often[None, :] / np.maximum(often[:, None], 1e-300), 1.0)
    other = ~np.eye(len(often), dtype=bool)
    most = (hours * (1 - often) * joins)[other].sum()
    return float(np.clip((both - hours * often)[other].sum() / most, 0.0, 1.0)) if most > 0 else 0.0


def split(fitted: list[WickSide | None], share: float) -> tuple[float, list[WickSide | None]]:
    """Return the rate of the common train, and each market's own part, from rates of all wicks and the common share."""
    most = max((side.rate for side in fitted if side), default=0.0)
    return share * most, [
        side and WickSide(rate=(1 - share) * side.rate, joins=side.rate / most, tail=side.tail) for side in fitted
    ]
