"""Small venues for tests: a protocol from a few rules, a one-market book, paths given as lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from stress import engine
from stress.accounts import Book
from stress.config import Protocol
from stress.kernels.ledger import equity
from stress.kernels.venue import COUNTERPARTIES, HOLDERS, PathBlock

SOURCES = [{"of": "all values", "text": "a test", "date": "2026-11-22"}]


def protocol_of(**stages: Any) -> Protocol:
    """Return a protocol with the simplest rule at every stage that is not given."""
    plain: dict[str, Any] = {
        "schema": 1,
        "name": "test",
        "title": "Test venue",
        "summary": "One rule per stage.",
        "sources": SOURCES,
        "impact": {"rule": "linear_impact"},
        "oracle": {"rule": "external_feed", "oracle_delay": "0s"},
        "mark": {"rule": "oracle_mark"},
        "margin": {
            "rule": "tiered_margin",
            "markets": {"default": [{"above": 0, "leverage_cap": 20, "maintenance_to_initial_ratio": 0.5}]},
        },
        "trigger": {"rule": "strict_trigger"},
        "size": {"rule": "full_size"},
        "execution": [{"rule": "order_book", "deficit_fill": "covered"}],
        "waterfall": [{"rule": "insurance_fund", "insurance_fund": 0.0}],
    }
    return Protocol.model_validate({**plain, **stages})


def book_of(
    markets: tuple[str, ...],
    cash: list[float],
    rows: list[list[tuple[int, float, float]]],
    makers_equity: float | None = None,
) -> Book:
    """Return a book; `rows` lists (market, size, entry price) per account."""
    flat = [row for account in rows for row in account]
    return Book(
        markets=markets,
        trader=np.arange(len(cash)),
        kind=np.zeros(len(cash), np.int8),
        isolated=np.zeros(len(cash), bool),
        cash=np.array(cash, float),
        row_start=np.concatenate([[0], np.cumsum([len(account) for account in rows])]).astype(np.int64),
        row_market=np.array([row[0] for row in flat], np.int64),
        size=np.array([row[1] for row in flat], float),
        entry_price=np.array([row[2] for row in flat], float),
        market_makers_equity=makers_equity,
    )


def one_market_book(
    cash: list[float], size: list[float], entry: list[float], makers_equity: float | None = None
) -> Book:
    """Return a book of one position per account in market X."""
    rows = [[(0, s, e)] for s, e in zip(size, entry, strict=True)]
    return book_of(("X",), cash, rows, makers_equity)


def paths_of(
    world: np.ndarray,
    *,
    premium: Any = 0.0,
    external_premium: Any | None = None,
    depth: Any = np.inf,
    oracle_outage: Any = 0,
    venue_outage: Any = 0,
) -> PathBlock:
    """Return a block from world prices (p, S + 1, m); other arrays are broadcast to it."""
    world = np.ascontiguousarray(world, float)

    def like(value: Any, dtype: Any = float) -> np.ndarray:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype), world.shape))

    return PathBlock(
        first_path=0,
        world=world,
        depth=like(depth),
        premium=like(premium),
        external_premium=like(premium if external_premium is None else external_premium),
        oracle_outage=like(oracle_outage, np.uint8),
        venue_outage=np.ascontiguousarray(np.broadcast_to(np.asarray(venue_outage, np.uint8), world.shape[:2])),
        regime=np.full(world.shape[:2], -1, np.int8),
    )


def one_market_paths(world: list[float], *, premium: Any = 0.0, depth: Any = np.inf, **arrays: Any) -> PathBlock:
    """Return one path of one market; lists run over steps."""

    def column(value: Any) -> Any:
        return np.asarray(value, float).reshape(1, -1, 1) if np.ndim(value) == 1 else value

    return paths_of(column(world), premium=column(premium), depth=column(depth), **arrays)


def run_one(protocol: Protocol, book: Book, block: PathBlock, step: float = 60.0, *, culled: bool = True):
    """Run one path and return (venue after it, record of PATH_OUTCOMES)."""
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=step)
    venue, outcome = engine.replay_venue(engine.compose(protocol, culled=culled), cell, block)
    return venue, outcome.paths[0]


def at_rest(protocol: Protocol, book: Book, prices: list[float], step: float = 60.0, steps: int = 10):
    """Return the venue after `steps` steps without a move, for kernels called by hand."""
    world = np.broadcast_to(np.array(prices, float), (1, steps + 1, len(prices)))
    return run_one(protocol, book, paths_of(world), step)[0]


def trace_one(protocol: Protocol, book: Book, block: PathBlock, step: float = 60.0) -> np.ndarray:
    """Run one path of one market and return its record of TRACE per step, (S + 1,)."""
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=step)
    trace = engine.simulate(engine.compose(protocol), cell, block, trace_path=0).trace
    assert trace is not None
    return trace[:, 0]


def account_cash(venue) -> dict[str, float]:
    """Cash by account: traders A0, A1, …, then counterparties that hold any or owe any."""
    cash = venue.accounts["cash"]
    named = {f"A{a}": float(cash[a]) for a in range(venue.traders)}
    return named | {name: float(cash[venue.traders + k]) for k, name in enumerate(COUNTERPARTIES)}


def account_equity(venue) -> dict[str, float]:
    """Equity at the marks by account, named as in `account_cash`; in interpreted tests only."""
    named = [f"A{a}" for a in range(venue.traders)] + list(COUNTERPARTIES)
    return {name: float(equity(venue, a)) for a, name in enumerate(named)}


def row_of(venue, name: str, market: int = 0) -> tuple[float, float]:
    """Return (size, entry notional) of an account's row in a market."""
    account = int(name[1:]) if name[0] == "A" else venue.traders + COUNTERPARTIES.index(name)
    assert name[0] == "A" or COUNTERPARTIES.index(name) < HOLDERS
    for r in range(venue.accounts[account]["row_start"], venue.accounts[account]["row_end"]):
        if venue.rows[r]["market"] == market:
            return float(venue.rows[r]["size"]), float(venue.rows[r]["entry_notional"])
    raise AssertionError(name)
