"""Samples of hourly bars of equal length: from paths of a fitted model, and from the data's own hours (the challengers).

    paths            of the layers, one sample from each of the parameter draws given, at five-minute steps, in the
                     stationary law: the spread of samples holds sampling and parameter uncertainty
    block_bootstrap  hours of the data in blocks, all markets of an hour together, as `stress.paths.resampled` draws them
    garch_fhs        residuals of each market's GARCH in such blocks, on a volatility of their own, tails spliced

Unlike the layer, which draws only hours that all chosen markets have, the challengers take hours with their holes: a
market that came late is missing in about as many hours as in the data.
Lows and highs of paths between steps are moved out by 0.5826 sigma sqrt(step), the mean distance between the extreme of a
walk and of its motion (Broadie, Glasserman and Kou 1997), sigma from the hour's own steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stress.calibration.fit import Panel
from stress.paths import MarketModel, compose, resampled
from stress.paths.resampled import CAP, Garch
from stress.scenarios import STATIONARY, RegimeScenario

STEP = 300.0
INSIDE = 12  # steps of an hour
PIECE = 120 * 24  # hours of one path
EXTREME = 0.5826  # -zeta(1/2) / sqrt(2 pi)
TYPICAL = 0.6922  # mean of the median of INSIDE absolute normals
MEAN_BLOCK = 336.0  # hours
TOGETHER = 8  # GARCH samples drawn side by side


class Sample(NamedTuple):
    """Hourly bars as logs: returns, and high and low over the previous close, (n, m); NaN where unknown."""

    returns: np.ndarray
    high: np.ndarray
    low: np.ndarray


def of_data(panel: Panel) -> Sample:
    """Return the data as a sample; a wick that is a bad print is left out."""
    return Sample(panel.returns, panel.high, panel.low)


def paths(models: Sequence[MarketModel], hours: int, seed: int) -> Iterator[Sample]:
    """Yield one sample of `hours` hours after the other, the models in turn, from paths that are never used twice."""
    first, piece = 0, min(PIECE, hours)
    regime = RegimeScenario(name="stationary", start=STATIONARY)
    while True:
        for model in models:
            # Resampled hours would only be held against themselves; the paths are about the parameters.
            # A parameter draw may have more jumps a day than the fit's file provides for.
            jumps = model.jumps.model_copy(update={"most_per_day": 1000})
            bare = model.model_copy(update={"depth": None, "premium": None, "resampled": None, "jumps": jumps})
            source = compose(bare, regime, markets=tuple(model.markets), horizon=piece * 3600.0, step=STEP, seed=seed)
            parts = []
            for _ in range(-(-hours // piece)):
                parts.append(hourly(np.log(source.generate(first, 1).world[0])))
                first += 1
            yield Sample(*(np.concatenate([part[i] for part in parts])[:hours] for i in range(3)))


def hourly(x: np.ndarray) -> Sample:
    """Return hourly bars of a log path at five-minute steps (12 n + 1, m)."""
    hours = (len(x) - 1) // INSIDE
    steps = np.diff(x, axis=0).reshape(hours, INSIDE, -1)
    start = x[:-1:INSIDE][:, None, :]
    points = x[1:].reshape(hours, INSIDE, -1) - start
    # The median: a jump or a wick inside the hour says nothing about the motion between the steps.
    spread = np.median(np.abs(steps), axis=1) / TYPICAL
    high = np.maximum(points.max(axis=1), 0.0) + EXTREME * spread
    low = np.minimum(points.min(axis=1), 0.0) - EXTREME * spread
    return Sample(points[:, -1], high, low)


def _rows(draws: np.random.Generator, hours: int, count: int) -> np.ndarray:
    """Return rows of the data, (count, hours): stationary bootstrap (Politis and Romano 1994)."""
    restart = draws.random((count, hours)) < 1.0 / MEAN_BLOCK
    restart[:, 0] = True
    starts = draws.integers(hours, size=(count, hours))
    since = np.maximum.accumulate(np.where(restart, np.arange(hours), 0), axis=1)
    return (np.take_along_axis(starts, since, axis=1) + np.arange(hours) - since) % hours


def block_bootstrap(panel: Panel, seed: int) -> Iterator[Sample]:
    """Yield samples of the data's hours in blocks."""
    draws = np.random.default_rng([seed, 1])
    while True:
        rows = _rows(draws, len(panel.hours), 1)[0]
        yield Sample(panel.returns[rows], panel.high[rows], panel.low[rows])


def garch_fhs(panel: Panel, seed: int) -> Iterator[Sample]:
    """Yield samples of residuals of each market's GARCH(1,1)-t in blocks, on the volatility that they make themselves."""
    laws = [resampled.fit_garch(panel.returns[:, i]) for i in range(len(panel.markets))]
    draws = np.random.default_rng([seed, 2])
    mean, omega, alpha, beta = (
        np.array([getattr(law, name) for law in laws]) for name in ("mean", "omega", "alpha", "beta")
    )
    scale = np.sqrt(_variances(panel.returns, laws))
    residual = np.stack([part / scale for part in (panel.returns, panel.high, panel.low)])
    lower, upper = (np.array([getattr(law, side) for law in laws]) for side in ("lower", "upper"))
    hours = len(panel.hours)
    while True:
        rows, tail = _rows(draws, hours, TOGETHER), draws.random((TOGETHER, hours))
        out = np.empty((3, TOGETHER, hours, len(laws)))
        now = np.broadcast_to(mean, (TOGETHER, len(laws)))
        for hour in range(hours):
            bar = residual[:, rows[:, hour]]
            bar = bar * _spliced(bar[0], lower, upper, tail[:, hour, None])
            out[:, :, hour] = bar * np.sqrt(now)
            square = np.where(np.isnan(bar[0]), 1.0, bar[0] ** 2)  # an unknown hour moves nothing
            now = np.minimum(omega + (alpha * square + beta) * now, CAP * mean)
        for k in range(TOGETHER):
            yield Sample(*out[:, k])


def _variances(returns: np.ndarray, laws: Sequence[Garch]) -> np.ndarray:
    """Return each market's conditional variance given the hours before, (n, m); unknown hours stand at their mean."""
    mean, omega, alpha, beta = (
        np.array([getattr(law, name) for law in laws]) for name in ("mean", "omega", "alpha", "beta")
    )
    out = np.empty(returns.shape)
    now = mean
    for t, square in enumerate(returns**2):
        out[t] = now
        now = np.minimum(omega + alpha * np.where(np.isnan(square), now, square) + beta * now, CAP * mean)
    return out


def _spliced(z: np.ndarray, lower: np.ndarray, upper: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the factor by which a residual (k, m) beyond its side's threshold becomes a draw from the tail's law."""
    threshold, scale, shape = np.moveaxis(np.where((z < 0)[..., None], lower, upper), -1, 0)
    drawn = threshold + scale * np.where(shape > 0, (u**-shape - 1) / np.where(shape > 0, shape, 1), -np.log(u))
    beyond = np.abs(z) > threshold  # False where unknown
    return np.where(beyond, drawn / np.where(beyond, np.abs(z), 1.0), 1.0)
