"""What the numbers assume, what failed, and how to make them again; all of it filled from the study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stress.report.document import Block, Code, Section, Table, Text
from stress.report.formats import axis_field, axis_label, axis_value, span, stated, usd
from stress.report.reading import Reading
from stress.stages import Delay, MeetsStep, Seconds
from stress.vocabulary import ATTRIBUTION_RULE

_RESPONSES = {
    "keep_utilisation": "each account keeps its mix and scales all its sizes, up or down, so that initial margin ÷ equity "
    "stays what it was; an account without exposure to a changed market does not move",
    "shrink_positions": "only accounts above the new cap shrink their positions to it; a raised cap moves nobody, since a "
    "book cannot show demand for more leverage",
    "add_collateral": "only accounts above the new cap add the collateral that is missing; a raised cap moves nobody, since "
    "a book cannot show demand for more leverage",
    "grandfather": "positions keep the margin rates under which they were opened; only the share that turns over meets the new "
    "ones, each position by the same share, and is resized so that initial margin ÷ equity stays what it was",
}


def failures(reading: Reading) -> Section | None:
    """Cells and blocks without a result, by name and reason."""
    if not reading.failures:
        return None
    lead = Text.of("These have no (or no complete) result and are counted nowhere else; everything else completed.")
    return Section("failures", "Cells without a result", (lead, Text(reading.failures)))


def section(reading: Reading) -> Section:
    """What the numbers assume and leave out."""
    blocks: list[Block] = [Text((*_traders(reading), *_event(reading), *_paths(reading)))]
    for protocol in reading.protocols:
        blocks.append(Text.of(f"Venue: {protocol.title}. {protocol.summary}"))
        blocks.append(Text(tuple(_venue(reading, protocol))))
        blocks.append(_sources(protocol))
    return Section("limits", "Assumptions and limits", tuple(blocks))


def _traders(reading: Reading) -> Iterator[str]:
    study = reading.study
    if study.book.kind == "synthetic":
        yield (
            "The book of accounts is synthetic: drawn from stated distributions with the study's seed, not observed. "
            "Nothing in it was fitted to the losses of an event."
        )
    responses = dict.fromkeys([study.traders, *reading.plan.cell_axes.get("traders", ())])
    for response in responses:
        yield (
            "Traders are static except for their declared response to a changed parameter at the start "
            f"({response}): {_RESPONSES.get(response, response)}. Nobody deposits, withdraws, opens or closes by choice within the horizon."
        )
    shares = reading.plan.cell_axes.get("turnover", (study.turnover,))
    if "grandfather" in responses:
        yield f"Turnover under new terms (grandfather): {', '.join(stated(share) for share in shares)} of every position."
        if 0.0 in shares:
            yield (
                "Where nothing turns over, every position keeps its old rates: a change of margin cannot show there, and "
                "equal numbers say nothing about its safety."
            )
    for scenario in reading.scenarios:
        said = [
            f"{name} {usd(reading.number('open_interest', scenario, cell))}, "
            f"{reading.number('mean_liquidatable_at_start', scenario, cell):,.0f} accounts liquidatable at the start"
            for name, cell in reading.pair
            if not reading.failed(scenario, cell)
        ]
        yield f"Open interest carried (long side, at the start) in {scenario.name}: {'; '.join(said) or 'no result'}."


def _event(reading: Reading) -> Iterator[str]:
    floors = sorted({usd(reading.number("loss_floor", s, c)) for s in reading.scenarios for _, c in reading.pair})
    yield f"A path counts as an event if its mutualised loss exceeds {' or '.join(floors)}."
    if reading.study.tolerance is not None and not all(scenario.one_path for scenario in reading.scenarios):
        yield (
            f"A cell is called safe or risky only if its exact (Clopper–Pearson) {stated(reading.study.tolerance.confidence)} "
            "interval lies on one side of the tolerance; the printed 95 % (Wilson) intervals are slightly shorter."
        )
    yield f"Losses by market: {ATTRIBUTION_RULE}."
    yield (
        "Nothing is lost at the horizon: negative equity still open is valued at the worse of world price and mark "
        "and is part of the loss."
    )


def _anchor_words(name: str, scenario: Any) -> str:
    count: dict[str, int] = {}
    for _, value in scenario.tagged:
        count[value.known] = count.get(value.known, 0) + 1
    curves = ", ".join(f"{number} {known}" for known, number in count.items())
    return (
        f"{name} ({scenario.title}) is an anchor path, not historical data: prices pass through stated anchors "
        f"with random noise between them (curves: {curves}). Probabilities on it are given the anchors, and say "
        "nothing about how likely such an event is."
    )


def _paths(reading: Reading) -> Iterator[str]:
    study = reading.study
    shares = {reading.impact_share(scenario) > 0 for scenario in reading.scenarios if scenario.kind == "replay"}
    for scenario in reading.scenarios:
        if scenario.kind == "replay":
            share = reading.impact_share(scenario)
            history = (
                "own impact is off, since history already contains the cascade of its day"
                if share == 0
                else f"own impact counts {stated(share)}, on top of a history that already contains the cascade of its day"
            )
            replay = reading.scenario(scenario)
            changes = "".join(f", changed: {change}" for change in replay.changes)
            yield f"{scenario.name} is one historical path{changes}; an outcome and not a probability; {history}."
            if replay.repair:
                yield f"{replay.replay} was repaired by the rules that the study names: {', '.join(replay.repair)}."
        for outage in reading.scenario(scenario).outages.values():
            yield f"In {scenario.name} the venue {outage.words}."
        if scenario.kind == "anchors":
            yield _anchor_words(scenario.name, reading.scenario(scenario))
    if shares and len(shares) == 1:
        other = "without own impact (0)" if True in shares else "at the venue's share of flow"
        yield f"History was replayed one way only; the other bound is a run {other}: see `impact_share`."
    if reading.path_axes:
        at = ", ".join(
            f"{axis_label(n)} {axis_value(n, reading.plan.path_axes[n][i])}" for n, i in reading.neutral.items()
        )
        yield f"Headline numbers are for {at}; the store holds the other values of these axes."
    yield f"The market model is {study.market.name}; prices do not react to trades other than the venue's own liquidations."


# ------------------------------------------------------------------------------------- the venue


def _venue(reading: Reading, protocol: Any) -> Iterator[str]:
    rules = {mechanism.name: parameters for mechanism, parameters in protocol.rules()}
    impact = protocol.impact
    if impact.arbitrage_share == 0 and "oracle_mark" in rules:
        yield (
            "There is no price feedback: arbitrage carries no part of the venue's impact elsewhere (share 0) and the mark "
            "is the oracle's, so liquidations never move the price that liquidates others. Cascades are not in these numbers."
        )
    elif impact.arbitrage_share == 0:
        yield (
            "Arbitrage carries no part of the venue's own impact to other venues (share 0): liquidations move the venue's "
            "mid and through it the mark, but not the oracle."
        )
    else:
        yield f"Arbitrage carries {stated(impact.arbitrage_share)} of the venue's own impact to other venues, and so into the oracle."
    if any(getattr(rule, "deficit_fill", None) == "any" for rule in rules.values()):
        yield "Every contract that the book can fill is filled, also below the bankruptcy price (deficit_fill: any): ADL cannot act on it."
    if any(getattr(rule, "adl_price", None) == "previous_mark" for rule in rules.values()):
        ages = "; ".join(_mark_ages(reading, protocol)) or "no contract was deleveraged here"
        yield f"Deleveraging pays the previous mark, which stood at the start of the round: {ages}."
    if protocol.rounds_per_step is not None:
        yield f"At most {protocol.rounds_per_step} liquidation rounds in a step of {span(reading.study.step)}; the rest waits for the next."
    yield from _time_constants(reading, protocol)
    for parameters in rules.values():
        yield from parameters.notes()
    if never := reading.never(protocol):
        yield f"Cannot occur under these rules: {', '.join(never)}."
    for left_out in protocol.not_represented:
        yield f"Not represented: {left_out}"


def _mark_ages(reading: Reading, protocol: Any) -> Iterator[str]:
    """Yield by scenario how old the mark was that deleveraged contracts were closed at, in the headline cell."""
    cell = dict(reading.headline)
    if "protocol" in cell:
        cell["protocol"] = reading.plan.cell_axes["protocol"].index(protocol.name)
    for scenario in reading.scenarios:
        notional = reading.number("mean_adl_notional", scenario, cell)
        if notional > 0:
            age = reading.number("mean_adl_notional_age", scenario, cell) / notional
            yield f"{span(round(age))} old in {scenario.name}, on average by notional"


def _time_constants(reading: Reading, protocol: Any) -> Iterator[str]:
    """Yield the time constants that the step changes, with the value that was used; an axis states its own."""
    market, step = reading.study.markets[0], reading.study.step
    axes = {axis_field(name) for name in reading.cell_axes}
    for mechanism, parameters in protocol.rules():
        for name, info in type(parameters).model_fields.items():
            meets = next((item for item in info.metadata if isinstance(item, MeetsStep)), None)
            value = getattr(parameters, name)
            given = value.value if isinstance(value, Delay) else value
            if meets is None or meets.rule == "exact" or not isinstance(given, Seconds) or name in axes:
                continue
            used = parameters.terms(market, step).get(f"{name}_steps")
            if used is not None and abs(used * step - given) > 1e-9:
                yield (
                    f"{mechanism.name}: {axis_label(name)} of {span(given)} cannot be resolved at a step of "
                    f"{span(step)} and acts as {span(used * step)}."
                )


def _sources(protocol: Any) -> Table:
    rows = tuple(
        (source.of, source.text, source.date.isoformat(), "stated by the source" if source.sure else "an estimate")
        for source in protocol.sources
    )
    return Table(
        f"Where the values of {protocol.name} come from", ("values", "source", "read on", "standing"), rows, folded=True
    )


# ------------------------------------------------------------------------------------- reproduce


def identity(reading: Reading) -> tuple[tuple[str, str], ...]:
    """Return what names this result: hashes, seed, versions."""
    study, stored = reading.study, reading.data.attrs
    named = {"study hash": study.content_hash, "result hash": stored["result_hash"], "seed": study.seed}
    versions = {
        name: stored[name]
        for name in ("source_hash", "version", "python", "numpy", "numba", "llvmlite", "scipy")
        if name in stored
    }
    return tuple((name.replace("_", " "), str(value)) for name, value in (named | versions).items())


def reproduce(reading: Reading) -> Section:
    """The command and the hashes that it must give."""
    study_file = f"{reading.run.path.name}/study.json" if reading.run.path else "study.yaml"
    lead = Text.of(
        "The resolved study stands beside this report as study.json. The same versions on the same processor family give "
        "the same result hash, for any number of workers."
    )
    table = Table("What this result depends on", ("name", "value"), identity(reading))
    return Section("reproduce", "How to reproduce", (lead, Code((f"perpstress run {study_file}",)), table))
