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
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

THRESHOLD = 4.5
LOUD = 2.5
COMMON_SHARE = 0.6
QUIET_SHARE = 0.25
FEWEST = 8  # events below which a law of sizes is not fitted
LEAST_DISPERSION = 0.02

_GRID = np.geomspace(1.0, 12.0, 60)  # |r| over its threshold, where selection is tabulated
_NORMAL = np.linspace(-4.0, 4.0, 161)  # where a normal is summed
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


class Loading(NamedTuple):
    """Beta and log-dispersion of each market (m,), hours behind them, and errors of their logs (m, 2) by the likelihood."""

    beta: np.ndarray
    dispersion: np.ndarray
    hours: np.ndarray
    errors: np.ndarray


def fit_beta(
    returns: np.ndarray, level: np.ndarray, seen: Seen, correlation: np.ndarray, weight: np.ndarray
) -> Loading:
    """Fit beta and dispersion d by likelihood, NaN where hours are few; column 0 is the anchor.

    Given the anchor's return r_0, r_i is normal about beta r_0 e with ln e ~ N(-d^2/2, d^2), and the variance that the diffusion
    of both leaves: level_i^2 + (beta e level_0)^2 - 2 rho beta e level_i level_0. The law of e is summed over a grid.
    (The logs of r_i / r_0 have no such law: a return that its noise brought near zero has a log far out.)
    """
    markets = returns.shape[1]
    found = Loading(np.ones(markets), np.zeros(markets), np.zeros(markets, int), np.full((markets, 2), np.nan))
    for i in range(1, markets):
        hours = np.flatnonzero(seen.common_to_others[:, i] & seen.flags[:, 0] & ~np.isnan(returns[:, i]) & (weight > 0))
        found.hours[i] = len(hours)
        if weight[hours].sum() < FEWEST:
            found.beta[i] = found.dispersion[i] = np.nan
            continue
        loss = _loading_loss(returns[hours][:, [i, 0]], level[hours][:, [i, 0]], correlation[i, 0], weight[hours])
        ratio = float(np.median(returns[hours, i] / returns[hours, 0]))
        start, bounds = [np.log(max(ratio, 0.1)), np.log(0.4)], [(-3.0, 3.0), (np.log(LEAST_DISPERSION), np.log(2.0))]
        # A gradient's first step may land where the likelihood is flat, far out.
        options = {"xatol": 1e-3, "fatol": 1e-4}
        at = minimize(loss, np.array(start), method="Nelder-Mead", bounds=bounds, options=options).x
        found.beta[i], found.dispersion[i] = np.exp(at)
        if found.dispersion[i] > 1.01 * LEAST_DISPERSION:
            found.errors[i] = errors_of(loss, at)
    return found


def _loading_loss(
    returns: np.ndarray, level: np.ndarray, correlation: float, weight: np.ndarray
) -> Callable[[np.ndarray], float]:
    """Return minus the log likelihood of (ln beta, ln d); returns, level (e, 2) of the market and of the anchor."""
    mine, anchor, a, b = (*returns.T[..., None], *level.T[..., None])

    def loss(theta: np.ndarray) -> float:
        d = np.exp(theta[1])
        reach = np.exp(theta[0] + d * _NORMAL - 0.5 * d * d)
        variance = a * a + (reach * b) ** 2 - 2 * correlation * reach * a * b
        away = mine - reach * anchor
        density = (np.exp(-0.5 * (away * away / variance + _NORMAL**2)) / np.sqrt(variance)).sum(axis=1)
        return -float(weight @ np.log(np.maximum(density, 1e-300)))

    return loss


def errors_of(loss: Callable[[np.ndarray], float], at: np.ndarray, step: float = 0.05) -> np.ndarray:
    """Return standard errors by the curvature of minus a log likelihood at its least, NaN where it does not bend."""
    here, steps = loss(at), step * np.eye(len(at))
    around = [[loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b) for a in steps] for b in steps]
    for k, a in enumerate(steps):
        around[k][k] = 4 * (loss(at + a) + loss(at - a) - 2 * here)
    variance = np.diag(np.linalg.pinv(np.array(around) / (4 * step * step)))
    return np.sqrt(np.where(variance > 0, variance, np.nan))


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


class Train(NamedTuple):
    """Size and intensity per year of jumps, errors of their logs by the likelihood, and whether size met its lower bound."""

    size: float
    intensity: float
    size_error: float
    intensity_error: float
    bound: bool


def _train(loss: Callable[[float], float], seen: Callable[[float], float], weight: np.ndarray, low: float) -> Train:
    """Return the likeliest size above `low` and the intensity; seen: years of observation x chance of being seen, by size."""
    size, count = _likeliest(loss, low, 1.0), float(weight.sum())
    error = float(errors_of(lambda s: loss(float(np.exp(s[0]))), np.array([np.log(size)]))[0])
    slope = (np.log(seen(size * 1.05)) - np.log(seen(size / 1.05))) / (2 * np.log(1.05))
    return Train(size, count / seen(size), error, float(np.sqrt(1 / count + (slope * error) ** 2)), size < 1.01 * low)


def fit_exponential(
    size: np.ndarray, threshold: np.ndarray, weight: np.ndarray, exposure: Exposure, chance: np.ndarray
) -> Train:
    """Fit mean size and intensity from events (e,) above their thresholds; chance: `selection`."""

    def loss(mean: float) -> float:
        seen = np.maximum(_exponential_seen(mean, threshold, chance), 1e-300)
        return float(weight @ (np.log(mean) + size / mean + np.log(seen)))

    def seen(mean: float) -> float:
        return float(exposure.years @ _exponential_seen(mean, exposure.threshold, chance))

    return _train(loss, seen, weight, 0.25 * float(threshold.min()))


def _normal_seen(sd: float, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviation with the hour's diffusion, and P(above the threshold)."""
    total = np.sqrt(sd**2 + (threshold / THRESHOLD) ** 2)
    return total, 2 * norm.sf(threshold / total)


def fit_normal(size: np.ndarray, threshold: np.ndarray, weight: np.ndarray, exposure: Exposure, quiet: float) -> Train:
    """Fit sd and intensity of N(0, sd^2) sizes; quiet: probability that the other majors are quiet.

    Lower bound of sd: half the typical threshold. Below it nearly every jump would be unseen, and the fit would explain
    volatility by thousands of small jumps a year.
    """

    def loss(sd: float) -> float:
        total, seen = _normal_seen(sd, threshold)
        return float(weight @ (np.log(total) + 0.5 * (size / total) ** 2 + np.log(seen)))

    def seen(sd: float) -> float:
        return float(exposure.years @ _normal_seen(sd, exposure.threshold)[1]) * quiet

    return _train(loss, seen, weight, 0.5 * float(np.median(threshold)))
