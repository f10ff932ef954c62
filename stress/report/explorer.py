"""Slices through every dimension of the grid, for the page's own script: each cell's value, words and standing.

The script only chooses what to show; every number was worded here, so that it says the same as the tables.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from stress.measures import mean_over_blocks
from stress.report.document import Explorer, Section
from stress.report.figures import RISK_RANGE
from stress.report.formats import axis_label, percent, usd, usd_bounds
from stress.report.reading import EVENTS, Reading, ScenarioView, is_number

# Characters of the page's data; what would go beyond is left out and named, and the store has it.
_BUDGET = 6_000_000
_SHADES = 12
_MONEY = {
    "mutualised_loss": "mean mutualised loss",
    "bad_debt": "mean bad debt",
    "liquidated_notional": "mean liquidated notional",
    "adl_notional": "mean deleveraged notional",
}


def section(reading: Reading) -> Section | None:
    """Every cell of the grid, two dimensions at a time; nothing where there is only one cell."""
    axes = {"scenario": tuple(reading.plan.path_axes["scenario"]), **_others(reading)}
    cells = math.prod(len(values) for values in axes.values())
    if cells == 1:
        return None
    views: list[dict[str, Any]] = []
    left_out: list[str] = []
    used = 0
    for measure, places, entries_of in _measures(reading, axes):
        # An index for each cell is the least that a view takes.
        fits = not views or used + cells * len(places) * len(str(cells)) < _BUDGET
        for place, entries in zip(places, entries_of() if fits else itertools.repeat(None), strict=False):
            view = (
                {"measure": measure, "place": place, **_worded(entries, chance=measure.startswith("P("))}
                if entries is not None
                else {}
            )
            size = len(json.dumps(view, ensure_ascii=False, separators=(",", ":")))
            if views and (not view or used + size > _BUDGET):
                left_out.append(f"{measure}, {place}" if place else measure)
            else:
                used += size
                views.append(view)
    rows, columns = _first_two(reading, axes)
    start = {"scenario": 0, **reading.neutral, **reading.headline}
    data = {
        "axes": [
            {
                "label": axis_label(name),
                "values": [reading.value_of(name, i) for i in range(len(values))],
                "at": start[name],
            }
            for name, values in axes.items()
        ],
        "rows": rows,
        "columns": columns,
        "views": views,
        "view": 0,
        "marks": [[mark, *_marked(reading, cell, axes)] for mark, cell in _named(reading)],
        "palette": _palette(),
    }
    caption = (
        "Choose a measure, two dimensions and the values of the others. Point at a cell, or move with the arrow keys, "
        "to read its interval. ● current, ★ proposed; hatched: undecided against the tolerance."
    )
    if left_out:
        caption += (
            f" Left out, since {cells:,} cells make the page too large (grid.zarr holds them): {'; '.join(left_out)}."
        )
    return Section("explore", "Every dimension", (Explorer(caption, data),))


def _measures(
    reading: Reading, axes: dict[str, tuple[Any, ...]]
) -> Iterator[tuple[str, tuple[str, ...], Callable[[], Iterable[Sequence[Any]]]]]:
    """Yield a measure, its places and what gives their cells: the event that was asked for first, then how much."""
    for event in sorted(EVENTS, key=lambda name: name != reading.event):
        yield f"P({EVENTS[event]})", ("",), partial(lambda name: [list(_events(reading, axes, name))], event)
    for outcome, words in _MONEY.items():
        places = ("all markets", *reading.study.markets)
        yield words, places, partial(lambda name: zip(*_money(reading, axes, name), strict=True), outcome)


def _others(reading: Reading) -> dict[str, tuple[Any, ...]]:
    return {
        name: tuple(v) for name, v in (reading.plan.path_axes | reading.plan.cell_axes).items() if name != "scenario"
    }


def _first_two(reading: Reading, axes: dict[str, tuple[Any, ...]]) -> tuple[int, int]:
    """Return which axes are rows and columns at first: those of the heat map, else the longest."""
    order = list(axes)
    wide = [*reading.heat_axes, *(n for n in sorted(axes, key=lambda n: -len(axes[n])) if n not in reading.heat_axes)]
    rows, columns = (wide[0], wide[1]) if len(wide) > 1 else (wide[0], wide[0])
    return order.index(rows), order.index(columns)


def _points(reading: Reading, axes: dict[str, tuple[Any, ...]]) -> Iterator[tuple[ScenarioView, dict[str, int]]]:
    """Yield every cell in the order in which the script counts: the last axis runs fastest."""
    for index in itertools.product(*(range(len(values)) for values in axes.values())):
        at = dict(zip(axes, index, strict=True))
        yield reading.scenarios[at.pop("scenario")], at


def _named(reading: Reading) -> list[tuple[str, dict[str, int]]]:
    named = (("●", reading.current), ("★", reading.proposed))
    return [(mark, cell) for mark, cell in named if cell is not None]


def _marked(reading: Reading, cell: dict[str, int], axes: dict[str, tuple[Any, ...]]) -> list[int | None]:
    """Return a cell's place on every axis; null where the mark holds for every value."""
    at = {**reading.neutral, **cell}
    return [at.get(name) for name in axes]


def _events(reading: Reading, axes: dict[str, tuple[Any, ...]], event: str) -> Iterator[tuple[float, str, str, bool]]:
    for scenario, at in _points(reading, axes):
        found = reading.estimate(scenario, at, event)
        if not found.paths:
            yield math.nan, "failed", "failed", False
        elif scenario.one_path:
            said = "happened" if found.events else "no"
            yield float(found.events), said, f"{said}: one path, an outcome and not a probability", False
        else:
            number = percent(found.value if found.events else found.exact_high, unit=False)
            standing = reading.standing(found) if event == reading.event else None
            full = f"{found}, 95 % interval, {found.paths:,} paths, {reading.horizon}"
            full += f"; {standing}" if standing else ""
            yield found.value, number if found.events else f"<{number}", full, standing == "undecided"


def _money(
    reading: Reading, axes: dict[str, tuple[Any, ...]], outcome: str
) -> Iterator[list[tuple[float, str, str, bool]]]:
    """Yield per cell the entries of all markets together and of each."""
    count = reading.data["block_paths"]
    sums = reading.data[f"block_sum_{outcome}_by_market"].sum("component").where(count > 0, 0.0)
    ends = [bound.transpose(*axes, "market").values for bound in mean_over_blocks(sums, count).values()]
    for scenario, at in _points(reading, axes):
        place = (scenario.index, *at.values())
        bounds = [bound[place] for bound in ends]
        mean, error = (float(reading.array(f"{stem}_{outcome}", scenario, at)) for stem in ("mean", "se"))
        half = 1.959963984540054 * error
        yield [_amount(reading, scenario, mean, mean - half, mean + half)] + [
            _amount(reading, scenario, *map(float, market)) for market in zip(*bounds, strict=True)
        ]


def _amount(
    reading: Reading, scenario: ScenarioView, mean: float, low: float, high: float
) -> tuple[float, str, str, bool]:
    if not is_number(mean):
        return math.nan, "failed", "failed", False
    if scenario.one_path:
        return mean, usd(mean), f"{usd(mean)}, one path: an outcome", False
    known = is_number(high) and high > low
    full = (
        f"{usd_bounds(mean, max(low, 0.0), high)}, 95 % interval" if known else f"{usd(mean)}, no interval: no spread"
    )
    return mean, usd(mean), f"{full}, {reading.horizon}", False


def _worded(entries: Any, *, chance: bool) -> dict[str, Any]:
    """Return each distinct [shade, short words, full words, 1 if undecided] once, and for every cell which it is.

    Shades are logarithmic: of a chance on the scale of all heat maps, of money over one view.
    """
    seen = RISK_RANGE if chance else [value for value, *_ in entries if value > 0]
    low, high = (math.log(min(seen)), math.log(max(seen))) if seen else (0.0, 0.0)

    def shade(value: float) -> int:
        if not value > 0:
            return 0
        return max(0, round((math.log(value) - low) / (high - low) * (_SHADES - 1))) if high > low else _SHADES // 2

    known: dict[tuple[int, str, str, int], int] = {}
    cells = [
        known.setdefault((-1 if value != value else shade(value), short, full, int(flag)), len(known))
        for value, short, full, flag in entries
    ]
    return {"entries": [list(entry) for entry in known], "cells": cells}


def _palette() -> list[list[str]]:
    """Return (fill, ink) per shade: lightness falls steadily."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    fills = mpl.colormaps["cividis_r"](np.linspace(0.0, 1.0, _SHADES))
    return [[to_hex(fill), "#fff" if fill[:3] @ (0.299, 0.587, 0.114) < 0.5 else "#000"] for fill in fills]
