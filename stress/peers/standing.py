"""A venue at rest for an adapter: rules of the shelf, a few accounts, prices; nothing has happened yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stress.accounts import Book
from stress.config import Protocol
from stress.engine import Round, build_cell, compose_round, open_venue
from stress.kernels.venue import Venue

_SOURCES = [{"of": "all values", "text": "the vector", "date": "2026-11-26"}]
_FLAT = [{"above": 0, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5}]


TINY = 1e-12
QUANTUM = 1e-6  # USDC has six decimals: venues book whole quanta


def strictly(value: float, low: float = 0.0, high: float = np.inf) -> float:
    """Return a value moved by a hair inside (low, high): vectors also state ends that no protocol file may."""
    return float(min(max(value, low + TINY), high - TINY))


def whole_quanta(usd: float, *, up: bool = False) -> float:
    """Return USD in whole quanta, down or up; what is whole but for binary rounding stays what it is."""
    return float(np.ceil(usd / QUANTUM - 1e-6) if up else np.floor(usd / QUANTUM + 1e-6)) * QUANTUM


def protocol_of(**stages: Any) -> Protocol:
    """Return a protocol with the simplest rule at every stage that is not given."""
    plain: dict[str, Any] = {
        "schema": 1,
        "name": "peer",
        "title": "Rules under a vector",
        "summary": "The rules that a vector tests; the simplest ones elsewhere.",
        "sources": _SOURCES,
        "impact": {"rule": "linear_impact"},
        "oracle": {"rule": "external_feed", "oracle_delay": "0s"},
        "mark": {"rule": "oracle_mark"},
        "margin": {"rule": "tiered_margin", "markets": {"default": _FLAT}},
        "trigger": {"rule": "strict_trigger"},
        "size": {"rule": "full_size"},
        "execution": [{"rule": "order_book", "deficit_fill": "any"}],
    }
    return Protocol.model_validate({**plain, **stages})


def book_of(markets: Sequence[str], accounts: Sequence[tuple[float, Mapping[int, tuple[float, float]]]]) -> Book:
    """Return a book of accounts (cash, {market: (size, entry price)}); a position of size 0 is none."""
    held_by = [{m: row for m, row in sorted(held.items()) if row[0] != 0.0} for _, held in accounts]
    rows = [(m, *row) for held in held_by for m, row in held.items()]
    counts = [len(held) for held in held_by]
    return Book(
        markets=tuple(markets),
        trader=np.arange(len(accounts)),
        kind=np.zeros(len(accounts), np.int8),
        isolated=np.zeros(len(accounts), bool),
        cash=np.array([cash for cash, _ in accounts], float),
        row_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        row_market=np.array([row[0] for row in rows], np.int64),
        size=np.array([row[1] for row in rows], float),
        entry_price=np.array([row[2] for row in rows], float),
    )


def venue_of(
    prices: Mapping[str, float],
    accounts: Sequence[tuple[float, Mapping[int, tuple[float, float]]]],
    *,
    step: float = 1.0,
    **stages: Any,
) -> Venue:
    """Return a venue whose oracle, mark and mid stand at `prices`, with rules chosen as in a protocol file."""
    values = np.array(list(prices.values()), float)
    cell = build_cell(protocol_of(**stages), book_of(list(prices), accounts), prices=values, step=step)
    return open_venue(cell, values)


def round_of(**stages: Any) -> Round:
    """Return what the engine composes of the rules: a whole round, and its waterfall."""
    return compose_round([mechanism for mechanism, _ in protocol_of(**stages).rules()], culled=False)


def size_of(venue: Venue, counterparty: int, market: int = 0) -> float:
    """Return the size that a counterparty holds of a market, signed base units."""
    return float(venue.rows[venue.accounts[venue.traders + counterparty]["row_start"] + market]["size"])
