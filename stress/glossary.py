"""The glossary, generated: quantities from the vocabulary, rules and path layers from their own files.

    python -m stress.glossary > GLOSSARY.md

What cannot be generated (words, invariants, false friends) is written here and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterator, Sequence

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from stress import mechanisms, paths
from stress.config import show
from stress.grid import CELL_TERMS, EVENTS
from stress.stages import CONTRACTS, Delay, MeetsStep, Stage
from stress.vocabulary import ATTRIBUTION_RULE, MARKET_OUTCOMES, PATH_ARRAYS, PATH_OUTCOMES, TRACE, Term

# Headings that every mechanism file has, in this order.
HEADINGS = ("Stage", "Formula", "Source", "Invariants", "Limits")

WORDS = (
    ("world price W", "exogenous price; the path"),
    ("venue mid V", "W x (1 + premium), moved by the venue's own impact; order-book fills are made from it"),
    (
        "oracle view O",
        "delayed, filtered observation of the external price X, which is W moved by the arbitraged share of own impact",
    ),
    ("mark M", "the venue's rule on O, V and external perpetual mids; margin, trigger and deleveraging use it"),
    ("arbitrage share (pi)", "share of own impact that arbitrage carries to other venues, in [0, 1]"),
    ("margin account", "a cross pool, or one isolated position; a trader id links the accounts of one person"),
    ("account equity", "cash + size x (mark - entry) - funding owed, USD, signed"),
    ("initial margin fraction", "margin to open, fraction of notional; the highest leverage is its inverse"),
    (
        "maintenance margin fraction",
        "margin to keep, fraction of notional, below the initial one; the ratio of the two is `maintenance_to_initial_ratio`",
    ),
    ("liquidation price", "where equity equals the maintenance requirement; not the bankruptcy price"),
    ("bankruptcy price", "where closing the contracts leaves equity exactly 0"),
    ("bad debt", "what a defaulted account loses beyond its own margin, USD, >= 0"),
    ("open claim", "an account with negative equity whose contracts are still open; deleveraging can act"),
    ("cash claim", "negative cash after all contracts are gone; fund and socialized loss can act"),
    (
        "waterfall",
        "order in which a loss is carried: account margin, insurance fund, auto-deleveraging (ADL), socialized loss",
    ),
    (
        "mutualised loss",
        "loss carried by users who did not default; the headline event is that it exceeds `loss_floor`",
    ),
    ("funding rate", "signed, + = longs pay; accrues as a cumulative index per market"),
    ("open interest", "long side only, USD at t = 0 where it is a denominator"),
    ("provider", "market_makers, pool or vault: a counterparty with finite equity"),
    (
        "path axis, cell axis",
        "an axis that changes the path (scenario, volatility, depth, correlation); one that does not (protocol fields, response, margin mode)",
    ),
    ("block", "a run of consecutive paths, the unit that is written, hashed and verified"),
)

INVARIANTS = (
    (
        "I1",
        "over all rows and balances, cash - entry notional - size x (index - index at settlement) sums to a constant but for named external flows; residual <= 1e-9 of gross notional",
    ),
    ("I2", "every market nets to zero over all rows"),
    ("I3", "the insurance fund is never below zero"),
    (
        "I4",
        "layers act in their declared order; the ledger records which limit (balance, cap, eligibility, time) let an amount pass",
    ),
    ("I5", "contracts closed by ADL equal contracts removed; loss = allocated + residual - overshoot, each >= 0"),
    ("I6", "the trigger is strict: equity equal to the requirement does not liquidate"),
    ("I7", "up to the first exhaustion all fund sizes share the path"),
    ("I8", "any grouping and order of blocks gives the same bytes"),
    ("I9", "the culled engine equals the exhaustive one, bit for bit"),
    ("I10", "`cover_shortage` restores its target in one fill at a constant price"),
)

FALSE_FRIENDS = (
    ("`imf_factor` (Drift)", "a surcharge on the margin ratio that grows with the root of size, not the initial margin fraction"),
    ("`maintenance_fraction_ppm` (dYdX)", "a fraction of the initial margin, not of notional; here `maintenance_to_initial_ratio`"),
    ("mark price", "the oracle price on some venues (dYdX, GMX); here always M, by the venue's rule"),
    ("open interest", "one-sided on some venues, two-sided on others; here the long side"),
    ("insurance fund", "the venue's own money; a clearing house's default fund is its members'"),
    ("bankrupt", "Drift requires that no position is left; on dYdX negative equity suffices to deleverage"),
    ("liquidation price", "where maintenance is breached; the bankruptcy price is where equity is zero"),
    ("socialised, socialized", "the column is `socialized_loss` as venues spell it; `mutualised_loss` is the sum that users carry"),
)  # fmt: skip


def render() -> str:
    """Return the glossary as Markdown."""
    parts = [
        "# Glossary",
        "Generated by `make docs` (`python -m stress.glossary`); edit the sources it names, not this file. "
        "Money is USD, fractions are plain numbers, time carries a unit, sizes are signed base units (+ long).",
        _section("Words", ("word", "meaning"), WORDS),
        _section("Invariants", ("name", "what must hold"), INVARIANTS),
        _section("False friends", ("elsewhere", "what it means there, and here"), FALSE_FRIENDS),
        *(
            _terms(title, terms)
            for title, terms in (
                ("Outcomes per path and cell", PATH_OUTCOMES),
                ("Outcomes per path, cell and market", MARKET_OUTCOMES),
                ("Events: counted per cell, with probabilities and intervals", EVENTS),
                ("Constants of a cell", CELL_TERMS),
                ("Trace of one path, per step and market", TRACE),
                ("Arrays of a path", PATH_ARRAYS),
            )
        ),
        f"Losses by market: {ATTRIBUTION_RULE}.",
        "## Rules of a venue",
        *(_stage(stage) for stage in Stage),
        _section("Layers of a path", ("file", "what it is"), list(_layers())),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _terms(title: str, terms: Sequence[Term]) -> str:
    rows = [(f"`{term.name}`", term.unit, term.sign, term.meaning) for term in terms]
    return _section(title, ("name", "unit", "sign", "meaning"), rows)


def _stage(stage: Stage) -> str:
    contract = CONTRACTS[stage]
    lines = [f"### {stage}", f"Kernels: {', '.join(f'`{name}`' for name in contract.kernels)}. {contract.meaning}."]
    for name, mechanism in sorted(mechanisms.of_stage(stage).items()):
        document = inspect.getdoc(importlib.import_module(f"{mechanisms.__name__}.{name}")) or ""
        lines.append(f"**`{name}`** {document.splitlines()[0]}")
        fields = list(_fields(mechanism.parameters))
        if fields:
            lines.append(_table(("parameter", "default", "time", "meaning"), fields))
    return "\n\n".join(lines)


def _fields(parameters: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    for name, info in parameters.model_fields.items():
        if name == "rule":
            continue
        required = info.default is PydanticUndefined
        default = info.default.value if isinstance(info.default, Delay) else info.default
        meets = next((item.rule for item in info.metadata if isinstance(item, MeetsStep)), "")
        yield (
            f"`{name}`",
            "must be given" if required else f"`{show(default) if default != () else 'none'}`",
            meets,
            info.description or "",
        )
        for inner in _models(info.annotation):
            yield from _fields(inner)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation such as dict[str, tuple[Tier, ...]]; a Delay is one value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Delay:
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)


def _layers() -> Iterator[tuple[str, str]]:
    for module in sorted(pkgutil.iter_modules(paths.__path__), key=lambda item: item.name):
        document = inspect.getdoc(importlib.import_module(f"{paths.__name__}.{module.name}")) or ""
        yield f"`{module.name}`", document.splitlines()[0]


if __name__ == "__main__":
    sys.stdout.write(render())
