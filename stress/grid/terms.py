"""What the store holds beside the outcomes of the vocabulary: events, constants, loss rows, bins."""

from __future__ import annotations

import numpy as np

from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, Term

NOMINAL_WEIGHT = 1 << 32

EVENTS: tuple[Term, ...] = (
    Term("mutualised_loss", "i8", "paths", ">= 0", "mutualised loss above the loss floor; losses of the vault count only above 1 % of its equity", "sweep"),
    Term("fund_exhaustion", "i8", "paths", ">= 0", "a claim larger than the balance of the insurance fund", "sweep"),
    Term("adl", "i8", "paths", ">= 0", "at least one contract auto-deleveraged", "sweep"),
    Term("market_makers_default", "i8", "paths", ">= 0", "equity of the market makers fell below zero", "sweep"),
)  # fmt: skip
AVERAGED: tuple[Term, ...] = tuple(
    term for term in PATH_OUTCOMES if (term.dtype == "f8" and term.name != "ledger_residual") or term.unit == "accounts"
)
# Market by market, the sums of each block are kept too: they give intervals, and differences on the same paths.
BY_MARKET: tuple[Term, ...] = tuple(
    term
    for term in MARKET_OUTCOMES
    if term.name in ("mutualised_loss", "bad_debt", "adl_notional", "liquidated_notional", "funding_paid")
)
CELL_TERMS: tuple[Term, ...] = (
    Term("open_interest", "f8", "USD", ">= 0", "open interest carried at t = 0, long side, at the marks", "sweep"),
    Term("gross_notional", "f8", "USD", ">= 0", "notional of all rows at t = 0", "sweep"),
    Term("trader_equity", "f8", "USD", "signed", "equity of all traders at t = 0", "sweep"),
    Term("vault_equity_at_start", "f8", "USD", ">= 0", "equity of the backstop vault at t = 0", "sweep"),
    Term("fund", "f8", "USD", ">= 0", "balance of the insurance fund at t = 0", "sweep"),
    Term("loss_floor", "f8", "USD", ">= 0", "a mutualised loss must exceed it to count as an event", "sweep"),
    Term("vault_loss_floor", "f8", "USD", ">= 0", "a default loss of the vault must exceed it to count for the event", "sweep"),
)  # fmt: skip
LOSS_TERMS: tuple[Term, ...] = (
    Term("cell", "i8", "index", ">= 0", "cell in C order over the cell axes", "sweep"),
    Term("path", "i8", "index", ">= 0", "path id; replay it with `perpstress path`", "sweep"),
    Term("weight", "i8", "2^-32", ">= 0", "likelihood weight; nominal 2^32", "sweep"),
    Term("events", "i8", "bits", ">= 0", "bit i set: event i of `event_names` happened", "sweep"),
    *(
        term
        for term in PATH_OUTCOMES
        if term.name
        in ("mutualised_loss", "bad_debt", "peak_uncovered_loss", "adl_notional", "exhaustion_step",
            "first_liquidation_step", "first_adl_step", "fund_paid", "provider_default_loss", "adl_shortfall",
            "socialized_loss", "unresolved_bad_debt")
    ),
)  # fmt: skip

BINS_PER_DECADE = 64
# 0, then 1 .. 1e10 USD, then infinity: the first bin is "below 1 USD", the last "1e10 USD and more".
BIN_EDGES = np.concatenate(([0.0], 10.0 ** (np.arange(10 * BINS_PER_DECADE + 1) / BINS_PER_DECADE), [np.inf]))


def describe(term: Term, prefix: str = "") -> dict[str, str]:
    """Return the attributes under which a term stands in the store."""
    return {"unit": term.unit, "sign": term.sign, "meaning": prefix + term.meaning, "source": term.source}
