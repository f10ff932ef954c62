"""One change at a time: each venue, or each layer switched off, against the cell that the study starts from."""

from __future__ import annotations

from collections.abc import Iterator

from stress.measures import compare_cells, compare_means
from stress.report.document import Block, Section, Table, Text
from stress.report.formats import DASH, axis_label, points, signed_usd_bounds, usd_interval
from stress.report.losses import NEVER
from stress.report.reading import PARTS, Reading, ScenarioView, is_number


def section(reading: Reading) -> Section | None:
    """A table for each scenario; nothing where no axis is a list of venues or a switch between two values."""
    cells = list(_cells(reading))
    if len(cells) < 2:
        return None
    single = all(scenario.one_path for scenario in reading.scenarios)
    paired = "changes are paired by path, with 95 % intervals; one that holds zero shows no clear effect"
    blocks: list[Block] = [
        Text.of(
            "Every row differs from the first in one axis only, and runs on the same paths: "
            f"{'single paths, so outcomes without intervals' if single else paired}. What a row does without is worth the "
            "change. A part of the loss that the rules of a row's venue make impossible is named so: it is not a loss of zero."
        )
    ]
    columns = (
        "cell",
        f"P({reading.asked[2:-1]})",
        "change of P, same paths",
        "mean mutualised loss",
        "change of the mean, same paths",
    )
    for scenario in reading.scenarios:
        counted = "one path" if scenario.one_path else "means with 95 % intervals"
        caption = f"{scenario.name}: {reading.horizon}, {counted}"
        changes = tuple((words, *_changes(reading, scenario, cell)) for words, cell in cells)
        payers = tuple((words, *_payers(reading, scenario, cell)) for words, cell in cells)
        blocks.append(Table(caption, columns, changes))
        blocks.append(Table(f"{caption}: who pays", ("cell", *reading.parts.values()), payers))
    return Section("one-change", "One change at a time", tuple(blocks))


def _cells(reading: Reading) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the headline cell, then every cell that differs from it in one venue or one switch."""
    switches = {n: v for n, v in reading.plan.cell_axes.items() if n == "protocol" or len(v) == 2}
    first = "as the study starts"
    if "protocol" in switches:
        first = reading.value_of("protocol", reading.headline["protocol"])
    yield first, reading.headline
    for name, values in switches.items():
        for index in range(len(values)):
            if index != reading.headline[name]:
                words = reading.value_of(name, index)
                named = name == "protocol" or name in reading.study.labels
                yield words if named else f"{axis_label(name)} {words}", {**reading.headline, name: index}


def _changes(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> Iterator[str]:
    if reading.failed(scenario, cell):
        yield from ("failed", *[DASH] * 3)
        return
    estimate = reading.estimate(scenario, cell)
    if scenario.one_path:
        yield "happened" if estimate.events else "did not happen"
        yield DASH
    else:
        yield str(estimate)
        yield _change(reading, scenario, cell)
    yield _mean(reading, scenario, cell, "mutualised_loss")
    yield DASH if scenario.one_path else _change_of_mean(reading, scenario, cell)


def _payers(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> Iterator[str]:
    for part in PARTS:
        yield _mean(reading, scenario, cell, part) if reading.possible(part, cell) else NEVER


def _change(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> str:
    if cell == reading.headline:
        return DASH
    here, grid = reading.place(scenario), (reading.data, reading.run.losses)
    found = compare_cells(grid, grid, here | reading.headline, here | cell, reading.event)
    return points(found.low, found.value, found.high)


def _change_of_mean(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> str:
    if cell == reading.headline:
        return DASH
    here = reading.place(scenario)
    value, low, high = compare_means(reading.data, here | reading.headline, here | cell, "mutualised_loss")
    return signed_usd_bounds(value, low, high)


def _mean(reading: Reading, scenario: ScenarioView, cell: dict[str, int], outcome: str) -> str:
    mean, error = (reading.number(f"{stem}_{outcome}", scenario, cell) for stem in ("mean", "se"))
    return usd_interval(mean, error if is_number(error) else 0.0) if is_number(mean) else "failed"
