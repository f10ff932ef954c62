"""Jumps from hourly returns: flags, the split into common and own, betas, laws of size.

A flag is |r| > THRESHOLD local standard deviations, so small jumps stay unseen. Sizes are therefore fitted by
maximum likelihood *given* that they were seen, and intensities are counts over the exposure times the
probability of being seen; otherwise sizes come out too large and jumps too rare.

Common   an hour in which at least COMMON_SHARE of the majors are flagged. The first market of the model is the
         anchor (beta 1, no dispersion): J is read off its return, over hours in which it is flagged too.
Own      a flag while at most QUIET_SHARE of the other majors move by more than LOUD local deviations. What
         is neither (a common jump that too few saw) is in no fit; the probabilities of selection account for it.
Beta     of market i from hours that are common *without* asking market i, so that its own size selects nothing.

Multiples of intensity and size by regime are given: jumps seen in the higher regimes are too few to fit them.
Sources: Mancini 2009 (threshold); scenarios G2. An hour of two jumps counts as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import norm

THRESHOLD = 4.5
LOUD = 2.5
COMMON_SHARE = 0.6
QUIET_SHARE = 0.25
FEWEST = 8  # events below which a law of sizes is not fitted

_GRID = np.geomspace(1.0, 12.0, 60)  # |r| over its threshold, where selection is tabulated
_BINS = 48  # of thresholds, where exposure is summed


class Seen(NamedTuple):
    """Which hours hold which jumps; `others` leaves out the market of the column, all are (n, m) but `common`."""

    flags: np.ndarray
    common: np.ndarray  # (n,)
    common_to_others: np.ndarray
    own: np.ndarray
    quiet: np.ndarray


def see(returns: np.ndarray, level: np.ndarray, majors: np.ndarray) -> Seen:
    """Split hourly returns (n, m) by their local standard deviation `level` (n, m); majors (m,) bool."""
    with np.errstate(invalid="ignore"):
        size = np.abs(returns) / level
        flags, loud = size > THRESHOLD, size > LOUD
    seen = ~np.isnan(returns) & majors
    flagged, noisy, count = (flags & majors).sum(axis=1), (loud & majors).sum(axis=1), seen.sum(axis=1)
    common = (flagged >= COMMON_SHARE * count) & (flagged > 0) & (majors.sum() > 2)
    present = np.maximum(count[:, None] - seen, 1)
    common_to_others = (flagged[:, None] - (flags & majors) >= COMMON_SHARE * present) & (majors.sum() > 3)
    quiet = noisy[:, None] - (loud & majors) <= QUIET_SHARE * (count[:, None] - seen)
    return Seen(flags, common, common_to_others, flags & quiet & ~common[:, None], quiet)


def fit_beta(
    returns: np.ndarray, level: np.ndarray, seen: Seen, correlation: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return beta, log-dispersion and the number of hours behind them, (m,) each; column 0 is the anchor.

    y = ln(r_i / r_0) has mean ln beta - d^2/2 and variance d^2 + what the diffusion of both adds (to first
    order in level / return); hours in which the two have opposite signs are left out.
    """
    markets = returns.shape[1]
    beta, dispersion, count = np.ones(markets), np.zeros(markets), np.zeros(markets, int)
    for i in range(1, markets):
        hours = np.flatnonzero(seen.common_to_others[:, i] & seen.flags[:, 0] & (returns[:, i] * returns[:, 0] > 0))
        count[i] = len(hours)
        w = weight[hours]
        if w.sum() < FEWEST:
            beta[i] = dispersion[i] = np.nan
            continue
        mine, anchor = returns[hours, i], returns[hours, 0]
        y = np.log(mine / anchor)
        a, b = level[hours, i] / np.abs(mine), level[hours, 0] / np.abs(anchor)
        # A move of about its own noise has no log to speak of: its share of noise is held at one half.
        noise = np.minimum(a, 0.5) ** 2 + b**2 - 2 * correlation[i, 0] * np.minimum(a, 0.5) * b
        mean = np.average(y, weights=w)
        variance = np.average((y - mean) ** 2, weights=w) * len(y) / (len(y) - 1)
        dispersion[i] = np.sqrt(max(variance - np.average(noise, weights=w), 0.0))
        beta[i] = np.exp(mean + 0.5 * dispersion[i] ** 2)
    return beta, dispersion, count


def selection(beta: np.ndarray, dispersion: np.ndarray, deviation: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return P(common | the anchor's |r| = x thresholds) on the grid of x, by 4,000 draws; (m,) of majors."""
    draws = np.random.default_rng(0)
    z = draws.standard_normal((4000, len(beta))) @ np.linalg.cholesky(correlation + 1e-9 * np.eye(len(beta))).T
    eps = np.exp(dispersion * draws.standard_normal(z.shape) - 0.5 * dispersion**2)
    reach = beta * deviation[0] / deviation * eps
    chance = np.empty(len(_GRID))
    for g, x in enumerate(_GRID):
        moved = np.abs(reach * (THRESHOLD * x - z[:, :1]) + z) > THRESHOLD
        moved[:, 0] = True
        chance[g] = (moved.sum(axis=1) >= COMMON_SHARE * len(beta)).mean()
    return chance


class Exposure(NamedTuple):
    """Years of observation by threshold: of one jump of the first regime's size, in bins."""

    threshold: np.ndarray
    years: np.ndarray


def expose(threshold: np.ndarray, intensity: np.ndarray, weight: np.ndarray) -> Exposure:
    """Sum hours (n,) into bins of their threshold, each hour counted weight x the regime's intensity."""
    low, high = np.log(threshold.min()), np.log(threshold.max())
    place = ((np.log(threshold) - low) / max(high - low, 1e-9) * (_BINS - 1)).round().astype(int)
    years = np.bincount(place, weight * intensity, _BINS) / 8760.0
    return Exposure(np.exp(np.linspace(low, high, _BINS)), years)


def _likeliest(loss: Callable[[float], float], low: float, high: float) -> float:
    found = minimize_scalar(lambda s: loss(float(np.exp(s))), bounds=(np.log(low), np.log(high)), method="bounded")
    return float(np.exp(found.x))


def _exponential_seen(mean: float, threshold: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return P(an exponential size is above each threshold and selected)."""
    beyond = np.exp(-np.outer(threshold, _GRID) / mean)
    middle = 0.5 * (chance[1:] + chance[:-1])
    return (beyond[:, :-1] - beyond[:, 1:]) @ middle + beyond[:, -1] * chance[-1]


def fit_exponential(
    size: np.ndarray, threshold: np.ndarray, weight: np.ndarray, exposure: Exposure, chance: np.ndarray
) -> tuple[float, float]:
    """Return mean size and intensity per year from events (e,) above their thresholds; chance: `selection`."""

    def loss(mean: float) -> float:
        seen = np.maximum(_exponential_seen(mean, threshold, chance), 1e-300)
        return float(weight @ (np.log(mean) + size / mean + np.log(seen)))

    mean = _likeliest(loss, 0.25 * float(threshold.min()), 1.0)
    return mean, float(weight.sum() / (exposure.years @ _exponential_seen(mean, exposure.threshold, chance)))


def _normal_seen(sd: float, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviation with the hour's diffusion, and P(above the threshold)."""
    total = np.sqrt(sd**2 + (threshold / THRESHOLD) ** 2)
    return total, 2 * norm.sf(threshold / total)


def fit_normal(
    size: np.ndarray, threshold: np.ndarray, weight: np.ndarray, exposure: Exposure, quiet: float
) -> tuple[float, float, bool]:
    """Return sd and intensity per year of N(0, sd^2) sizes, and whether sd met its lower bound.

    quiet: probability that the other majors are quiet. Bound: half the typical threshold. Below it nearly every
    jump would be unseen, and the fit would explain volatility by thousands of small jumps a year.
    """

    def loss(sd: float) -> float:
        total, seen = _normal_seen(sd, threshold)
        return float(weight @ (np.log(total) + 0.5 * (size / total) ** 2 + np.log(seen)))

    bound = 0.5 * float(np.median(threshold))
    sd = _likeliest(loss, bound, 1.0)
    return (
        sd,
        float(weight.sum() / (exposure.years @ _normal_seen(sd, exposure.threshold)[1]) / quiet),
        sd < 1.01 * bound,
    )
