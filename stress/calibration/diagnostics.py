"""Data against simulated: the same statistics of the bars and of samples of equal length, of a fit and its challengers.

The share of samples between the 5 % and the 95 % quantile is a model's 90 % band.

    moments       volatility per sqrt year of hourly and daily returns, skewness, excess kurtosis
    tails         quantiles of hourly returns, Hill's index of the largest 0.5 %
    clustering    autocorrelation of |r| at 1 h to 14 days
    dependence    lower-tail dependence with the first market, correlation with it over windows of 90 days
    excursions    quantiles of the furthest adverse price within 1, 4 and 24 h of an hour's close, of both sides; windows
                  overlap, one from each hour
    closes        the same, of closes alone: what it lacks against `excursions` happened inside hours
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stress.calibration.fit import Panel
from stress.calibration.samples import Sample, block_bootstrap, garch_fhs, of_data, paths
from stress.paths import MarketModel

YEAR_HOURS = 8760
LAGS = (1, 6, 24, 72, 168, 336)
HORIZONS = (1, 4, 24)
LEVELS = (0.01, 0.001)
SIDES = ("long", "short")
WINDOW = 90 * 24
FIT = "fit"
FEWEST_HOURS = 500
FEWEST_BEYOND = 10  # hours beyond a quantile, below which it says little

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """Statistics by (group, name, market): of the data, and by model of each simulated sample (replicates,)."""

    markets: tuple[str, ...]
    data: Mapping[Key, float]
    simulated: Mapping[str, Mapping[Key, np.ndarray]]
    replicates: int

    def band(self, key: Key, model: str = FIT) -> tuple[float, float, float]:
        """Return the 5 %, 50 % and 95 % quantiles of a model's samples; NaN where it has none."""
        values = self.simulated[model][key]
        low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95)) if np.isfinite(values).any() else (np.nan,) * 3
        return float(low), float(middle), float(high)

    def inside(self, key: Key, model: str = FIT) -> bool | None:
        """Return whether the data lie in a model's 90 % band; None where either is unknown."""
        low, _, high = self.band(key, model)
        return None if np.isnan(low) or np.isnan(self.data[key]) else low <= self.data[key] <= high

    def keys(self, group: str, markets: Sequence[str] | None = None) -> list[Key]:
        """Return the keys of a group whose data and fit are known, in order."""
        return [
            key
            for key in self.data
            if key[0] == group and (markets is None or key[2] in markets) and self.inside(key) is not None
        ]

    def count(self, group: str, model: str = FIT, markets: Sequence[str] | None = None) -> tuple[int, int]:
        """Return how many statistics of a group lie in a model's band, and of how many."""
        judged = [inside for key in self.keys(group, markets) if (inside := self.inside(key, model)) is not None]
        return sum(judged), len(judged)


def excursion(side: str, horizon: int, level: float) -> str:
    """Return the name of one excursion statistic."""
    return f"{side}, {horizon} h, {100 * level:g} %"


def statistics(sample: Sample, markets: tuple[str, ...]) -> dict[Key, float]:
    """Return every statistic of a sample by (group, name, market)."""
    found: dict[Key, float] = {}
    anchor = sample.returns[:, 0]
    for i, market in enumerate(markets):
        known = np.flatnonzero(np.isfinite(sample.returns[:, i]))
        if len(known) < FEWEST_HOURS:  # a bootstrap may miss a market that came late
            continue
        span = slice(known[0], known[-1] + 1)
        r, high, low = (part[span, i] for part in sample)
        found |= {(group, name, market): value for (group, name), value in _own(r, r[np.isfinite(r)]).items()}
        found |= {(group, name, market): value for (group, name), value in excursions_of(r, high, low).items()}
        if i:
            found |= {("dependence", name, market): value for name, value in _dependence(anchor[span], r).items()}
    return found


def excursions_of(r: np.ndarray, high: np.ndarray, low: np.ndarray) -> dict[tuple[str, str], float]:
    """Return quantiles of adverse excursions of one market's hours (n,), by highs and lows and by closes alone."""
    found = {}
    for group, top, bottom in (("excursions", high, low), ("closes", np.maximum(r, 0), np.minimum(r, 0))):
        for horizon in HORIZONS:
            for side, values in zip(SIDES, adverse(r, top, bottom, horizon), strict=True):
                known = values[np.isfinite(values)]
                for level, value in zip(LEVELS, np.quantile(known, [1 - q for q in LEVELS]), strict=True):
                    few = len(known) * level < FEWEST_BEYOND
                    found[group, excursion(side, horizon, level)] = np.nan if few else float(value)
    return found


def adverse(r: np.ndarray, high: np.ndarray, low: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the price falls, and how far it rises, within `horizon` hours of each close: simple, >= 0."""
    before = np.zeros(len(r) - horizon + 1)
    bottom, top = np.full(len(before), np.inf), np.full(len(before), -np.inf)
    for k in range(horizon):
        part = slice(k, k + len(before))
        bottom, top = np.minimum(bottom, before + low[part]), np.maximum(top, before + high[part])
        before = before + r[part]
    return -np.expm1(bottom), np.expm1(top)


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
    levels = (0.001, 0.01, 0.99, 0.999)
    for q, value in zip(levels, np.quantile(known, levels), strict=True):
        found[("tails", f"{100 * q:g} % of hours")] = float(value)
    a = np.abs(r) - np.nanmean(np.abs(r))
    variance = np.nanmean(a**2)
    for lag in LAGS:
        found[("clustering", f"|r| at {lag} h")] = float(np.nanmean(a[lag:] * a[:-lag]) / variance)
    return found


def _dependence(anchor: np.ndarray, r: np.ndarray) -> dict[str, float]:
    both = np.isfinite(anchor) & np.isfinite(r)
    found = {f"tail, {100 * level:g} %": _tail(anchor[both], r[both], level) for level in (0.01, 0.05)}
    rolling = [
        float(np.corrcoef(anchor[w], r[w])[0, 1])
        for start in range(0, len(r) - WINDOW + 1, WINDOW // 3)
        if (w := np.flatnonzero(both[start : start + WINDOW]) + start).size > WINDOW // 2
    ]
    for name, q in (("low", 0.05), ("median", 0.5), ("high", 0.95)):
        found[f"90-day correlation, {name}"] = float(np.quantile(rolling, q)) if rolling else np.nan
    return found


def _tail(a: np.ndarray, b: np.ndarray, level: float) -> float:
    if len(a) * level < FEWEST_BEYOND:
        return np.nan
    return float((b[a <= np.quantile(a, level)] <= np.quantile(b, level)).mean())


def compare(
    models: Sequence[MarketModel], panel: Panel, *, replicates: int = 40, seed: int = 1, challengers: bool = True
) -> Comparison:
    """Return the statistics of the data, of samples of the fit's parameter draws, and of its challengers' samples."""
    missing = ~np.isfinite(panel.returns)
    masked = (
        Sample(*(np.where(missing, np.nan, part) for part in sample))
        for sample in paths(models, len(panel.hours), seed)
    )
    drawn: dict[str, Iterator[Sample]] = {FIT: masked}
    if challengers:
        drawn |= {"block_bootstrap": block_bootstrap(panel, seed), "garch_fhs": garch_fhs(panel, seed)}
    data, found = statistics(of_data(panel), panel.markets), {}
    for name, samples in drawn.items():
        each = [statistics(sample, panel.markets) for sample in islice(samples, replicates)]
        found[name] = {key: np.array([one.get(key, np.nan) for one in each]) for key in data}
    return Comparison(panel.markets, data, found, replicates)
