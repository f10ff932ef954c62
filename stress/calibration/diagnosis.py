"""Why an adverse excursion of the data lies outside a fit's band: computed from data and samples, miss by miss.

Data over the middle sample is split into three factors, whose product it is up to the middle of a product:

    volatility  the data's volatility of hours over the samples'
    closes      excursion of closes alone over volatility, against the same of the samples: how heavy tails and how long
                turbulence are at that volatility
    inside      excursion over that of closes alone, against the same of the samples: what highs and lows add

The crowd is the share of the hours beyond the data's quantile that fall into one window of CROWD hours; `without` is the
quantile with that window left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stress.calibration.diagnostics import FIT, HORIZONS, LEVELS, SIDES, Comparison, Key, adverse, excursion
from stress.calibration.fit import Panel

CROWD = 72  # hours
CROWDED = 0.25  # share beyond which one window is named
PARTIAL = 0.9  # of the hours: below it a market is one that came late
FACTORS = {
    "volatility": "hours were {more} volatile than in the samples",
    "closes": "at equal volatility, closes ran {further} than those of the samples",
    "inside": "highs and lows reached {further} beyond the closes than those of the samples",
}


class Diagnosis(NamedTuple):
    """One miss; factors are data over the middle sample."""

    key: Key
    data: float
    low: float
    high: float
    factors: dict[str, float]
    facts: tuple[str, ...]
    crowd: float
    window: tuple[str, str]
    without: float
    held_by: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Data over the middle sample, by the factors."""
        return float(np.prod(list(self.factors.values())))

    @property
    def leading(self) -> str:
        """The factor that moves the data furthest in the direction of the miss."""
        sign = 1 if self.data > self.high else -1
        return max(self.factors, key=lambda name: sign * np.log(self.factors[name]))

    @property
    def crowded(self) -> bool:
        """Whether one window holds enough of the hours beyond to be named."""
        return self.crowd >= CROWDED and self.data > self.high

    def reason(self) -> str:
        """Return the leading factor in words, with the numbers behind it."""
        more = self.data > self.high
        said = FACTORS[self.leading].format(more="more" if more else "less", further="further" if more else "less far")
        return said + (f" ({', '.join(self.facts)})" if self.facts else "")

    def crash(self) -> str:
        """Return what one window does to the data's quantile, empty where none is to be named."""
        if not self.crowded:
            return ""
        inside = self.low <= self.without <= self.high
        return (
            f"{self.crowd:.0%} of the hours beyond are of {self.window[0]} to {self.window[1]}, without which the data give "
            f"{self.without:.1%}, {'inside the band' if inside else 'still outside'}"
        )


def reasons(misses: Sequence[Diagnosis]) -> list[str]:
    """Return the reasons in words, one for all misses of a market that share it; then the crashes, one by one."""
    shared: dict[tuple[str, str], list[str]] = {}
    for miss in misses:
        _, name, market = miss.key
        shared.setdefault((market, miss.reason()), []).append(name.replace(", ", " "))
    said = [f"{market}, {', '.join(names)}: {reason}." for (market, reason), names in shared.items()]
    return said + [
        f"{miss.key[2]}, {miss.key[1].replace(', ', ' ')}: {miss.crash()}." for miss in misses if miss.crowded
    ]


def diagnose(found: Comparison, panel: Panel, markets: tuple[str, ...]) -> list[Diagnosis]:
    """Return a diagnosis of each adverse excursion of `markets` outside the fit's band."""
    misses = []
    for market in markets:
        i = panel.markets.index(market)
        for horizon in HORIZONS:
            reach = dict(
                zip(SIDES, adverse(panel.returns[:, i], panel.high[:, i], panel.low[:, i], horizon), strict=True)
            )
            for side in SIDES:
                for level in LEVELS:
                    key = ("excursions", excursion(side, horizon, level), market)
                    if found.inside(key) is False:
                        misses.append(_one(found, panel, key, reach[side], level))
    return misses


def _one(found: Comparison, panel: Panel, key: Key, reach: np.ndarray, level: float) -> Diagnosis:
    _, name, market = key
    low, _, high = found.band(key)
    closes, volatility = ("closes", name, market), ("moments", "volatility of hours", market)
    factors = {
        "volatility": _over(found, volatility),
        "closes": _over(found, closes, volatility),
        "inside": _over(found, key, closes),
    }
    beyond = np.nan_to_num(reach) > found.data[key]
    total = np.concatenate([[0], np.cumsum(beyond)])
    held = total[CROWD:] - total[:-CROWD]
    start = int(held.argmax())
    rest = np.delete(reach, slice(start, start + CROWD))
    made = Diagnosis(
        key, found.data[key], low, high, factors, (), float(held[start] / max(beyond.sum(), 1)),
        (_day(panel.hours[start]), _day(panel.hours[start + CROWD - 1])),
        float(np.quantile(rest[np.isfinite(rest)], 1 - level)),
        tuple(model for model in found.simulated if model != FIT and found.inside(key, model)),
    )  # fmt: skip
    return made._replace(facts=tuple(_facts(found, panel, made)))


def _facts(found: Comparison, panel: Panel, made: Diagnosis) -> list[str]:
    """Return numbers that stand behind the leading factor."""
    (_, name, market), leading = made.key, made.leading

    def against(text: str, key: Key, show: str) -> str:
        return f"{text} {found.data[key]:{show}} against {found.band(key)[1]:{show}}"

    if leading == "volatility":
        said = [against("volatility", ("moments", "volatility of hours", market), ".2f")]
        known = np.isfinite(panel.returns[:, panel.markets.index(market)])
        if known.mean() < PARTIAL:
            anchor = panel.returns[:, 0]
            calmer = np.nanstd(anchor[known]) / np.nanstd(anchor)
            said.append(
                f"in the {known.mean():.0%} of the hours that {market} has, {panel.markets[0]} itself was {calmer:.2f} x as volatile "
                "as over the whole span, whose regimes the samples have"
            )
        return said
    if leading == "closes":
        return [
            against("excess kurtosis of hours", ("moments", "excess kurtosis", market), ".1f"),
            against("autocorrelation of |r| after a week", ("clustering", "|r| at 168 h", market), ".2f"),
        ]
    side, horizon, level = name.split(", ")
    first = ", ".join((side, f"{HORIZONS[0]} h", level))
    if horizon == f"{HORIZONS[0]} h" or found.inside(("excursions", first, market)) is None:
        return []
    alone = _over(found, ("excursions", first, market), ("closes", first, market))
    said = [f"at {HORIZONS[0]} h by {alone:.2f} x, at {horizon} by {made.factors['inside']:.2f} x"]
    if abs(np.log(alone)) < 0.5 * abs(np.log(made.factors["inside"])):
        said.append(
            "so single wicks are deep enough, but those of the data come together and with moves of closes, which no layer does"
        )
    return said


def _over(found: Comparison, above: Key, below: Key | None = None) -> float:
    """Return a statistic of the data, over another if given, divided by the middle of the same of the samples."""
    samples = found.simulated[FIT]
    if below is None:
        return float(found.data[above] / np.nanmedian(samples[above]))
    return float(found.data[above] / found.data[below] / np.nanmedian(samples[above] / samples[below]))


def _day(hour: pd.Timestamp) -> str:
    return str(hour.date())
