"""Contagion: a shock in one market, and what every market liquidates and loses, cross against isolated margin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stress.contagion import MODES
from stress.report import figures
from stress.report.document import Block, Figure, Panel, Section, Table, Text
from stress.report.formats import signed_usd, signed_usd_bounds, stated, usd
from stress.report.reading import Reading, ScenarioView, is_number
from stress.stages import format_duration

_MEASURES = {"liquidated_notional": "liquidated notional", "mutualised_loss": "mutualised loss"}


class _Shock(NamedTuple):
    """One row of the matrix; `family` says what it has in common with the other rows of one figure."""

    view: ScenarioView
    market: str
    family: str


def section(reading: Reading) -> Section | None:
    """One figure and two tables for each kind of shock; nothing where the grid holds no matrix."""
    if "contagion_paths" not in reading.data:
        return None
    families: dict[str, list[_Shock]] = {}
    for shock in _shocks(reading):
        families.setdefault(shock.family, []).append(shock)
    blocks: list[Block] = [
        Text.of(
            "Every row moves one market and leaves the others as they are; every column is a market. Cross minus "
            "isolated, on the same paths: above zero, sharing collateral carries the shock into the market; below "
            "zero, it shields the market. Isolated margin splits the equity of every pool over its positions in "
            "proportion to their initial margin; the account's sizes stay."
        )
    ]
    for number, (family, shocks) in enumerate(families.items()):
        blocks += [Text.of(_said(reading, family, shocks)), _figure(reading, number, family, shocks)]
        blocks.append(_aggregate(reading, family, shocks))
    return Section("contagion", "Contagion: cross against isolated margin", tuple(blocks))


def _shocks(reading: Reading) -> Iterator[_Shock]:
    markets = dict(zip(reading.data["shock"].values, reading.data["shocked_market"].values, strict=True))
    for view in reading.scenarios:
        if view.name in markets:
            scenario, market = reading.scenario(view), str(markets[view.name])
            over = "one step" if isinstance(scenario.over, str) else format_duration(scenario.over)
            depth = "" if scenario.depth == 1 else f", depth × {scenario.depth:g}"
            move = stated(scenario.shocks[market]).replace("-", "−")
            yield _Shock(view, market, f"{move} over {over}{depth}, {view.given}")


def _values(reading: Reading, shock: _Shock, name: str, mode: str | None = None) -> np.ndarray:
    """Return a variable for one shock, in the headline cell of the other axes: (m,) or a scalar."""
    at = {**reading.neutral, **reading.headline}
    if mode is None:
        at["shock"] = list(reading.data["shock"].values).index(shock.view.name)
    else:
        at |= {"scenario": shock.view.index, "margin_mode": list(reading.data["margin_mode"].values).index(mode)}
    variable = reading.data[name]
    return np.asarray(variable.isel({dim: at[str(dim)] for dim in variable.dims if dim in at}).values, dtype=float)


def _paths(reading: Reading, shocks: Sequence[_Shock]) -> str:
    if all(shock.view.one_path for shock in shocks):
        return "one path each: outcomes, not probabilities"
    counts = sorted({int(_values(reading, shock, "contagion_paths")) for shock in shocks})
    spread = all(np.isfinite(_values(reading, shock, "contagion_mutualised_loss_total_low")).all() for shock in shocks)
    sure = "95 % intervals" if spread else "no interval: one block of paths shows no spread"
    return f"means over {' or '.join(f'{n:,}' for n in counts)} paths with {sure}"


def _difference(reading: Reading, shock: _Shock, measure: str, part: str = "") -> list[str]:
    ends = (np.atleast_1d(_values(reading, shock, f"contagion_{measure}{part}{end}")) for end in ("", "_low", "_high"))
    unsure = np.atleast_1d(_may_be_zero(reading, shock, f"contagion_{measure}{part}"))
    return [
        signed_usd_bounds(*(float(x) for x in found)) + ", zero included" * bool(zero)
        for *found, zero in zip(*ends, unsure, strict=True)
    ]


def _may_be_zero(reading: Reading, shock: _Shock, name: str) -> np.ndarray:
    """Return whether the interval of a difference holds zero; a single path has none."""
    low, high = (_values(reading, shock, f"{name}{end}") for end in ("_low", "_high"))
    return (low <= 0) & (high >= 0) & (low < high)  # NaN, no interval, is none of these


def _said(reading: Reading, family: str, shocks: Sequence[_Shock]) -> str:
    """Say where contagion is largest."""

    def elsewhere(shock: _Shock) -> float:
        value = float(_values(reading, shock, "contagion_liquidated_notional_elsewhere"))
        return value if is_number(value) else -np.inf

    worst = max(shocks, key=elsewhere)
    said = _difference(reading, worst, "liquidated_notional", "_elsewhere")[0]
    loss = _difference(reading, worst, "mutualised_loss", "_total")[0]
    return (
        f"{family} ({_paths(reading, shocks)}, {reading.horizon}). The shock that reaches furthest is the one in "
        f"{worst.market}: cross margin liquidates {said} in the other markets compared with isolated margin, and "
        f"changes the mutualised loss of all markets by {loss}."
    )


def _figure(reading: Reading, number: int, family: str, shocks: Sequence[_Shock]) -> Figure:
    panels: list[Panel] = []
    rows = [shock.market for shock in shocks]
    for measure, words in _MEASURES.items():
        by_mode = {
            mode: np.array([_values(reading, shock, f"mean_{measure}_by_market", mode) for shock in shocks])
            for mode in MODES
        }
        change = np.array([_values(reading, shock, f"contagion_{measure}") for shock in shocks])
        top = max(float(np.nanmax(values, initial=0.0)) for values in by_mode.values())
        for mode, values in by_mode.items():
            panels.append(figures.matrix(f"{words}, {mode}", rows, reading.study.markets, values, usd, (0.0, top)))
        most = float(np.nanmax(np.abs(change), initial=0.0))
        title = f"{words}, difference"
        unsure = np.array([_may_be_zero(reading, shock, f"contagion_{measure}") for shock in shocks])
        panels.append(figures.matrix(title, rows, reading.study.markets, change, signed_usd, (-most, most), unsure))
    table = Table(
        "Every pair of markets",
        (
            "shock in",
            "market",
            *(f"{words}, {what}" for words in _MEASURES.values() for what in (*MODES, "difference")),
        ),
        tuple(_pairs(reading, shocks)),
        folded=True,
    )
    alt = (
        f"Matrices of liquidated notional and mutualised loss by shocked market (rows) and market (columns): {family}; "
        "the table below has every number."
    )
    caption = (
        f"{family}; {_paths(reading, shocks)}. USD; framed: the shocked market itself. Difference: "
        "orange and + more under cross margin, purple and − less; in brackets and hatched: the interval includes zero."
    )
    return Figure(f"contagion-{number}", alt, caption, tuple(panels), table, columns=3)


def _pairs(reading: Reading, shocks: Sequence[_Shock]) -> Iterator[tuple[str, ...]]:
    for shock in shocks:
        columns = []
        for measure in _MEASURES:
            for mode in MODES:
                amounts = _values(reading, shock, f"mean_{measure}_by_market", mode)
                columns.append([usd(float(x)) if is_number(float(x)) else "failed" for x in amounts])
            columns.append(_difference(reading, shock, measure))
        for market, *row in zip(reading.study.markets, *columns, strict=True):
            yield (shock.market, market, *row)


def _aggregate(reading: Reading, family: str, shocks: Sequence[_Shock]) -> Table:
    rows = []
    for shock in shocks:
        row = [
            _difference(reading, shock, measure, part)[0] for measure in _MEASURES for part in ("_elsewhere", "_total")
        ]
        rows.append((shock.market, *row))
    columns = ("shock in", *(f"{words}, {where}" for words in _MEASURES.values() for where in ("other markets", "all")))
    return Table(f"Cross minus isolated in aggregate: {family}; {_paths(reading, shocks)}", columns, tuple(rows))
