"""The hand-over of a proposal: `proposal.md` for people, `payload.json` for machines, in the generic style.

Everything is read from the finished run: the verdict, the change in human and in raw units, the paired evidence,
what the change does to the book at t = 0, the limits of the study, and how to make it all again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stress.config import Protocol
from stress.errors import StudyError
from stress.report import contagion, heat_maps, limits, losses, markdown, payload, replays, verdict
from stress.report.document import Block, Code, Document, Section, Table, Text
from stress.report.formats import axis_label, axis_value, percent, points, span, stated, usd, utc
from stress.report.payload import DURATION, Change, Unit
from stress.report.reading import EVENTS, Reading

NOT_STATED = "not stated"


class Words(NamedTuple):
    """What only a proposer can say; whatever is left out is printed as not stated.

    tag : what stands before the title in brackets. motivation : the observed problem with dated sources, paragraphs
    apart by an empty line. why_now, author, conflicts (of interest), licence (of the text) : a line each.
    """

    author: str = NOT_STATED
    tag: str = "Risk"
    why_now: str = NOT_STATED
    motivation: str = ""
    conflicts: str = NOT_STATED
    licence: str = NOT_STATED


def write(run: Any, folder: Path | str, *, step_limit: float | None = None, **words: str) -> Path:
    """Write `proposal.md`, its figures and `payload.json` to `folder`; return the path of the text.

    Parameters
    ----------
    run : the finished run (see `stress.report.write`), of a study with `current` and `proposed`.
    step_limit : largest accepted relative change of one parameter; default: none.
    words : see `Words`.
    """
    reading = Reading(run)
    current, proposed = _venues(reading)
    handed = payload.build(current, proposed, hashes(reading), step_limit)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text, pictures = markdown.render(compose(reading, handed, Words(**words), step_limit))
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


def compose(reading: Reading, handed: dict[str, Any], words: Words, step_limit: float | None = None) -> Document:
    """Return the proposal as a document."""
    current, proposed = _venues(reading)
    changed = payload.changes(current, proposed)
    sections = (
        _header(reading, words),
        _summary(reading, changed, words),
        _parameters(reading, changed, payload.follows(current, proposed)),
        _motivation(reading, words),
        _paired(reading),
        heat_maps.section(reading),
        losses.exceedance(reading),
        losses.who_pays(reading),
        replays.section(reading),
        losses.named_cells(reading),
        contagion.section(reading),
        _at_once(reading),
        limits.failures(reading),
        limits.section(reading),
        _monitoring(reading, changed, step_limit),
        _specification(handed),
        _reproduce(reading, handed),
        _next_steps(),
        _last_words(words),
    )
    return Document(
        title=f"[{words.tag}] {reading.protocols[0].title}: {verdict.change_in_words(reading)}",
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


def _header(reading: Reading, words: Words) -> Section:
    book = reading.study.book
    snapshot = "synthetic, made with the study's seed"
    if book.kind == "snapshot":
        snapshot = f"snapshot {Path(book.path).name}, BLAKE2b {reading.study.data_hashes.get(book.path, NOT_STATED)}"
    finished = str(reading.run.diary.get("finished", ""))
    rows = (
        ("author", words.author),
        ("conflicts of interest", words.conflicts),
        ("date of the run", finished[:10] or "not recorded"),
        ("protocol", f"{reading.protocols[0].title} (preset {reading.protocols[0].name})"),
        ("state of the book", f"{snapshot}; t = 0 is the start of each path"),
        ("run", f"{reading.study.name}, study {reading.study.content_hash}"),
    )
    return Section("header", "Header", (Table("What this is", ("name", "value"), rows),))


def _motivation(reading: Reading, words: Words) -> Section:
    """The proposer's reasons, and what the run itself says of today's parameters."""
    given = [part for part in (" ".join(text.split()) for text in words.motivation.split("\n\n")) if part]
    blocks: list[Block] = [Text.of(part) for part in given or [f"The problem that the change answers: {NOT_STATED}."]]
    today = [
        f"Today's parameters in {s.name}: {reading.asked} is {reading.estimate(s, reading.current)}, {s.given}"
        + (f"; {verdict.standing_in_words(standing)} against {stated(reading.tolerance or 0)}" if standing else "")
        + "."
        for s in reading.scenarios
        if not s.one_path and reading.current is not None
        for standing in [reading.standing(reading.estimate(s, reading.current))]
    ]
    events = [
        f"{s.name}: {scenario.title}, from {utc(scenario.begins)}; {'; '.join(scenario.sources.values())}"
        if scenario.kind == "anchors"
        else f"{s.name}: history from {utc(scenario.from_)}, {scenario.replay}."
        for s in reading.scenarios
        for scenario in [reading.scenario(s)]
        if scenario.kind in ("anchors", "replay")
    ]
    blocks += [Text(tuple(today))] * bool(today)
    if events:
        blocks += [Text.of("Dated events that this study replays:"), Text(tuple(events))]
    return Section("motivation", "Motivation", tuple(blocks))


def _summary(reading: Reading, changed: list[Change], words: Words) -> Section:
    markets = sorted({change.name.partition(".")[0] for change in changed if "." in change.name})
    where = f" in {', '.join(markets)}" if markets else ""
    count = f"{len(changed)} parameter{'s' if len(changed) != 1 else ''}"
    scenarios = "; ".join(f"{s.name}, {s.given}" for s in reading.scenarios)
    lines = (
        f"Changes {count}{where}: {verdict.change_in_words(reading)}; other markets and tiers follow in scale where "
        "the table below says so.",
        f"Why now: {words.why_now}",
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


def _parameters(reading: Reading, changed: list[Change], follow: list[Change]) -> Section:
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
            Table(
                "Margin fractions that follow, rounded to the raw unit",
                columns,
                tuple(rows(follow, exact=False)),
                folded=True,
            )
        )
    markets = dict.fromkeys(change.name.partition(".")[0] for change in changed if "." in change.name)
    if untried := [name for name in markets if name not in reading.study.markets]:
        tried = ", ".join(reading.study.markets)
        blocks.append(
            Text.of(
                f"Not tried: the study simulates {tried}; what changes in {', '.join(untried)} has no evidence here. A "
                f"study with an axis of its own market, such as {reading.study.markets[0]}.leverage_cap, leaves the others."
            )
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
    head, tail = ({key: handed[key] for key in keys} for keys in (("schema", "protocol"), ("checksum",)))
    changes = [f"  {json.dumps(change, ensure_ascii=False)}" for change in handed["changes"]]
    shown = (
        f"{{{json.dumps(head)[1:-1]},",
        ' "changes": [',
        *",\n".join(changes).splitlines(),
        " ],",
        f" {json.dumps(tail)[1:-1]}}}",
    )
    lead = Text.of(
        "payload.json beside this text, with the hashes of the evidence. Its raw values were turned back into the venue "
        "and passed every bound of the venue's rules; the checksum is the BLAKE2b-128 of the rest. It is no venue's own "
        "message format."
    )
    return Section("specification", "Specification", (lead, Code(shown)))


def _monitoring(reading: Reading, changed: list[Change], step_limit: float | None) -> Section:
    """What was assumed and can be watched, how far one step goes, and the way back."""
    first = reading.scenarios[0]
    interest, fund = (reading.number(name, first, reading.headline) for name in ("open_interest", "fund"))
    depth = ", ".join(f"{name} {usd(reading.study.market.markets[name].depth_usd)}" for name in reading.study.markets)
    largest = max((abs(c.new / c.old - 1) for c in changed if c.unit is not None and c.old), default=None)
    watch = (
        f"Watch what the numbers above assume: an open interest of {usd(interest)} (long side), {usd(fund)} in the insurance "
        f"fund at the start, and a depth within 1 % of the mid of {depth} on an ordinary day. Where one of them has moved, run "
        "the study again.",
        "Step: the largest relative change of one parameter is "
        + (f"{percent(largest)}; " if largest is not None else "none; ")
        + (
            "no step limit was stated."
            if step_limit is None
            else f"the stated step limit of {percent(step_limit)} holds."
        ),
        "Next increment: another proposal with a run of its own; nothing here was tested beyond the proposed values.",
        "Roll back: execute the `from` side of payload.json.",
    )
    return Section("monitoring", "Monitoring and rollback", (Text(watch),))


def _reproduce(reading: Reading, handed: dict[str, Any]) -> Section:
    """The report's block, with the hashes of data, packages and payload."""
    section = limits.reproduce(reading)
    machine = reading.run.diary.get("machine", {})
    rows = [(f"BLAKE2b of {name}", found) for name, found in reading.study.data_hashes.items()]
    rows.append(("BLAKE2b of requirements.lock", str(machine.get("lock") or "not recorded")))
    rows.append(("commit", str((machine.get("git") or {}).get("commit", "not recorded"))))
    rows.append(("payload checksum", handed["checksum"]))
    more = Table("What else the evidence rests on", ("name", "value"), tuple(rows))
    return dataclasses.replace(section, blocks=(*section.blocks, more))


def _next_steps() -> Section:
    said = (
        "Anyone runs the command above and compares the result hash.",
        "The community discusses motivation, limits and monitoring, and corrects what they leave out.",
        "A vote; if it passes, the venue's own procedure executes the values of payload.json.",
    )
    return Section("next-steps", "Next steps", (Text(said),))


def _last_words(words: Words) -> Section:
    said = (
        "A simulation under stated assumptions: not a forecast, no advice, no warranty. Intervals say how sure the "
        "simulation is, not whether its assumptions hold.",
        f"Licence of this text: {words.licence}.",
    )
    return Section("disclaimer", "Disclaimer and licence", (Text(said),))
