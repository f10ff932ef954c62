"""Funding as it was promised and as it was paid: what a position taken for its rate at t = 0 was worth."""

from __future__ import annotations

from stress.kernels.funding import YEAR
from stress.measures import mean_over_blocks
from stress.report.document import Section, Table, Text
from stress.report.formats import percent, significant
from stress.report.reading import Reading, ScenarioView, is_number

TERMS = ("funding_promised", "funding_paid", "funding_flips")


def section(reading: Reading) -> Section | None:
    """Per scenario and market: rate quoted at t = 0, mean rate paid, both per year, and how often the sign turned."""
    if f"mean_{TERMS[0]}_by_market" not in reading.data:
        return None  # a store of before these were recorded
    rows = [
        (*(() if len(reading.shown) == 1 else (name,)), scenario.name, *row)
        for name, cell in reading.shown
        for scenario in reading.scenarios
        for row in _rows(reading, scenario, cell)
    ]
    if not rows:
        return None
    many = any(not scenario.one_path for scenario in reading.scenarios)
    lead = Text.of(
        "Promised is the rate that the venue quotes at the start, paid what the paying side paid over the horizon, as a "
        f"yearly rate{', means over paths with 95 % intervals' * many} (+: longs pay). A position held for its funding earns "
        "the second."
    )
    heads = (
        *(() if len(reading.shown) == 1 else ("venue" if reading.compares else "cell",)),
        "scenario",
        "market",
        "promised",
        "paid",
        "turns per path",
    )
    return Section("funding", "Funding promised and paid", (lead, Table("Per year", heads, tuple(rows))))


def _rows(reading: Reading, scenario: ScenarioView, cell: dict[str, int]) -> list[tuple[str, ...]]:
    per_year = YEAR / reading.study.horizon
    means = [reading.array(f"mean_{term}_by_market", scenario, cell) for term in TERMS]
    here = reading.data[["block_sum_funding_paid_by_market", "block_paths"]].isel(reading.place(scenario, cell))
    sums = here["block_sum_funding_paid_by_market"].sum("component").where(here["block_paths"] > 0, 0.0)
    bounds = mean_over_blocks(sums, here["block_paths"])
    rows: list[tuple[str, ...]] = []
    for m, market in enumerate(reading.study.markets):
        promised, paid, flips = (float(mean[m]) for mean in means)
        if promised == paid == 0.0 or not is_number(paid):
            continue
        low, high = (float(bounds[end].values[m]) for end in ("_low", "_high"))
        said = percent(per_year * paid)
        if is_number(high):
            said += f" [{percent(per_year * low)}, {percent(per_year * high)}]"
        rows.append((market, percent(per_year * promised), said, significant(flips)))
    return rows
