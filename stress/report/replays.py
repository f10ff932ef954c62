"""What happened on a historical path, in UTC: one path is an outcome, not a probability."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from stress.report import figures
from stress.report.document import Block, Figure, Panel, Section, Table, Text
from stress.report.formats import DASH, axis_label, percent, rounded_usd, stated, usd, utc
from stress.report.reading import Reading, ScenarioView

# A second drawing shows single steps this far around the worst one, if the horizon is much longer.
_AROUND = timedelta(minutes=45)
# Rows of the table under the figure.
_PARTS = 12
# A longer table of cells is folded.
_MOST_ROWS = 12
_MEASURES = {
    "liquidated_notional": "liquidated",
    "adl_notional": "deleveraged",
    "adl_share": "deleveraged, share of liquidated",
    "fund_used": "paid by the fund ÷ its balance at the start",
}


class Story(NamedTuple):
    """One replayed path of the headline cell: times (S + 1), USD per step summed over markets, and the trace."""

    times: Sequence[datetime]
    liquidated: np.ndarray
    deleveraged: np.ndarray
    trace: np.ndarray

    def first(self, amounts: np.ndarray) -> datetime | None:
        """Return the time of the first step with an amount, if there is one."""
        hit = np.flatnonzero(amounts > 0)
        return self.times[hit[0]] if len(hit) else None


def story(reading: Reading, scenario: ScenarioView) -> Story | None:
    """Return what happened on a replay, or None for a scenario without dates or a cell without a result."""
    start = reading.start_of(scenario)
    if start is None or reading.failed(scenario, reading.headline):
        return None
    trace = reading.trace(scenario)
    step = timedelta(seconds=reading.seconds_per_step(scenario))
    liquidated, deleveraged = (trace[name].sum(axis=1) for name in ("liquidated_notional", "adl_notional"))
    return Story([start + step * i for i in range(len(trace))], liquidated, deleveraged, trace)


def section(reading: Reading) -> Section | None:
    """Each replay: first and largest liquidation, first deleveraging, and the course of the day; then every cell."""
    blocks: list[Block] = []
    for scenario in reading.scenarios:
        told = story(reading, scenario)
        if told is not None:
            blocks += [_words(scenario, told), _figure(reading, scenario, told)]
    if facts := _realised(reading):
        blocks.append(facts)
    if (reading.cell_axes or reading.path_axes) and any(scenario.one_path for scenario in reading.scenarios):
        blocks.append(_every_cell(reading))
    return Section("over-time", "What happened, step by step", tuple(blocks)) if blocks else None


def _realised(reading: Reading) -> Table | None:
    """Hold each replay against what the event did, where its scenario says so."""
    told = [(scenario, story(reading, scenario)) for scenario in reading.scenarios if scenario.kind == "replay"]
    found = [(scenario, known) for scenario, known in told if known is not None and reading.scenario(scenario).realised]
    rows = tuple(
        (
            f"{scenario.name}: {_MEASURES[fact.measure]}",
            _in_words(fact.measure, _simulated(reading, scenario, known, fact.measure)),
            _in_words(fact.measure, fact.value),
            fact.of,
            f"{fact.known}: {fact.source}",
        )
        for scenario, known in found
        for fact in reading.scenario(scenario).realised
    )
    caption = (
        f"Simulated against realised, {_cell_words(reading)}. Book and open interest are the study's and not the venue's of "
        "that day, so shares can be held against each other, amounts only in order of magnitude. Liquidated counts what "
        "deleveraging closed too, as the fills of a venue do"
    )
    return (
        Table(caption, ("measure", "simulated here", "realised", "where and when", "how known"), rows) if rows else None
    )


def _simulated(reading: Reading, scenario: ScenarioView, told: Story, measure: str) -> float | None:
    # A contract that a winner takes is closed for the account that fails: both of its fills are in a venue's tape.
    deleveraged = float(told.deleveraged.sum())
    liquidated = float(told.liquidated.sum()) + deleveraged
    if measure == "fund_used":
        paid = reading.number("mean_fund_paid", scenario, reading.headline)
        return paid / reading.fund if 0 < reading.fund < float("inf") else None
    if measure == "adl_share":
        return deleveraged / liquidated if liquidated else None
    return liquidated if measure == "liquidated_notional" else deleveraged


def _in_words(measure: str, value: float | None) -> str:
    if value is None:
        return "none"
    return percent(value) if measure in ("adl_share", "fund_used") else usd(value)


def _every_cell(reading: Reading) -> Table:
    """Return one row for each path, value of a path axis (depth, volatility) and cell."""
    outcomes = ("mutualised_loss", "bad_debt", "liquidated_notional", "adl_notional")
    axes = tuple(name for name in reading.path_axes if len(reading.plan.path_axes[name]) > 1)
    moved = [
        dict(zip(axes, index, strict=True))
        for index in itertools.product(*(range(len(reading.plan.path_axes[name])) for name in axes))
    ]
    rows = []
    for scenario in (one for one in reading.scenarios if one.one_path):
        for point in moved:
            for cell in reading.cells():
                amounts = [reading.number(f"mean_{outcome}", scenario, cell | point) for outcome in outcomes]
                closed = amounts[2] + amounts[3]
                names = (
                    reading.value_of(axis, at) for axis, at in (point | {n: cell[n] for n in reading.cell_axes}).items()
                )
                share = percent(amounts[3] / closed) if closed > 0 else DASH
                rows.append((scenario.name, *names, *map(usd, amounts), share))
    heads = (outcome.replace("_", " ").replace("adl", "deleveraged") for outcome in outcomes)
    columns = ("path", *map(axis_label, (*axes, *reading.cell_axes)), *heads, "deleveraged, share of all closed")
    caption = "Every cell on these paths: outcomes, no probabilities"
    return Table(caption, columns, tuple(rows), folded=len(rows) > _MOST_ROWS)


def _words(scenario: ScenarioView, told: Story) -> Text:
    lines = [f"{scenario.name}, {scenario.given}: an outcome, not a probability."]
    for name, amounts in (("liquidation", told.liquidated), ("auto-deleveraging", told.deleveraged)):
        first = told.first(amounts)
        if first is None:
            lines.append(f"No {name}.")
            continue
        peak = told.times[int(np.argmax(amounts))]
        lines.append(
            f"First {name}: {utc(first)}; most in one step: {usd(float(amounts.max()))} at {utc(peak)}; "
            f"in all {usd(float(amounts.sum()))}."
        )
    return Text(tuple(lines))


def _figure(reading: Reading, scenario: ScenarioView, told: Story) -> Figure:
    marks = told.trace["mark_price"]
    moves = [(market, marks[:, i] / marks[0, i] - 1) for i, market in enumerate(reading.study.markets)]
    fund = told.trace["fund_balance"][:, 0]
    panels = [_closed("notional closed per step", told, slice(None))]
    if told.liquidated.any() and told.times[-1] - told.times[0] > 4 * _AROUND:
        worst = told.times[int(np.argmax(told.liquidated))]
        inside = [i for i, time in enumerate(told.times) if abs(time - worst) <= _AROUND]
        panels.append(_closed("the same around the worst step", told, slice(inside[0], inside[-1] + 1)))
    panels.append(figures.over_time("mark price since the start", told.times, moves, stated, bars=False))
    if fund.any():
        panels.append(figures.over_time("insurance fund", told.times, [("fund", fund)], rounded_usd, bars=False))
    parts = [part for part in np.array_split(np.arange(len(told.times)), _PARTS) if len(part)]
    rows = tuple(
        (
            utc(told.times[part[0]]),
            usd(float(told.liquidated[part].sum())),
            usd(float(told.deleveraged[part].sum())),
            usd(float(fund[part[-1]])),
        )
        for part in parts
    )
    heads = ("from", "liquidated", "deleveraged", "insurance fund at the end")
    table = Table(f"{len(parts)} equal parts of the horizon", heads, rows, folded=True)
    alt = f"Liquidated and deleveraged notional, mark prices and the insurance fund over time on {scenario.name}."
    caption = f"{scenario.name}, {scenario.given}; {_cell_words(reading)}; times are UTC."
    return Figure(f"over-time-{scenario.index}", alt, caption, tuple(panels), table)


def _cell_words(reading: Reading) -> str:
    return reading.describe(reading.headline) or "the venue's own parameters"


def _closed(title: str, told: Story, part: slice) -> Panel:
    amounts = [("liquidated", told.liquidated[part])]
    if told.deleveraged.any():
        amounts.append(("deleveraged", told.deleveraged[part]))
    return figures.over_time(title, told.times[part], amounts, rounded_usd, bars=True)
