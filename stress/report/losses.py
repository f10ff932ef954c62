"""How large losses are and who carries them: the named cells in numbers, by size, by payer, by market."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from stress.measures import (
    Tail,
    clopper_pearson,
    mean_given_loss,
    mean_over_blocks,
    tail_of_cell,
    tail_of_part,
    wilson,
)
from stress.report import figures, funding
from stress.report.document import Block, Figure, Section, Table, Text
from stress.report.formats import DASH, per_million, percent, points, significant, usd, usd_bounds, usd_interval
from stress.report.reading import EVENTS, PARTS, Reading, ScenarioView, is_number
from stress.report.verdict import difference_of, more_digits
from stress.vocabulary import ATTRIBUTION_RULE, MARKET_OUTCOMES, Term

NEVER = "cannot occur under these rules"


def named_cells(reading: Reading) -> Section:
    """The risk table of each scenario: probabilities, tail measures and what the venue still carries."""
    names = [name for name, _ in reading.shown]
    blocks: list[Block] = []
    if reading.cell_axes and not reading.compares:
        blocks.append(Text(tuple(f"{name.capitalize()}: {reading.describe(cell)}." for name, cell in reading.pair)))
    outcomes = [scenario for scenario in reading.scenarios if scenario.one_path]
    if outcomes and not reading.compares:
        blocks.append(_outcomes(reading, outcomes))
    for scenario in (one for one in reading.scenarios if reading.compares or not one.one_path):
        paths = int(reading.number("paths", scenario, reading.headline))
        counted = scenario.given if scenario.one_path else f"{paths:,} paths, 95 % intervals"
        rows = [
            (words, *(say(reading, scenario, cell) for _, cell in reading.shown))
            for words, say in _measures(scenario.one_path)
        ]
        columns = ("venue" if reading.compares else "measure", *names)
        if changes := {} if scenario.one_path else _changes(reading, scenario):
            columns += ("change, same paths",)
            rows = [(*row, changes.get(row[0], DASH)) for row in rows]
        if reading.compares:  # a row for each venue, of what the table of changes does not show
            columns, *rows = zip(columns, *(row for row in rows if row[0] in _BESIDE), strict=True)
        blocks.append(Table(f"{scenario.name}: {reading.horizon}, {counted}", columns, tuple(rows)))
    title = "The venues in numbers" if reading.compares else f"{' and '.join(names)} in numbers".capitalize()
    return Section("cells", title, tuple(blocks))


def _outcomes(reading: Reading, scenarios: Sequence[ScenarioView]) -> Table:
    """Return what happened on single paths, beside each other."""
    columns = [(scenario, name, cell) for scenario in scenarios for name, cell in reading.pair]
    heads = (f"{scenario.name}, {name}" if len(reading.pair) > 1 else scenario.name for scenario, name, _ in columns)
    rows = tuple(
        (words, *(say(reading, scenario, cell) for scenario, _, cell in columns))
        for words, say in _measures(one_path=True)
    )
    return Table(f"{reading.horizon}, outcomes of single paths", ("measure", *heads), rows)


_BESIDE = (
    "P(insurance fund exhausted)",
    "P(auto-deleveraging)",
    "mean bad debt",
    "mean liquidated notional",
    "VaR 99 % of mutualised loss",
    "expected shortfall 99 % of mutualised loss",
    "accounts liquidatable at the start",
)


def _changes(reading: Reading, scenario: ScenarioView) -> dict[str, str]:
    """Return the paired difference of each probability by the name of its row."""
    found = {words: difference_of(reading, scenario, event) for event, words in EVENTS.items()}
    return {
        f"P({words})": points(d.low, d.value, d.high, more_digits(reading, scenario, event))
        for (event, words), d in zip(EVENTS.items(), found.values(), strict=True)
        if d is not None
    }


Say = Callable[[Reading, ScenarioView, dict[str, int]], str]


def _measures(one_path: bool) -> Iterator[tuple[str, Say]]:
    for event, words in EVENTS.items():
        yield f"event: {words}" if one_path else f"P({words})", partial(_event_words, event=event)
    for outcome in ("mutualised_loss", "bad_debt", "liquidated_notional", "adl_notional"):
        words = outcome.replace("_", " ").replace("adl", "deleveraged")
        yield words if one_path else f"mean {words}", partial(_mean_words, outcome=outcome)
    if not one_path:
        yield "mean mutualised loss, given the event", _given_loss_words
        yield "VaR 95 % of mutualised loss", _var_95_words
        yield "VaR 99 % of mutualised loss", partial(_tail_words, name="var_99")
        yield "expected shortfall 99 % of mutualised loss", partial(_tail_words, name="es_99")
        yield "worst path's mutualised loss", _worst_words
    for name, words, say in (
        ("open_interest", "open interest carried at the start", usd),
        ("loss_per_open_interest", "mutualised loss per open interest", per_million),
        ("mean_liquidatable_at_start", "accounts liquidatable at the start", "{:,.0f}".format),
        ("margin_efficiency", "open interest per USD of traders' equity", significant),
    ):
        yield words, partial(_number_words, name=name, say=say)


def _event_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int], event: str) -> str:
    part = {"adl": "adl_shortfall", "fund_exhaustion": "fund_paid"}.get(event)
    if part is not None and not reading.possible(part, cell):
        return NEVER
    if reading.failed(scenario, cell):
        return "failed"
    estimate = reading.estimate(scenario, cell, event)
    if scenario.one_path:
        return "happened" if estimate.events else "did not happen"
    return estimate.said(more_digits(reading, scenario, event))


def _mean_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int], outcome: str) -> str:
    mean, error = (reading.number(f"{stem}_{outcome}", scenario, cell) for stem in ("mean", "se"))
    if not is_number(mean):
        return "failed"
    return usd(mean) if scenario.one_path else usd_interval(mean, error)


def _given_loss_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> str:
    if reading.failed(scenario, cell):
        return "failed"
    found = mean_given_loss(reading.data, reading.run.losses, reading.place(scenario, cell))
    mean, low, high, events = found
    if not events:
        return "no path had the event"
    if is_number(mean) and not is_number(high):
        return f"{usd(mean)} ({events} event{'s' * (events != 1)}: too few for an interval)"
    return usd_bounds(mean, low, high)


def _var_95_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> str:
    found = tail_of_cell(reading.data, reading.run.losses, reading.place(scenario, cell), 0.95)
    return _bounded(found.var, found.var_low, found.var_high, determined=is_number(found.var_high))


def _worst_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> str:
    worst, paths = (reading.number(name, scenario, cell) for name in ("worst_loss", "paths"))
    if not is_number(worst) or not paths:
        return "not available"
    # No path of the cell was worse: the bound that nothing in so many paths gives.
    return f"{usd(worst)} (a worse path has a probability below {percent(float(clopper_pearson(0, paths)[1]))})"


def _tail_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int], name: str) -> str:
    value, low, high = (reading.number(f"{name}{end}", scenario, cell) for end in ("", "_low", "_high"))
    return _bounded(value, low, high, determined=is_number(reading.number("var_99_high", scenario, cell)))


def _bounded(
    value: float, low: float, high: float, *, determined: bool, otherwise: str = "too few paths for an interval"
) -> str:
    if is_number(value) and not determined:
        # The upper bound of VaR lies beyond the worst path: these paths do not determine the tail.
        return f"{usd(value)} ({otherwise})"
    return usd_bounds(value, low, high)


def _number_words(
    reading: Reading, scenario: ScenarioView, cell: dict[str, int], name: str, say: Callable[[float], str]
) -> str:
    value = reading.number(name, scenario, cell)
    return say(value) if is_number(value) else "not available"


def exceedance(reading: Reading) -> Section | None:
    """How large the loss is when it comes, against the fund."""
    scenarios = [scenario for scenario in reading.scenarios if not scenario.one_path]
    if not scenarios:
        return None
    edges = np.asarray(reading.data["bin_edges"].values, dtype=float)
    fund = reading.fund
    lines = [(fund, f"insurance fund {usd(fund)}")] if fund > 0 and np.isfinite(fund) and not reading.compares else []
    panels, rows = [], []
    for scenario in scenarios:
        pair = [(name, cell) for name, cell in reading.shown if not reading.failed(scenario, cell)]
        curves = [_curve(reading, scenario, name, cell, edges) for name, cell in pair]
        bound = reading.estimate(scenario, reading.headline)
        panels.append(figures.exceedance(scenario.name, curves, lines, f"No path had a mutualised loss:\n{bound}"))
        rows += _exceedance_rows(scenario, curves)
    table = Table(
        f"P(mutualised loss within {reading.horizon} larger than the threshold), 95 % intervals",
        ("scenario", "cell", "threshold", "probability"),
        tuple(rows),
        folded=True,
    )
    caption = (
        f"Probability that the mutualised loss within {reading.horizon} exceeds the amount on the horizontal axis; bands are "
        "95 % intervals. Both axes are logarithmic. Mutualised loss is what remains after the insurance fund has paid"
        f"{'; the dotted line shows the fund at the start, for scale' if lines else ''}."
    )
    figure = Figure(
        "loss-exceedance",
        "Loss exceedance curves of the named cells; the table below has the numbers.",
        caption,
        tuple(panels),
        table,
    )
    return Section("exceedance", "How large a loss", (figure,))


def _curve(
    reading: Reading, scenario: ScenarioView, name: str, cell: dict[str, int], edges: np.ndarray
) -> figures.Curve:
    counts = reading.array("histogram_mutualised_loss", scenario, cell).astype(np.int64)
    paths = int(reading.number("paths", scenario, cell))
    # Bin i counts losses above edges[i]; what exceeds edges[i] is everything from bin i on.
    above = counts[::-1].cumsum()[::-1]
    low, high = wilson(above, paths)
    # The first bin holds everything below the first positive edge: no threshold of its own on a logarithmic axis.
    return figures.Curve(name, edges[1 : len(above)], above[1:] / paths, low[1:], high[1:])


def _exceedance_rows(scenario: ScenarioView, curves: Sequence[figures.Curve]) -> list[tuple[str, ...]]:
    """Return one row per threshold and cell, at thresholds spread over the losses that were seen."""
    seen = np.flatnonzero(np.any([curve.value > 0 for curve in curves], axis=0))
    if not seen.size:
        return []
    chosen = np.unique(np.linspace(seen[0], seen[-1], 8).round().astype(int))
    return [
        (scenario.name, curve.label, usd(curve.threshold[i]), _exceeded(curve.value[i], curve.low[i], curve.high[i]))
        for curve in curves
        for i in chosen
    ]


def _exceeded(value: float, low: float, high: float) -> str:
    return f"{percent(value)} ({percent(low, unit=False)}–{percent(high)})" if value else f"< {percent(high)}"


def who_pays(reading: Reading) -> Section:
    """Who carries the losses of defaulted accounts, in the order in which a loss meets them."""
    panels, rows = [], []
    many = any(not scenario.one_path for scenario in reading.scenarios)
    for scenario in reading.scenarios:
        views = [("", _bar)] if scenario.one_path else [(": mean", _bar), (": 99th percentile", _tail_bar)]
        for view, bar in views:
            series = [(name, [bar(reading, scenario, cell, part) for part in PARTS]) for name, cell in reading.pair]
            panels.append(figures.who_pays(f"{scenario.name}{view}", list(reading.parts.values()), series, NEVER))
        for part, words in reading.parts.items():
            said = (
                (
                    _mean_words(reading, scenario, cell, part),
                    *([_part_tail_words(reading, scenario, cell, part)] * many),
                )
                if reading.possible(part, cell)
                else (NEVER, *([NEVER] * many))
                for _, cell in reading.pair
            )
            rows.append((scenario.name, words, *(text for pair in said for text in pair)))
    said_of = "Means over all paths, and the 99th percentile of each part by itself, with 95 % intervals"
    caption = (
        f"{said_of if many else 'Amounts on the path'}, {reading.horizon}, in the order in which a loss meets them. The "
        f"insurance fund's bar is no part of mutualised loss; {'the means of ' * many}the others add up to it."
        + (" A percentile without a whisker or interval has too few paths for one." if many else "")
    )
    kinds = ("mean", "99th percentile") if many else ("amount",)
    heads = (f"{name}, {kind}" for name, _ in reading.pair for kind in kinds)
    table = Table("Who pays", ("scenario", "who", *heads), tuple(rows))
    alt = "Bars of who pays, from the insurance fund to unresolved bad debt; the table below has the numbers."
    return Section("who-pays", "Who pays", (Figure("who-pays", alt, caption, tuple(panels), table),))


def _bar(reading: Reading, scenario: ScenarioView, cell: dict[str, int], part: str) -> figures.Bar | None:
    if not reading.possible(part, cell):
        return None
    mean, error = (reading.number(f"{stem}_{part}", scenario, cell) for stem in ("mean", "se"))
    if not is_number(mean):
        return figures.Bar(0.0, 0.0, "failed")
    return figures.Bar(mean, 1.959963984540054 * error if is_number(error) else 0.0, usd(mean))


def _part_tail(reading: Reading, scenario: ScenarioView, cell: dict[str, int], part: str) -> Tail:
    return tail_of_part(reading.data, reading.run.losses, reading.place(scenario, cell), part)


def _part_tail_words(reading: Reading, scenario: ScenarioView, cell: dict[str, int], part: str) -> str:
    if scenario.one_path:
        return DASH
    found = _part_tail(reading, scenario, cell, part)
    # Four such columns stand beside each other: the caption says why.
    return _bounded(
        found.var, found.var_low, found.var_high, determined=is_number(found.var_high), otherwise="no interval"
    )


def _tail_bar(reading: Reading, scenario: ScenarioView, cell: dict[str, int], part: str) -> figures.Bar | None:
    if not reading.possible(part, cell):
        return None
    found = _part_tail(reading, scenario, cell, part)
    if not is_number(found.var):
        return figures.Bar(0.0, 0.0, "not available")
    if not is_number(found.var_high):
        return figures.Bar(found.var, 0.0, usd(found.var))
    return figures.Bar(found.var, found.var_high - found.var, usd(found.var), found.var - found.var_low)


def by_market(reading: Reading) -> Section:
    """Each market's share, by the stated attribution rule; the parts of the mutualised loss folded below."""
    parts = [term for term in MARKET_OUTCOMES if term.name in PARTS]
    whole = [term for term in MARKET_OUTCOMES if term not in parts and term.name not in funding.TERMS]
    blocks: list[Block] = [Text.of(f"Attribution: {ATTRIBUTION_RULE}.")]
    for name, cell in reading.pair:
        amounts = "amounts" if all(scenario.one_path for scenario in reading.scenarios) else "means per path"
        caption = f"{name if reading.compares else f'{name.capitalize()} cell'}, {amounts}, {reading.horizon}"
        note = "; dislocation is the largest distance of the venue's mid from the world price"
        blocks.append(_market_table(reading, cell, whole, caption + note, folded=False))
        blocks.append(_market_table(reading, cell, parts, f"{caption}: the parts of mutualised loss", folded=True))
    return Section("markets", "Market by market", tuple(blocks))


def _market_table(
    reading: Reading, cell: dict[str, int], terms: Sequence[Term], caption: str, *, folded: bool
) -> Table:
    rows = []
    for scenario in reading.scenarios:
        values = [_by_market(reading, scenario, cell, term) for term in terms]
        for i, market in enumerate(reading.study.markets):
            words = (_market_words(reading, cell, term, value[i]) for term, value in zip(terms, values, strict=True))
            rows.append((scenario.name, market, *words))
    heads = (term.name.replace("_", " ").replace("adl", "ADL") for term in terms)
    return Table(caption, ("scenario", "market", *heads), tuple(rows), folded=folded)


def _by_market(reading: Reading, scenario: ScenarioView, cell: dict[str, int], term: Term) -> np.ndarray:
    """Return (m, 3): the mean by market and its bounds, not numbers where the store keeps no sums of blocks."""
    name = f"block_sum_{term.name}_by_market"
    if name not in reading.data:
        mean = reading.array(f"mean_{term.name}_by_market", scenario, cell)
        return np.stack([mean, *[np.full(mean.shape, np.nan)] * 2], axis=1)
    here = reading.data[[name, "block_paths"]].isel(reading.place(scenario, cell))
    sums = here[name].sum("component").where(here["block_paths"] > 0, 0.0)
    return np.stack([bound.values for bound in mean_over_blocks(sums, here["block_paths"]).values()], axis=1)


def _market_words(reading: Reading, cell: dict[str, int], term: Term, bounds: np.ndarray) -> str:
    value, low, high = (float(x) for x in bounds)
    if not is_number(value):
        return "failed"
    if not reading.possible(term.name, cell):
        return NEVER
    if term.unit == "fraction":
        return percent(value)
    return usd_bounds(value, max(low, 0.0), high) if high > low else usd(value)
