"""The answer in plain words: is it safer, by how much, how sure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from stress.design import addressed, parameters
from stress.measures import Difference, Standing, compare_cells
from stress.measures import unconditional as weighted_by_share
from stress.report.document import Table, Verdict
from stress.report.formats import (
    axis_label,
    digits_that_add_up,
    percent,
    point_parts,
    points,
    probability,
    stated,
    usd,
    utc,
)
from stress.report.reading import EVENTS, Estimate, Reading, ScenarioView
from stress.report.replays import story

Direction = Literal["riskier", "safer", "no clear effect"]
_WORDS = 60  # of the verdict box: headline, sentence and how sure
_SEVERITY: dict[Standing | None, int] = {"failed": 0, None: 1, "safe": 1, "undecided": 2, "risky": 3}


def difference_of(reading: Reading, scenario: ScenarioView, event: str | None = None) -> Difference | None:
    """Return proposed minus current probability on the same paths, or None where it is not asked or not known.

    `event`: default the one that the tolerance is about.
    """
    if reading.current is None or reading.proposed is None or reading.current == reading.proposed:
        return None
    here, event = reading.place(scenario), event or reading.event
    grid = (reading.data, reading.run.losses)
    failed = any(reading.failed(scenario, cell) for cell in (reading.current, reading.proposed))
    return None if failed else compare_cells(grid, grid, here | reading.current, here | reading.proposed, event)


def more_digits(reading: Reading, scenario: ScenarioView, event: str | None = None) -> int:
    """Return how many digits more current, proposed and change need until they add up as printed."""
    difference = difference_of(reading, scenario, event)
    if difference is None:
        return 0
    before, after = (reading.estimate(scenario, cell, event or reading.event) for _, cell in reading.pair)
    if not (before.open and after.open):  # a bound is printed, and adds up to nothing
        return 0
    return digits_that_add_up(before.value, after.value, difference.low, difference.value, difference.high)


def direction(difference: Difference) -> Direction:
    """Return which way the proposal moves the probability, as far as the interval shows it."""
    if not difference.significant:
        return "no clear effect"
    return "riskier" if difference.value > 0 else "safer"


def give(reading: Reading) -> Verdict:
    """Return the verdict on the proposed cell, or on the current one where nothing is proposed."""
    random = [scenario for scenario in reading.scenarios if not scenario.one_path]
    if not random:
        return _outcome(reading)
    headline = reading.headline
    estimates = {scenario.name: reading.estimate(scenario, headline) for scenario in random}
    differences = {scenario.name: difference_of(reading, scenario) for scenario in random}
    decides = max(random, key=lambda s: (_severity(reading, estimates[s.name]), estimates[s.name].value))
    estimate, difference = estimates[decides.name], differences[decides.name]
    standing = reading.standing(estimate)
    headline_said = _headline(reading, decides, standing, differences)
    sentence, sure = _sentence(reading, decides, estimate), _how_sure(reading, decides, estimate)
    everyday = "" if reading.compares else unconditional(reading, headline)
    # What does not fit stands in the table below.
    fuller = f"{sentence} On a random day: {everyday}." if everyday else sentence
    shorter = sentence.replace(decides.given, decides.given.partition(" (")[0])
    bare = sentence.replace(f", {decides.given}", "")
    said = (fuller, sentence, shorter, bare)
    sentence = next((one for one in said if len(f"{headline_said} {one} {sure}".split()) <= _WORDS), bare)
    return Verdict(
        headline=headline_said,
        sentence=sentence,
        sure=sure,
        colour="none" if standing is None or standing == "failed" else standing,
        table=_table(reading, random, estimates, differences),
        small_print=(*_setting(reading), *_small_print(reading, standing, estimate)),
        question=f"{_sentence_case(change_in_words(reading))}: is it safer?" if difference else "",
        grid=_grid(reading, decides),
    )


def _severity(reading: Reading, estimate: Estimate) -> int:
    return _SEVERITY[reading.standing(estimate)]


def _headline(
    reading: Reading, scenario: ScenarioView, standing: Standing | None, differences: dict[str, Difference | None]
) -> str:
    """Answer whether it is safer: yes, no or unclear, where, and on which side of the tolerance the cell stands."""
    if reading.compares:
        return f"{len(reading.protocols)} venues, one book, the same paths."
    where = f" in {scenario.name}" if len(reading.scenarios) > 1 else ""
    difference = differences[scenario.name]
    moved = direction(difference) if difference else None
    said = {"no clear effect": f"unclear whether safer or riskier{where}", "safer": f"yes, safer{where}"}
    said |= {"riskier": f"no, riskier{where}"}
    answer = said[moved] if moved else ""
    against = {"safer": "riskier", "riskier": "safer"}.get(moved or "")
    if others := [name for name, found in differences.items() if found and direction(found) == against]:
        # Neither yes nor no: it helps in one scenario and harms in another.
        answer = f"{moved}{where}, {against} in {' and '.join(others)}"
    limit = f"the {stated(reading.tolerance or 0)} tolerance"
    words: dict[Standing | None, str] = {
        "safe": f"within {limit}",
        "risky": f"above {limit}",
        "undecided": f"undecided against {limit}",
        "failed": "no result",
        None: "",
    }
    # A direction and a standing that point different ways are told apart.
    apart = (moved, standing) in (("safer", "risky"), ("safer", "undecided"), ("riskier", "safe"))
    joined = (", but still " if apart else "; ").join(filter(None, (answer, words[standing])))
    if joined and not answer:
        joined += where
    return _sentence_case(f"{joined or 'no tolerance and no proposal to judge'}.")


def _sentence_case(text: str) -> str:
    return text[0].upper() + text[1:]


def _sentence(reading: Reading, scenario: ScenarioView, estimate: Estimate) -> str:
    """Say by how much: the probability before and after, given what, and the change."""
    change, more = change_in_words(reading), more_digits(reading, scenario)
    difference = difference_of(reading, scenario)
    if reading.compares:
        found = {name: reading.estimate(scenario, cell) for name, cell in reading.shown}
        lowest, *_, highest = sorted(found, key=lambda name: found[name].value)
        said = f"{reading.asked} runs from {found[lowest]} under {lowest} to {found[highest]} under {highest}"
    elif change and reading.current is not None:
        before = reading.estimate(scenario, reading.current)
        said = f"{change}: {reading.asked} from {_spoken(before, more)} to {_spoken(estimate, more)}"
    else:
        said = f"{reading.asked} is {_spoken(estimate)}"
    if difference:
        said += f", {point_parts(difference.low, difference.value, difference.high, more)[0]} points"
    return f"{_sentence_case(said)}, {scenario.given}."


def _spoken(estimate: Estimate, more: int = 0) -> str:
    """Return an estimate inside a sentence; where nothing happened, that comes before its bound."""
    if estimate.paths and not estimate.events:
        return f"none of {estimate.paths:,} paths (below {percent(estimate.exact_high)})"
    if estimate.paths and estimate.events == estimate.paths:
        return f"all {estimate.paths:,} paths (above {percent(estimate.exact_low)})"
    return estimate.said(more)


def _how_sure(reading: Reading, scenario: ScenarioView, estimate: Estimate) -> str:
    """Say how sure: the interval of the change and what it leaves possible, the level and the paths."""
    difference = difference_of(reading, scenario)
    if difference is None:
        return f"How sure: 95 % interval, {estimate.paths:,} paths."
    sides = {1: "all above zero", -1: "all below zero", 0: "zero included"}
    side = sides[(difference.low > 0) - (difference.high < 0)]
    _, low, high = point_parts(difference.low, difference.value, difference.high)
    return f"How sure: change {low} to {high} points (95 % interval, {side}), {estimate.paths:,} paths."


def _setting(reading: Reading) -> tuple[str, ...]:
    """Say what stays as it is, and what an axis without a market sets."""
    said = []
    kept = tuple(name for name in reading.cell_axes if name not in reading.changed)
    if kept and reading.current is not None and not reading.compares:
        said.append(f"Kept: {reading.describe(reading.headline, kept)}.")
    known = {parameter.field for parameter in parameters(reading.protocols[0])}
    for name in reading.changed:
        if name not in known:  # the traders' response, or an axis that names its market
            continue
        lead, *others = addressed(reading.protocols[0], name, reading.study.markets)
        if lead.market and others:
            words = f"The {axis_label(name)} named is that of {lead.market}"
            said.append(f"{words}; those of other markets and tiers change by the same factor.")
    return (" ".join(said),) if said else ()


def _grid(reading: Reading, scenario: ScenarioView) -> str:
    """Say which values of the figure's first parameter keep the tolerance, whatever else the study varies."""
    if reading.tolerance is None or not reading.heat_axes or reading.compares:
        return ""
    axis = reading.heat_axes[0]
    found: dict[str, list[str]] = {}
    for position in range(len(reading.plan.cell_axes[axis])):
        cells = [cell for cell in reading.cells() if cell[axis] == position]
        standings = {reading.standing(reading.estimate(scenario, cell)) for cell in cells}
        only = str(standings.pop()) if len(standings) == 1 else "it depends"
        found.setdefault(only, []).append(reading.value_of(axis, position))
    limit = stated(reading.tolerance)
    words = {"safe": f"below {limit}", "risky": f"above {limit}", "it depends": "depends on the rest"}
    rest = ", whatever else is varied" if len(reading.cell_axes) > 1 else ""
    told = "; ".join(f"{', '.join(values)} {words.get(only, only)}" for only, values in found.items())
    where = f" in {scenario.name}" if len(reading.scenarios) > 1 else ""
    return f"All values tried{where} (figure below): {axis_label(axis)}{rest}: {told}."


def change_in_words(reading: Reading) -> str:
    """Return the change from current to proposed, such as 'leverage cap 40x → 50x', or nothing."""
    if reading.current is None or reading.proposed is None:
        return ""
    return ", ".join(
        f"{axis_label(name)} {reading.value_of(name, reading.current[name])} → "
        f"{reading.value_of(name, reading.proposed[name])}"
        for name in reading.changed
    )


def unconditional(reading: Reading, cell: dict[str, int]) -> str:
    """Return Σ stationary share × P(· | start) with its bounds, once every regime is in the study."""
    starts = {s.name: (s.share, reading.estimate(s, cell)) for s in reading.scenarios if s.share is not None}
    parts = [(share, estimate.events, estimate.paths) for share, estimate in starts.values() if share is not None]
    if not parts or abs(sum(share for share, _, _ in parts) - 1) > 1e-9 or not all(paths for _, _, paths in parts):
        return ""
    value, low, high = weighted_by_share(parts)
    return probability(sum(e for _, e, _ in parts), sum(n for _, _, n in parts), value, low, high, (low, high))


def _table(
    reading: Reading,
    scenarios: list[ScenarioView],
    estimates: dict[str, Estimate],
    differences: dict[str, Difference | None],
) -> Table:
    if reading.compares:
        return _venues(reading, scenarios, estimates)
    columns = ["scenario", *(name for name, _ in reading.pair)]
    paired = any(differences.values())
    columns += ["change, same paths"] * paired
    if reading.tolerance is not None:
        columns.append(f"against {stated(reading.tolerance)}")
    rows = []
    for scenario in scenarios:
        row = [f"{scenario.name}: {scenario.given}"]
        more = more_digits(reading, scenario)
        row += [reading.estimate(scenario, cell).said(more) for _, cell in reading.pair]
        if paired:
            difference = differences[scenario.name]
            row.append(
                f"{direction(difference)}: {points(difference.low, difference.value, difference.high, more)}"
                if difference
                else "–"
            )
        if reading.tolerance is not None:
            row.append(standing_in_words(reading.standing(estimates[scenario.name])))
        rows.append(tuple(row))
    everyday = [unconditional(reading, cell) for _, cell in reading.pair]
    if all(everyday):
        blanks = len(columns) - 1 - len(everyday)
        rows.append(("a day drawn at random: regimes weighted by their share of days", *everyday, *["–"] * blanks))
    caption = f"{reading.asked} with 95 % intervals; {_path_counts(scenarios, estimates)}."
    return Table(caption, tuple(columns), tuple(rows))


def _venues(reading: Reading, scenarios: list[ScenarioView], estimates: dict[str, Estimate]) -> Table:
    """Return a row for each venue, a column for each start."""
    rows = [(name, *(str(reading.estimate(s, cell)) for s in scenarios)) for name, cell in reading.shown]
    caption = (
        f"{reading.asked} with 95 % intervals, on one book; {_path_counts(scenarios, estimates)}, the same for all."
    )
    return Table(caption, ("venue", *(f"{s.name}: {s.given}" for s in scenarios)), tuple(rows))


def standing_in_words(standing: Standing | None) -> str:
    """Return the word for a cell, saying that an undecided one is a matter of more paths."""
    return "undecided (not converged)" if standing == "undecided" else standing or "not asked"


def _path_counts(scenarios: list[ScenarioView], estimates: dict[str, Estimate]) -> str:
    counts = {estimates[scenario.name].paths for scenario in scenarios}
    if len(counts) == 1:
        return f"{counts.pop():,} paths in each scenario"
    return ", ".join(f"{scenario.name} {estimates[scenario.name].paths:,} paths" for scenario in scenarios)


def _small_print(reading: Reading, standing: Standing | None, estimate: Estimate | None) -> tuple[str, ...]:
    lines = [floor_in_words(reading)]
    if estimate is not None:
        lines.append(
            "Intervals say how sure the simulation is, given its book and its market; not whether these are right."
        )
    if reading.failures:
        lines.append("Part of this run has no result; what is missing is named below.")
    if standing == "undecided" and estimate is not None:
        lines.append(
            f"Not converged: the interval straddles the tolerance at {estimate.paths:,} paths, so this run cannot "
            "say on which side the truth lies. More paths narrow the interval."
        )
    if any(scenario.kind == "regime" for scenario in reading.scenarios) and not unconditional(
        reading, reading.headline
    ):
        lines.append(
            "These probabilities hold given the start named in each row. They are not the probability of an "
            "ordinary day: that needs every regime of the market file among the study's scenarios."
        )
    return tuple(lines)


def floor_in_words(reading: Reading) -> str:
    """Return what counts as the event."""
    floor = usd(reading.number("loss_floor", reading.scenarios[0], reading.headline))
    return (
        "Mutualised loss is loss carried by users who did not default: ADL shortfall, socialized loss, default "
        f"losses of providers and unresolved bad debt. It counts as an event above {floor} "
        f"({stated(reading.study.loss_floor)} of the open interest at the start), losses of a backstop vault only "
        f"above {stated(reading.study.vault_loss_floor)} of its equity."
    )


def _outcome(reading: Reading) -> Verdict:
    """Return the verdict on single paths: what happened, and no probability."""
    rows, hit, said = [], [], []
    own = {scenario.name: scenario.given.partition(", ")[2] for scenario in reading.scenarios}
    apart = all(own.values()) and len(set(own.values())) == len(own)  # one event, with and without own impact
    for scenario in reading.scenarios:
        losses = [usd(reading.number("mean_mutualised_loss", scenario, cell)) for _, cell in reading.pair]
        closed, paid = (
            usd(reading.number(f"mean_{name}", scenario, reading.headline))
            for name in ("liquidated_notional", "fund_paid")
        )
        # A venue without a fund pays nothing from one: not 0, but nothing to pay.
        fund, paid = (
            (f", paid by the fund {paid}", paid)
            if reading.possible("fund_paid", reading.headline)
            else ("", "cannot occur")
        )
        told = story(reading, scenario)
        times = ["–", "–"] if told is None else [_when(told.first(x)) for x in (told.liquidated, told.deleveraged)]
        rows.append((f"{scenario.name}, {scenario.given}", *losses, closed, paid, *times))
        called = _sentence_case(own[scenario.name]) if apart else scenario.name
        adl = {"none": ", no ADL", "–": ""}.get(times[1], f", first ADL {times[1]}")
        said.append(f"{called}: mutualised loss {losses[-1]}{fund}{adl}.")
        if reading.number(f"events_{reading.event}", scenario, reading.headline):
            hit.append(own[scenario.name] if apart else f"on {scenario.name}")
    event = EVENTS[reading.event]
    every = f"{event} on every path" if len(rows) > 1 else event
    headline = f"No {event}" if not hit else every if len(hit) == len(rows) else f"{event} only {', '.join(hit)}"
    kind = "historical path" if reading.scenarios[0].kind == "replay" else "stated path"
    # More than two paths do not fit into sixty words; the table has them all.
    sentence = " ".join(said) if len(said) <= 2 else ""
    sure = f"How sure: {'one' if len(rows) == 1 else 'each is one'} {kind}: an outcome, not a probability."
    return Verdict(
        headline=_sentence_case(f"{headline}."),
        sentence=sentence,
        sure=sure,
        colour="none",
        table=Table(
            f"Over {reading.horizon}; liquidations, fund and times are those of the {reading.pair[-1][0]} parameters.",
            (
                "path",
                *(f"mutualised loss, {name}" for name, _ in reading.pair),
                "liquidated",
                "paid by the fund",
                "first liquidation",
                "first ADL",
            ),
            tuple(rows),
        ),
        small_print=_small_print(reading, None, None),
    )


def _when(moment: datetime | None) -> str:
    return "none" if moment is None else utc(moment)
