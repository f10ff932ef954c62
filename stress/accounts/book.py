"""The book: margin accounts with their positions as sparse rows, and what it looks like in numbers.

Legend: A accounts, R rows (account x market, sorted by account, then market), m markets. Money is
USD, sizes are signed base units (+ long). Market makers are no part of a book: the engine closes
each market's imbalance against them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stress.errors import BookError

KINDS = (
    "directional",
    "hedged_pair",
    "market_neutral",
    "funding_collecting",
    "whale",
    "unclassified",  # accounts of a snapshot
)

InitialMargin = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Initial margin per row [USD, >= 0] from (row_market (R,), size (R,) signed, price (R,)).

It must be 0 at size 0 and must not fall when |size| grows.
"""


@dataclass(frozen=True, eq=False)
class Book:
    """Margin accounts (cross pools and isolated positions) and their positions; arrays are read-only.

    Parameters
    ----------
    markets : names; `row_market` counts in this order.
    trader : (A,) int64, links the accounts of one trader.
    kind : (A,) int8, position in `KINDS`.
    isolated : (A,) bool, an isolated account holds exactly one row.
    cash : (A,) float64 [USD], signed; collateral without unrealised PnL. Negative where
        unrealised profit carries the account.
    row_start : (A + 1,) int64; account a holds the rows row_start[a] : row_start[a + 1], maybe none.
    row_market, size, entry_price : (R,) int64, float64 [base units, + long], float64 [USD]. An entry price of 0
        marks a holding of collateral: it was paid for, so that all of its value is equity.
    market_makers_equity : USD, or None for the engine's default (gross notional).
    trader_names : name of trader i, or empty where traders are only numbers.
    dropped : positions of a snapshot that `other_markets: drop` left out, "trader market size" each.
    """

    markets: tuple[str, ...]
    trader: np.ndarray
    kind: np.ndarray
    isolated: np.ndarray
    cash: np.ndarray
    row_start: np.ndarray
    row_market: np.ndarray
    size: np.ndarray
    entry_price: np.ndarray
    market_makers_equity: float | None = None
    trader_names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            array: np.ndarray = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)  # one book is shared by all cells and threads
            object.__setattr__(self, name, array)
        accounts, rows = self.cash.size, self.size.size
        counts = np.diff(self.row_start)
        for name in ("trader", "kind", "isolated", "cash"):
            _demand(getattr(self, name).shape == (accounts,), name, "has one value per account")
        for name in ("row_market", "size", "entry_price"):
            _demand(getattr(self, name).shape == (rows,), name, "has one value per row")
        _demand(
            self.row_start.shape == (accounts + 1,)
            and self.row_start[0] == 0
            and self.row_start[-1] == rows
            and bool((counts >= 0).all()),
            "row_start",
            "starts at 0, never falls, and ends at the number of rows",
        )
        _demand(((self.row_market >= 0) & (self.row_market < len(self.markets))).all(), "row_market", "names a market")
        same_account = np.diff(self.row_account) == 0
        _demand((np.diff(self.row_market)[same_account] > 0).all(), "row_market", "rises within an account")
        _demand((counts[self.isolated] == 1).all(), "isolated", "an isolated account holds exactly one row")
        _demand(bool(np.isfinite(self.cash).all()), "cash", "is finite")
        _demand(bool((np.isfinite(self.size) & (self.size != 0)).all()), "size", "is finite and not zero")
        _demand(
            bool((np.isfinite(self.entry_price) & (self.entry_price >= 0)).all()),
            "entry_price",
            "is finite, not below 0",
        )

    @property
    def row_account(self) -> np.ndarray:
        """Account of each row, (R,) int64."""
        return np.repeat(np.arange(self.cash.size), np.diff(self.row_start))

    def per_account(self, row_values: np.ndarray) -> np.ndarray:
        """Sum (R,) values over the rows of each account, in row order: (A,) float64."""
        return np.bincount(self.row_account, weights=row_values, minlength=self.cash.size)

    @property
    def is_holding(self) -> np.ndarray:
        """Whether each row is a holding of collateral: (R,) bool."""
        return np.asarray(self.entry_price == 0.0)

    def equity(self, prices: np.ndarray) -> np.ndarray:
        """Cash plus unrealised PnL at `prices` (m,): (A,) [USD], signed."""
        unrealised = self.per_account(self.size * (prices[self.row_market] - self.entry_price))
        return np.asarray(self.cash + unrealised)


_DTYPES = {
    "trader": np.int64,
    "kind": np.int8,
    "isolated": np.bool_,
    "cash": np.float64,
    "row_start": np.int64,
    "row_market": np.int64,
    "size": np.float64,
    "entry_price": np.float64,
}


def _demand(holds: Any, key: str, rule: str) -> None:
    if not holds:
        raise BookError(f"a book's {key} {rule}", key=key)


def summary(book: Book, prices: np.ndarray) -> dict[str, Any]:
    """Describe a book at `prices` (m,) in plain numbers; money in USD, shares as fractions.

    open_interest : per market long, short (both >= 0), imbalance = long - short (what market
        makers take over) and skew = imbalance / (long + short), of the traders alone.
    leverage : quantiles of gross notional / equity over accounts with positions and equity > 0;
        `mean` is weighted by equity (gross notional of all over equity of all).
    concentration : share of gross notional held by the largest 1, 10, 100 traders.
    hedged_share : 1 - sum over traders |net notional| / gross notional; 0 = all directional.
    archetypes : accounts, positions and share of gross notional per kind that occurs.
    """
    notional = np.where(book.is_holding, 0.0, book.size * prices[book.row_market])
    gross = book.per_account(np.abs(notional))
    net = book.per_account(notional)
    equity = book.equity(prices)
    total = float(gross.sum())
    _, trader = np.unique(book.trader, return_inverse=True)
    by_trader = np.sort(np.bincount(trader, weights=gross))[::-1]

    interest = {}
    for index, market in enumerate(book.markets):
        here = notional[book.row_market == index]
        long, short = float(here[here > 0].sum()), float(-here[here < 0].sum())
        interest[market] = {
            "long": long,
            "short": short,
            "imbalance": long - short,
            "skew": _share(long - short, long + short),
        }
    open_accounts = (gross > 0) & (equity > 0)
    leverage = gross[open_accounts] / equity[open_accounts]
    quantiles = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "max": 1.0}
    counts = np.diff(book.row_start)
    return {
        "traders": int(by_trader.size),
        "dropped_positions": len(book.dropped),
        "accounts": int(book.cash.size),
        "isolated_accounts": int(book.isolated.sum()),
        "positions": int(book.size.size),
        "equity": float(equity.sum()),
        "gross_notional": total,
        "open_interest": interest,
        "leverage": {name: float(np.quantile(leverage, q)) if leverage.size else 0.0 for name, q in quantiles.items()}
        | {"mean": _share(float(gross[open_accounts].sum()), float(equity[open_accounts].sum()))},
        "concentration": {f"top_{n}": _share(float(by_trader[:n].sum()), total) for n in (1, 10, 100)},
        "hedged_share": 1.0 - _share(float(np.abs(np.bincount(trader, weights=net)).sum()), total) if total else 0.0,
        "archetypes": {
            KINDS[kind]: {
                "accounts": int((book.kind == kind).sum()),
                "positions": int(counts[book.kind == kind].sum()),
                "notional_share": _share(float(gross[book.kind == kind].sum()), total),
            }
            for kind in np.unique(book.kind)
        },
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
