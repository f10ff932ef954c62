"""Books made larger or smaller: scaled by one factor, or drawn again from their own traders.

Scaling multiplies sizes and collateral of every account by one factor, so that leverage, mix,
concentration and entry prices stay. Bootstrapping draws traders with replacement, each with all
accounts, so that links between pools and isolated positions stay; it comes before scaling. Stated
equity of market makers is a fact of its own and is not touched by either.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from stress.accounts.book import Book
from stress.errors import BookError


class ToOpenInterest(BaseModel):
    """Scale a book to an open interest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    open_interest: PositiveFloat = Field(
        description="USD, one side, market makers included, over all markets at the prices of t = 0"
    )


class Resample(BaseModel):
    """Draw traders with replacement; draw i depends on (seed, i) alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    accounts: int = Field(ge=1, le=1_000_000, description="traders to draw; each brings all accounts of its own")
    seed: int | None = Field(default=None, ge=0, lt=2**64, description="key of the draws; null = the study's seed")


Scale = Annotated[
    PositiveFloat | ToOpenInterest,
    Field(description="factor on all sizes and collateral, or the open interest to reach"),
]
Resampling = Annotated[Resample | None, Field(description="draw this many traders with replacement; null = as it is")]


def reshape(
    book: Book, scale: float | ToOpenInterest, resample: Resample | None, prices: np.ndarray, seed: int
) -> Book:
    """Return the book drawn again and scaled as asked; the same bytes where nothing is asked."""
    if resample is not None:
        book = draw(book, resample.accounts, seed if resample.seed is None else resample.seed)
    if isinstance(scale, ToOpenInterest):
        carried = one_side(book, prices)
        if not carried > 0:
            raise BookError("a book without positions has no open interest to scale", key="book.scale.open_interest")
        scale = scale.open_interest / carried
    return book if scale == 1.0 else replace(book, cash=book.cash * scale, size=book.size * scale)


def one_side(book: Book, prices: np.ndarray) -> float:
    """Open interest [USD], one side, once market makers hold the imbalance: the larger side of each market, summed."""
    notional = np.where(book.is_holding, 0.0, book.size * prices[book.row_market])
    longs, shorts = (
        np.bincount(book.row_market, weights=np.maximum(side, 0.0), minlength=len(book.markets))
        for side in (notional, -notional)
    )
    return float(np.maximum(longs, shorts).sum())


def draw(book: Book, count: int, seed: int) -> Book:
    """Return a book of `count` traders drawn with replacement; a name drawn again gets a number (`0xa#2`)."""
    stream = int.from_bytes(hashlib.blake2b(b"book/resample", digest_size=8).digest(), "little")
    uniform = np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))).random(count)
    traders, position = np.unique(book.trader, return_inverse=True)
    drawn = np.floor(uniform * traders.size).astype(np.int64)
    by_trader = np.argsort(position, kind="stable")
    first = np.searchsorted(position[by_trader], np.arange(traders.size + 1))
    account = by_trader[_ranges(first[drawn], first[drawn + 1])]
    row = _ranges(book.row_start[account], book.row_start[account + 1])
    return replace(
        book,
        trader=np.repeat(np.arange(count), (first[1:] - first[:-1])[drawn]),
        kind=book.kind[account],
        isolated=book.isolated[account],
        cash=book.cash[account],
        row_start=np.concatenate([[0], np.cumsum(np.diff(book.row_start)[account])]),
        row_market=book.row_market[row],
        size=book.size[row],
        entry_price=book.entry_price[row],
        trader_names=_names([book.trader_names[trader] for trader in traders[drawn]]) if book.trader_names else (),
    )


def _ranges(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return start[0] .. end[0] - 1, start[1] .. end[1] - 1, and so on, as one array."""
    count = end - start
    before = np.cumsum(count) - count
    return np.asarray(np.repeat(start - before, count) + np.arange(count.sum()))


def _names(drawn: list[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    names = []
    for name in drawn:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(names)
