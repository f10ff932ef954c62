"""The one table of a set of files: what each holds and every defect found, grouped over series or one row for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stress.observations.defects import Defect, bar_of
from stress.observations.kinds import Observations
from stress.observations.repairs import offered

COLUMNS = ("file", "defect", "series", "rows", "what, where first or worst", "repair")


class Row(NamedTuple):
    """One row of the table; `wrong` marks what is refused until a rule repairs it."""

    file: str
    defect: str
    series: str
    rows: int
    what: str
    repair: str
    wrong: bool


def describe(seen: Observations) -> Row:
    """Return the head row of a file: kind, span, and how it was read."""
    series, times = seen.series, seen.table["ts"].dropna()
    bar = bar_of(series) if seen.kind == "bars" else None
    kind = f"{seen.kind.replace('_', ' ')}{f' of {bar:g} s' if bar else ''}"
    span = f"{times.min():%Y-%m-%d %H:%M} to {times.max():%Y-%m-%d %H:%M}" if len(times) else "no readable time"
    said = "; ".join((f"{kind}, {span}, as {seen.source}", *seen.read_as))
    names = str(len(series)) if len(series) > 1 else series[0][0]
    return Row(_name(seen), "", names, len(seen.table), said, "", wrong=False)


def rows(seen: Observations, found: Sequence[Defect], *, each: bool = False) -> list[Row]:
    """Return the rows of a file's defects; without `each`, one for each defect with its worst series."""
    if not found:
        return [Row("", "none found", "", 0, "", "", wrong=False)]
    groups: dict[tuple[str, str], list[Defect]] = {}
    for defect in sorted(found, key=lambda d: (not d.wrong, d.name)):
        groups.setdefault((defect.name, defect.series if each else ""), []).append(defect)
    return [_row(members, seen.kind) for members in groups.values()]


def _row(members: list[Defect], kind: str) -> Row:
    worst = max(members, key=lambda defect: defect.count)
    names = {defect.series for defect in members}
    series = worst.series or "the file"
    if len(names) > 1:
        series = f"{len(names)}, most {series}"
    shown = worst.key and worst.value is not None and not worst.key.startswith("ts")
    value = f" {worst.key} {worst.value:g}" if shown and isinstance(worst.value, float) else ""
    value = f" {worst.key} {worst.value!r}" if shown and not value else value
    at = f" (line {worst.line}{', ' + worst.where if worst.where else ''}{value})"
    count = sum(defect.count for defect in members)
    return Row("", worst.name, series, count, worst.rule + at, " | ".join(offered(worst.name, kind)), worst.wrong)


def _name(seen: Observations) -> str:
    return seen.file.replace("\\", "/").rsplit("/", 1)[-1]
