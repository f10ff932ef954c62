"""What happened on a historical path, in UTC: one path is an outcome, not a probability."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from stress.report import figures
from stress.report.document import Block, Figure, Section, Table, Text
from stress.report.formats import percent, usd, utc
from stress.report.reading import Reading, ScenarioView


def section(reading: Reading) -> Section | None:
    """What happened on each historical path, in UTC."""
    figures_of_paths: list[Block] = []
    for scenario in reading.scenarios:
        start = reading.start_of(scenario)
        if start is None or not scenario.one_path:
            continue
        trace = reading.trace(scenario, reading.headline)
        if trace is None:
            continue
        step = timedelta(seconds=float(reading.study.step))
        times = [start + step * i for i in range(len(trace))]
        figures_of_paths.append(_trace_text(reading, scenario, times, trace))
        figures_of_paths.append(_trace_figure(reading, scenario, times, trace))
    return (
        Section("over-time", "What happened, minute by minute", tuple(figures_of_paths)) if figures_of_paths else None
    )


def _first(times: Sequence[datetime], amounts: np.ndarray) -> str:
    hit = np.flatnonzero(amounts > 0)
    return utc(times[hit[0]]) if len(hit) else "none"


def _trace_text(reading: Reading, scenario: ScenarioView, times: Sequence[datetime], trace: np.ndarray) -> Text:
    liquidated, deleveraged = (trace[name].sum(axis=1) for name in ("liquidated_notional", "adl_notional"))
    peak = utc(times[int(np.argmax(liquidated))]) if liquidated.any() else "none"
    return Text.of(
        f"{scenario.name}, one historical path: an outcome, not a probability.",
        f"First liquidation: {_first(times, liquidated)}; most liquidated in one step: {peak}; "
        f"in all {usd(float(liquidated.sum()))} liquidated.",
        f"First auto-deleveraging: {_first(times, deleveraged)}; in all {usd(float(deleveraged.sum()))} deleveraged.",
    )


def _trace_figure(reading: Reading, scenario: ScenarioView, times: Sequence[datetime], trace: np.ndarray) -> Figure:
    liquidated, deleveraged = (trace[name].sum(axis=1) for name in ("liquidated_notional", "adl_notional"))
    marks = [
        (market, trace["mark_price"][:, i] / trace["mark_price"][0, i] - 1)
        for i, market in enumerate(reading.study.markets)
    ]
    fund = trace["fund_balance"][:, 0]
    panels = (
        figures.over_time(
            "notional closed per step",
            times,
            [("liquidated", liquidated), ("deleveraged", deleveraged)],
            usd,
            bars=True,
        ),
        figures.over_time(
            "mark price since the start", times, marks, lambda value: percent(value) if value else "0 %", bars=False
        ),
        figures.over_time("insurance fund", times, [("fund", fund)], usd, bars=False),
    )
    hours = _by_interval(times, liquidated, deleveraged, fund)
    table = Table(
        "Twelve equal parts of the horizon",
        ("from (UTC)", "liquidated", "deleveraged", "insurance fund at the end"),
        hours,
        folded=True,
    )
    alt = f"Liquidated and deleveraged notional, mark prices and the insurance fund over time on {scenario.name}."
    return Figure(f"over-time-{scenario.index}", alt, f"{scenario.name}; times are UTC.", panels, table, columns=1)


def _by_interval(
    times: Sequence[datetime], liquidated: np.ndarray, deleveraged: np.ndarray, fund: np.ndarray
) -> tuple[tuple[str, ...], ...]:
    parts = [part for part in np.array_split(np.arange(len(times)), 12) if len(part)]
    return tuple(
        (
            utc(times[part[0]]),
            usd(float(liquidated[part].sum())),
            usd(float(deleveraged[part].sum())),
            usd(float(fund[part[-1]])),
        )
        for part in parts
    )
