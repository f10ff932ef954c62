"""Data against simulated: the same statistics of the bars and of samples of equal length drawn from the fit.

A simulated sample has the hours of the data, with the data's own missing hours taken out; the share of samples
between the 5 % and the 95 % quantile is the simulated 90 % band. Paths are drawn at five-minute steps in the
stationary law. Their lows and highs between steps are moved out by 0.5826 sigma sqrt(step), the mean distance
between the extreme of a walk and of its motion (Broadie, Glasserman and Kou 1997), sigma from the hour's own steps.

    moments       volatility per sqrt year of hourly and daily returns, skewness, excess kurtosis
    tails         quantiles of hourly returns, Hill's index of the largest 0.5 %
    clustering    autocorrelation of |r| at 1 h to 14 days
    dependence    lower-tail dependence with the first market, correlation with it over windows of 90 days
    excursions    quantiles of the furthest adverse price within 1, 4 and 24 h of an hour's close, of both sides
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from stress.calibration.fit import Panel
from stress.paths import MarketModel, compose
from stress.scenarios import STATIONARY, RegimeScenario

STEP = 300.0
INSIDE = 12  # steps of an hour
PIECE = 120 * 24  # hours of one path
YEAR_HOURS = 8760
EXTREME = 0.5826  # -zeta(1/2) / sqrt(2 pi)
TYPICAL = 0.6922  # mean of the median of INSIDE absolute normals
LAGS = (1, 6, 24, 72, 168, 336)
HORIZONS = (1, 4, 24)
LEVELS = (0.01, 0.001)
WINDOW = 90 * 24


class Sample(NamedTuple):
    """Hourly bars as logs: returns, and high and low over the previous close, (n, m); NaN where unknown."""

    returns: np.ndarray
    high: np.ndarray
    low: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Statistics by (group, name, market): of the data, and of each simulated sample (replicates,)."""

    markets: tuple[str, ...]
    data: Mapping[tuple[str, str, str], float]
    simulated: Mapping[tuple[str, str, str], np.ndarray]
    replicates: int

    def band(self, key: tuple[str, str, str]) -> tuple[float, float, float]:
        """Return the 5 %, 50 % and 95 % quantiles of the simulated samples."""
        values = self.simulated[key]
        low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95)) if np.isfinite(values).any() else (np.nan,) * 3
        return float(low), float(middle), float(high)

    def inside(self, key: tuple[str, str, str]) -> bool | None:
        """Return whether the data lie in the simulated 90 % band; None where either is unknown."""
        low, _, high = self.band(key)
        return None if np.isnan(low) or np.isnan(self.data[key]) else low <= self.data[key] <= high


def sample_of(panel: Panel) -> Sample:
    """Return the data as a sample; a wick that is a bad print is left out."""
    return Sample(panel.returns, panel.high, panel.low)


def simulate(model: MarketModel, hours: int, seed: int) -> Iterator[Sample]:
    """Yield samples of `hours` hours, one after the other, from paths of the fitted model that are never used twice."""
    # Resampled hours would only be held against themselves; the page is about the parameters.
    bare = model.model_copy(update={"depth": None, "premium": None, "resampled": None})
    names = tuple(model.markets)
    regime = RegimeScenario(name="stationary", start=STATIONARY)
    piece = min(PIECE, hours)
    source = compose(bare, regime, markets=names, horizon=piece * 3600.0, step=STEP, seed=seed)
    first = 0
    while True:
        parts = []
        for _ in range(-(-hours // piece)):
            world = np.log(source.generate(first, 1).world[0])
            first += 1
            parts.append(_hourly(world))
        yield Sample(*(np.concatenate([part[i] for part in parts])[:hours] for i in range(3)))


def _hourly(x: np.ndarray) -> Sample:
    """Return hourly bars of a log path at five-minute steps (12 n + 1, m)."""
    hours = (len(x) - 1) // INSIDE
    steps = np.diff(x, axis=0).reshape(hours, INSIDE, -1)
    start = x[:-1:INSIDE][:, None, :]
    points = x[1:].reshape(hours, INSIDE, -1) - start
    sizes = np.abs(steps)
    # The median: a jump or a wick inside the hour says nothing about the motion between the steps.
    spread = np.median(sizes, axis=1) / TYPICAL
    high = np.maximum(points.max(axis=1), 0.0) + EXTREME * spread
    low = np.minimum(points.min(axis=1), 0.0) - EXTREME * spread
    return Sample(points[:, -1], high, low)


def statistics(sample: Sample, markets: tuple[str, ...]) -> dict[tuple[str, str, str], float]:
    """Return every statistic of a sample by (group, name, market)."""
    found: dict[tuple[str, str, str], float] = {}
    anchor = sample.returns[:, 0]
    for i, market in enumerate(markets):
        r = sample.returns[:, i]
        known = r[np.isfinite(r)]
        found |= {(group, name, market): value for (group, name), value in _own(r, known).items()}
        for horizon in HORIZONS:
            down, up = _excursions(sample, i, horizon)
            for level in LEVELS:
                for side, values in (("long", -down), ("short", up)):
                    key = ("excursions", f"{side}, {horizon} h, {100 * level:g} %", market)
                    # Fewer than ten hours beyond a quantile say little of it.
                    few = np.isfinite(values).sum() * level < 10
                    found[key] = np.nan if few else float(np.nanquantile(values, 1 - level))
        if i:
            both = np.isfinite(anchor) & np.isfinite(r)
            for level in (0.01, 0.05):
                found[("dependence", f"tail, {100 * level:g} %", market)] = _tail(anchor[both], r[both], level)
            rolling = [
                float(np.corrcoef(anchor[w], r[w])[0, 1])
                for start in range(0, len(r) - WINDOW + 1, WINDOW // 3)
                if (w := np.flatnonzero(both[start : start + WINDOW]) + start).size > WINDOW // 2
            ]
            for name, q in (("low", 0.05), ("median", 0.5), ("high", 0.95)):
                value = float(np.quantile(rolling, q)) if rolling else np.nan
                found[("dependence", f"90-day correlation, {name}", market)] = value
    return found


def _own(r: np.ndarray, known: np.ndarray) -> dict[tuple[str, str], float]:
    days = r[: len(r) // 24 * 24].reshape(-1, 24).sum(axis=1)
    days = days[np.isfinite(days)]
    centred = known - known.mean()
    spread = centred.std()
    size = np.sort(np.abs(known))[::-1]
    most = max(20, len(size) // 200)
    found = {
        ("moments", "volatility of hours"): float(spread * np.sqrt(YEAR_HOURS)),
        ("moments", "volatility of days"): float(days.std() * np.sqrt(365)) if len(days) > 30 else np.nan,
        ("moments", "skewness"): float((centred**3).mean() / spread**3),
        ("moments", "excess kurtosis"): float((centred**4).mean() / spread**4 - 3),
        ("tails", "Hill index"): float(1 / np.log(size[:most] / size[most]).mean()),
    }
    for q in (0.001, 0.01, 0.99, 0.999):
        found[("tails", f"{100 * q:g} % of hours")] = float(np.quantile(known, q))
    a = np.abs(r) - np.nanmean(np.abs(r))
    variance = np.nanmean(a**2)
    for lag in LAGS:
        found[("clustering", f"|r| at {lag} h")] = float(np.nanmean(a[lag:] * a[:-lag]) / variance)
    return found


def _excursions(sample: Sample, i: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return simple returns to the lowest and highest price within `horizon` hours of each close."""
    r, before = sample.returns[:, i], np.zeros(len(sample.returns) - horizon + 1)
    low, high = np.full(len(before), np.inf), np.full(len(before), -np.inf)
    for k in range(horizon):
        part = slice(k, k + len(before))
        low, high = np.minimum(low, before + sample.low[part, i]), np.maximum(high, before + sample.high[part, i])
        before = before + r[part]
    return np.expm1(low), np.expm1(high)


def _tail(a: np.ndarray, b: np.ndarray, level: float) -> float:
    if len(a) * level < 10:
        return np.nan
    return float((b[a <= np.quantile(a, level)] <= np.quantile(b, level)).mean())


def compare(model: MarketModel, panel: Panel, *, replicates: int = 40, seed: int = 1) -> Comparison:
    """Return the statistics of the data and of simulated samples with the data's missing hours."""
    data = sample_of(panel)
    missing = ~np.isfinite(panel.returns)
    drawn: list[dict[tuple[str, str, str], float]] = []
    for simulated, _ in zip(simulate(model, len(panel.hours), seed), range(replicates), strict=False):
        masked = Sample(*(np.where(missing, np.nan, values) for values in simulated))
        drawn.append(statistics(masked, panel.markets))
    return Comparison(
        panel.markets,
        statistics(data, panel.markets),
        {key: np.array([one[key] for one in drawn]) for key in drawn[0]},
        replicates,
    )


def excursions_outside(found: Comparison, markets: tuple[str, ...]) -> list[str]:
    """Return, in words, which adverse excursions of the data the simulated band does not hold, and what that means."""
    said = []
    for key in found.data:
        group, name, market = key
        if group != "excursions" or market not in markets or found.inside(key) is not False:
            continue
        low, _, high = found.band(key)
        more = found.data[key] > high
        meaning = (
            "data reach further: crashes of this size are rarer in the fit than they were"
            if more
            else "the fit reaches further than the data did: its tail or its turbulent regimes weigh more"
        )
        said.append(f"{market} {name}: data {found.data[key]:.2%}, simulated {low:.2%} to {high:.2%}; {meaning}")
    return said


def quantile_curves(panel: Panel, model: MarketModel, market: int, seed: int = 2) -> pd.DataFrame:
    """Return sorted hourly returns of data and one simulated sample at equal ranks: quantile, data, simulated."""
    levels = np.concatenate([np.geomspace(1e-4, 0.5, 60), 1 - np.geomspace(0.5, 1e-4, 60)[1:]])
    simulated = next(simulate(model, len(panel.hours), seed)).returns[:, market]
    return pd.DataFrame(
        {
            "level": levels,
            "data": np.nanquantile(panel.returns[:, market], levels),
            "simulated": np.nanquantile(simulated, levels),
        }
    )
