"""Two runs side by side: the named cells, on the paths that both have seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stress import grid, measures
from stress.errors import StoreError
from stress.runs.finished import Run


@dataclass(frozen=True)
class Comparison:
    """One named cell in two runs: P(event) in the second minus that in the first."""

    cell: str
    scenario: str
    first: str
    second: str
    difference: measures.Difference


def compare(first: Run, second: Run, event: str = "mutualised_loss") -> list[Comparison]:
    """Compare the current and the proposed cell of two runs, scenario by scenario.

    Scenarios are matched by name, other path axes by value. On common paths (equal hashes) the
    difference is paired; without any it is that of two independent runs and says so.
    """
    if event not in (names := [term.name for term in grid.EVENTS]):
        raise StoreError("is not an event of the store", key="event", value=event, fix="one of " + ", ".join(names))
    found = []
    for name in ("current", "proposed"):
        cells = [list(run.data.attrs[f"{name}_index"]) for run in (first, second)]
        if not all(len(cell) == len(run.plan.cell_axes) for cell, run in zip(cells, (first, second), strict=True)):
            continue
        for point in first.plan.path_points:
            other = next((p for p in second.plan.path_points if p.values == point.values), None)
            if other is None:
                continue
            at = [
                dict(zip((*run.plan.path_axes, *run.plan.cell_axes), (*p.index, *cell), strict=True))
                for run, p, cell in zip((first, second), (point, other), cells, strict=True)
            ]
            counts = [
                (int(run.data[f"events_{event}"].isel(place)), int(run.data["paths"].isel(place)))
                for run, place in zip((first, second), at, strict=True)
            ]
            if not all(paths for _, paths in counts):
                continue  # a failed cell is named in its own report
            pair = ((first.data, first.losses), (second.data, second.losses))
            difference = measures.compare_cells(*pair, *at, event)
            found.append(
                Comparison(
                    name,
                    ", ".join(str(value) for value in point.values.values()),
                    *(measures.describe_estimate(*count) for count in counts),
                    difference,
                )
            )
    if not found:
        raise StoreError("the two runs share no scenario and no named cell", file=f"{first.path}, {second.path}")
    return found


def comparison_table(comparisons: list[Comparison]) -> Any:
    """Return what `rich` prints of a comparison."""
    from rich.table import Table

    table = Table("cell", "scenario", "first", "second", "second - first", "paths in common", caption="95 % intervals")
    for one in comparisons:
        paths = f"{one.difference.paths:,}" if one.difference.paths else "none: independent runs"
        table.add_row(one.cell, one.scenario, one.first, one.second, str(one.difference), paths)
    return table
