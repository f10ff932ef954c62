"""Which parameter values keep the probability under the tolerance: heat maps, one per scenario and slice."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from stress.report import figures
from stress.report.document import Block, Figure, Panel, Section, Table, Text
from stress.report.formats import axis_label, percent, stated
from stress.report.reading import Reading, ScenarioView
from stress.report.verdict import standing_in_words

# Slices shown beyond the headline's own; more are in the store.
_MOST_SLICES = 12


def section(reading: Reading) -> Section | None:
    """The slice of the headline cell per scenario; the other slices folded; every cell in a table."""
    scenarios = [scenario for scenario in reading.scenarios if not scenario.one_path]
    if not scenarios or not reading.heat_axes:
        return None
    own, *others = reading.slices()
    blocks: list[Block] = [Text.of(_standings(reading, scenarios))]
    blocks.append(_figure(reading, "heat-map", scenarios, [own], _key(reading, scenarios, own)))
    if shown := others[:_MOST_SLICES]:
        left_out = f"; {len(others) - len(shown)} more are in the store" if len(shown) < len(others) else ""
        fold = f"The other slices: {', '.join(axis_label(axis) for axis in reading.slice_axes)}{left_out}"
        blocks.append(_figure(reading, "heat-map-slices", scenarios, shown, "Marks as in the figure above.", fold))
    return Section("heat-map", f"{reading.asked} across the parameters", tuple(blocks))


def _standings(reading: Reading, scenarios: Sequence[ScenarioView]) -> str:
    if reading.tolerance is None:
        return "The study names no tolerance: no cell is called safe or risky."
    said = []
    for scenario in scenarios:
        standings = [reading.standing(reading.estimate(scenario, cell)) for cell in reading.cells()]
        counts = ", ".join(
            f"{standings.count(word)} {word}"
            for word in ("safe", "risky", "undecided", "failed")
            if word in standings or word != "failed"
        )
        said.append(f"{scenario.name}: {counts}")
    level = stated(reading.study.tolerance.confidence)
    return (
        f"Each square is one combination of parameters (a cell); there are {len(standings)}. Against the "
        f"{stated(reading.tolerance)} tolerance, decided by exact {level} intervals, {'; '.join(said)}."
    )


def _key(reading: Reading, scenarios: Sequence[ScenarioView], point: dict[str, int]) -> str:
    paths = sorted({reading.estimate(scenario, reading.headline).paths for scenario in scenarios})
    fixed = reading.describe(point, reading.slice_axes)
    key = [f"At {fixed}."] * bool(fixed)
    key += [
        f"Numbers: {reading.asked} in %, {' or '.join(f'{n:,}' for n in paths)} paths a square; darker is more likely, "
        "on one scale for all reports.",
        "“<” marks a cell without a single event and gives its 95 % upper bound.",
    ]
    if reading.tolerance is not None:
        key += [
            f"Thick line: the estimate crosses the {stated(reading.tolerance)} tolerance; dashed beside an undecided cell.",
            "Hatched: undecided, the interval straddles the tolerance and more paths are needed.",
        ]
    return " ".join([*key, "● current, ★ proposed."])


def _figure(
    reading: Reading,
    name: str,
    scenarios: Sequence[ScenarioView],
    slices: Sequence[dict[str, int]],
    caption: str,
    folded: str = "",
) -> Figure:
    rows = tuple(
        _row(reading, scenario, cell)
        for point in slices
        for scenario in scenarios
        for line in reading.lines(point)
        for cell in line
    )
    columns = ("scenario", *map(axis_label, reading.cell_axes), "probability (95 % interval)", "paths", "standing")
    alt = (
        f"Heat maps of {reading.asked} by {' and '.join(map(axis_label, reading.heat_axes))}; "
        "the table below has every number."
    )
    table = Table("Every cell of the figure", columns, rows, folded=True)
    panels = tuple(_panel(reading, scenario, point, bool(folded)) for point in slices for scenario in scenarios)
    return Figure(name, alt, caption, panels, table, folded=folded)


def _row(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> tuple[str, ...]:
    estimate = reading.estimate(scenario, cell)
    standing = standing_in_words(reading.standing(estimate))
    values = (reading.value_of(axis, cell[axis]) for axis in reading.cell_axes)
    return scenario.name, *values, str(estimate), f"{estimate.paths:,}", standing


def _panel(reading: Reading, scenario: ScenarioView, point: dict[str, int], name_slice: bool) -> Panel:
    fixed = reading.describe(point, reading.slice_axes)
    *_, rows, columns = (None, *reading.heat_axes)
    cells = [[_heat_cell(reading, scenario, cell) for cell in line] for line in reading.lines(point)]
    title = f"{scenario.name} · {fixed}" if name_slice else scenario.name
    return figures.heat_map(title, _ticks(reading, rows), _ticks(reading, columns), cells)


def _ticks(reading: Reading, axis: str | None) -> tuple[str, list[str]]:
    if axis is None:
        return "", [""]
    words = [reading.value_of(axis, i) for i in range(len(reading.plan.cell_axes[axis]))]
    return axis_label(axis), [textwrap.fill(one, 12) if axis in reading.study.labels else one for one in words]


def _heat_cell(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> figures.HeatCell | None:
    estimate = reading.estimate(scenario, cell)
    if not estimate.paths:
        return None
    marks = ("●" if cell == reading.current else "") + ("★" if cell == reading.proposed else "")
    number = percent(estimate.value if estimate.events else estimate.exact_high, unit=False)
    above = reading.tolerance is not None and estimate.value > reading.tolerance
    straddles = reading.standing(estimate) == "undecided"
    return figures.HeatCell(number if estimate.events else f"<{number}", estimate.value, above, straddles, marks)
