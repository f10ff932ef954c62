"""Two runs side by side: the named cells, on the paths that both have seen."""

from __future__ import annotations

from collections.abc import Mapping
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
        cells = getattr(first.plan, f"{name}_index"), getattr(second.plan, f"{name}_index")
        if None in cells:
            continue
        for point in first.plan.path_points:
            other = next((p for p in second.plan.path_points if p.values == point.values), None)
            if other is None:
                continue
            at_first, at_second = first.place(point.index, cells[0]), second.place(other.index, cells[1])
            one, two = _estimate(first, at_first, event), _estimate(second, at_second, event)
            if one is None or two is None:
                continue  # a failed cell is named in its own report
            difference = measures.compare_cells(
                (first.data, first.losses), (second.data, second.losses), at_first, at_second, event
            )
            found.append(Comparison(name, ", ".join(map(str, point.values.values())), one, two, difference))
    if not found:
        raise StoreError("the two runs share no scenario and no named cell", file=f"{first.path}, {second.path}")
    return found


def _estimate(run: Run, at: Mapping[str, int], event: str) -> str | None:
    events, paths = (int(run.data[name].isel(at)) for name in (f"events_{event}", "paths"))
    return measures.describe_estimate(events, paths) if paths else None


def comparison_table(comparisons: list[Comparison]) -> Any:
    """Return what `rich` prints of a comparison."""
    from rich.table import Table

    table = Table("cell", "scenario", "first", "second", "second - first", "paths in common", caption="95 % intervals")
    for one in comparisons:
        paths = f"{one.difference.paths:,}" if one.difference.paths else "none: independent runs"
        table.add_row(one.cell, one.scenario, one.first, one.second, str(one.difference), paths)
    return table
