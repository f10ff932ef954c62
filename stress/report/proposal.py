"""The hand-over of a proposal: `proposal.md` for people, `payload.json` for machines, in the generic style.

Everything is read from the finished run: the verdict, the change in human and in raw units, the paired evidence,
what the change does to the book at t = 0, the limits of the study, and how to make it all again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stress.config import Protocol
from stress.errors import StudyError
from stress.report import contagion, heat_maps, limits, losses, markdown, payload, verdict
from stress.report.document import Block, Code, Document, Section, Table, Text
from stress.report.formats import axis_label, axis_value, points, span, usd
from stress.report.payload import DURATION, Change, Unit
from stress.report.reading import EVENTS, Reading


def write(
    run: Any, folder: Path | str, *, author: str = "", tag: str = "Risk", step_limit: float | None = None
) -> Path:
    """Write `proposal.md`, its figures and `payload.json` to `folder`; return the path of the text.

    Parameters
    ----------
    run : the finished run (see `stress.report.write`), of a study with `current` and `proposed`.
    author : who proposes; empty = left for who posts it.
    tag : what stands before the title in brackets.
    step_limit : largest accepted relative change of one parameter; default: none.
    """
    reading = Reading(run)
    current, proposed = _venues(reading)
    handed = payload.build(current, proposed, hashes(reading), step_limit)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, pictures = markdown.render(compose(reading, handed, author, tag))
    for name, picture in pictures.items():
        folder.joinpath(name).write_bytes(picture)
    folder.joinpath("payload.json").write_text(
        json.dumps(handed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    page = folder / "proposal.md"
    page.write_text(text, encoding="utf-8")
    return page


def hashes(reading: Reading) -> dict[str, str]:
    """Return the hashes by which the evidence is known."""
    named = ("study_hash", "result_hash", "source_hash")
    return {name: str(reading.data.attrs[name]) for name in named}


def compose(reading: Reading, handed: dict[str, Any], author: str, tag: str) -> Document:
    """Return the proposal as a document."""
    current, proposed = _venues(reading)
    sections = (
        _header(reading, author),
        _summary(reading, payload.changes(current, proposed)),
        _parameters(payload.changes(current, proposed), payload.follows(current, proposed)),
        _at_once(reading),
        _paired(reading),
        heat_maps.section(reading),
        losses.exceedance(reading),
        losses.who_pays(reading),
        losses.named_cells(reading),
        contagion.section(reading),
        limits.failures(reading),
        limits.section(reading),
        _specification(handed),
        limits.reproduce(reading),
        _last_words(),
    )
    return Document(
        title=f"[{tag}] {reading.protocols[0].title}: {verdict.change_in_words(reading)}",
        question=reading.study.question,
        verdict=_verdict(reading),
        sections=tuple(section for section in sections if section is not None),
        identity=limits.identity(reading),
    )


def _venues(reading: Reading) -> tuple[Protocol, Protocol]:
    plan = reading.plan
    if plan.current_index is None or plan.proposed_index is None or plan.current_index == plan.proposed_index:
        raise StudyError(
            "a proposal needs a current and another, proposed cell",
            file=str(reading.run.path),
            key="proposed",
            fix="state `proposed:` in the study, and `current:` where the preset's own values are not on the grid",
        )
    current, proposed = plan.cell(plan.current_index), plan.cell(plan.proposed_index)
    if current.protocol.name != proposed.protocol.name:
        raise StudyError(
            "a proposal changes parameters of one protocol",
            key="proposed.protocol",
            value=proposed.protocol.name,
            fix=f"propose a cell of {current.protocol.name}; `perpstress report` compares protocols",
        )
    return current.protocol, proposed.protocol


def _verdict(reading: Reading) -> Any:
    """Return the report's verdict, with what a voter also needs to know in the small print."""
    given = verdict.give(reading)
    carried = [
        f"{name} {usd(reading.number('open_interest', reading.scenarios[0], cell))}" for name, cell in reading.pair
    ]
    extra = (
        f"Open interest carried: {', '.join(carried)}.",
        "Not covered: depositors, traders and market makers who act by choice within the horizon, losses outside "
        "the stated scenarios, and everything under “Assumptions and limits”.",
    )
    return dataclasses.replace(given, small_print=(*extra, *given.small_print))


def _header(reading: Reading, author: str) -> Section:
    book = reading.study.book
    snapshot = (
        f"snapshot {Path(book.path).name}" if book.kind == "snapshot" else "synthetic, made with the study's seed"
    )
    finished = str(reading.run.diary.get("finished", ""))[:10]
    rows = (
        ("author", author or "not stated"),
        ("date of the run", finished or "not recorded"),
        ("protocol", f"{reading.protocols[0].title} (preset {reading.protocols[0].name})"),
        ("state of the book", f"{snapshot}; t = 0 is the start of each path"),
        ("run", f"{reading.study.name}, study {reading.study.content_hash}"),
    )
    return Section("header", "Header", (Table("What this is", ("name", "value"), rows),))


def _summary(reading: Reading, changed: list[Change]) -> Section:
    markets = sorted({change.name.partition(".")[0] for change in changed if "." in change.name})
    where = f" in {', '.join(markets)}" if markets else ""
    count = f"{len(changed)} parameter{'s' if len(changed) != 1 else ''}"
    scenarios = "; ".join(f"{s.name} ({s.given})" for s in reading.scenarios)
    lines = (
        f"Changes {count}{where}: {verdict.change_in_words(reading)}; other markets and tiers follow in scale where "
        "the table below says so.",
        f"Asked: {reading.study.question}",
        f"Evidence: {scenarios}; horizon {reading.horizon}, step {span(reading.study.step)}, every cell on the same paths.",
    )
    return Section("summary", "Summary", (Text(lines),))


def _said(value: Any, unit: Unit | None, name: str) -> str:
    field = name.rpartition(".")[2]
    if unit is payload.FRACTION:
        return f"{100 * value:.6g} %"
    if unit is not None and unit.human == "USD":
        return usd(value)
    if unit == DURATION:
        return span(value)
    return axis_value(field, value)


def _change(change: Change) -> str:
    if change.unit is None:
        return "–"
    if change.old == 0:
        return f"+{_said(change.new, change.unit, change.name)}"
    return f"{100 * (change.new / change.old - 1):+.3g} %".replace("-", "−")


def _parameters(changed: list[Change], follow: list[Change]) -> Section:
    def rows(listed: list[Change], *, exact: bool) -> Iterator[tuple[str, ...]]:
        for change in listed:
            unit = change.unit
            raws = (
                payload.to_raw(value, unit, change.name) if exact or unit is None else payload.nearest_raw(value, unit)
                for value in (change.old, change.new)
            )
            yield (
                axis_label(change.name),
                change.rule,
                _said(change.old, unit, change.name),
                _said(change.new, unit, change.name),
                _change(change),
                *(f"{raw:,}" if isinstance(raw, int) else str(raw) for raw in raws),
                unit.raw if unit else "as is",
            )

    columns = ("parameter", "rule", "current", "proposed", "change", "raw current", "raw proposed", "raw unit")
    blocks: list[Block] = [Table("Parameters that change", columns, tuple(rows(changed, exact=True)))]
    if follow:
        blocks.append(
            Table("Margin fractions that follow, rounded to the raw unit", columns, tuple(rows(follow, exact=False)))
        )
    return Section("parameters", "Parameters: current → proposed", tuple(blocks))


def _at_once(reading: Reading) -> Section:
    """What the change makes liquidatable on the book at t = 0: as it stands, and after the traders' response."""
    rows = []
    for scenario in reading.scenarios:
        for name, cell in reading.pair:
            due, notional = reading.run.liquidatable(scenario.name, cell)
            after = reading.number("mean_liquidatable_at_start", scenario, cell)
            rows.append(
                (
                    scenario.name,
                    name,
                    f"{int(due.sum()):,} of {len(due):,}",
                    f"{usd(float(notional[due].sum()))} of {usd(float(notional.sum()))}",
                    f"{after:,.0f}" if after == after else "failed",
                )
            )
    columns = (
        "scenario", "terms", "accounts liquidatable as the book stands", "their notional, both sides",
        "accounts after the traders' response",
    )  # fmt: skip
    lead = Text.of(
        "An account is liquidatable if its equity lies strictly below its maintenance requirement at the prices of "
        "t = 0. The book is the one made at the current parameters; the last column is after the declared response "
        f"({reading.study.traders})."
    )
    return Section("at-once", "Immediate effect on the book at t = 0", (lead, Table("At t = 0", columns, tuple(rows))))


def _paired(reading: Reading) -> Section | None:
    rows = []
    for scenario in reading.scenarios:
        for event, words in EVENTS.items():
            found = None if scenario.one_path else verdict.difference_of(reading, scenario, event)
            if found is not None:
                discordant = "–" if found.only_a is None else f"{found.only_b:,} and {found.only_a:,}"
                exact = "–" if found.p_value is None else f"{found.p_value:.2g}"
                change = points(found.low, found.value, found.high)
                rows.append((scenario.name, f"P({words})", change, f"{found.paths:,}", discordant, exact))
    if not rows:
        return None
    columns = (
        "scenario", "event", "proposed minus current (95 %)", "common paths",
        "paths with it under proposed only and under current only", "exact McNemar p",
    )  # fmt: skip
    caption = f"Paired differences on the same paths, {reading.horizon}"
    return Section("difference", "Difference on the same paths", (Table(caption, columns, tuple(rows)),))


def _specification(handed: dict[str, Any]) -> Section:
    shown = {key: handed[key] for key in ("schema", "protocol", "changes", "checksum")}
    lead = Text.of(
        "payload.json beside this text, with the hashes of the evidence. Its raw values were turned back into the venue "
        "and passed every bound of the venue's rules; the checksum is the BLAKE2b-128 of the rest. It is no venue's own "
        "message format."
    )
    return Section("specification", "Specification", (lead, Code(tuple(json.dumps(shown, indent=1).splitlines()))))


def _last_words() -> Section:
    return Section(
        "disclaimer",
        "Disclaimer",
        (Text.of("A simulation under stated assumptions: not a forecast, no advice, no warranty. Intervals say how sure the "
                 "simulation is, not whether its assumptions hold."),),
    )  # fmt: skip
