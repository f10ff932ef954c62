"""Books of accounts: synthetic or read from a snapshot."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stress.accounts.book import KINDS, Book, InitialMargin, summary
from stress.accounts.holdings import with_holdings
from stress.accounts.reshaping import reshape
from stress.accounts.snapshot import SnapshotBook, read_snapshot
from stress.accounts.synthetic import SyntheticBook, make_synthetic

BookSpec = Annotated[SyntheticBook | SnapshotBook, Field(discriminator="kind")]


def make_book(
    spec: SyntheticBook | SnapshotBook,
    *,
    markets: tuple[str, ...],
    prices: np.ndarray,
    leverage_cap: np.ndarray,
    seed: int,
    initial_margin: InitialMargin,
    open_interest: np.ndarray | None = None,
    assets: tuple[str, ...] = (),
) -> Book:
    """Make the book of a study, once, at the protocol's own (current) parameters.

    Parameters
    ----------
    markets : names, in the order of every (m,) array.
    prices : (m,) prices at t = 0 [USD].
    leverage_cap : (m,) highest leverage of each market's first tier.
    seed : 0 <= seed < 2^64; the same seed and spec give the same bytes.
    initial_margin : requirement per row under the current terms, see `InitialMargin`.
    open_interest : (m,) USD, one side, of the market file; used where a synthetic book states none.
    assets : names of what the venue takes as collateral; their prices follow those of the markets.

    Returns
    -------
    The traders' book. Its markets do not net to zero: the imbalance of each is closed against
    `market_makers` by the engine. A synthetic account starts at or above its initial margin; an
    account of a snapshot is taken as it stands. Then the book is drawn again and scaled, if the
    spec says so.
    """
    all_prices = np.asarray(prices, dtype=np.float64)
    prices = all_prices[: len(markets)]
    if isinstance(spec, SnapshotBook):
        book = read_snapshot(spec, markets=tuple(markets))
    else:
        book = make_synthetic(
            spec,
            markets=tuple(markets),
            prices=prices,
            leverage_cap=np.asarray(leverage_cap, dtype=np.float64),
            seed=seed,
            initial_margin=initial_margin,
            open_interest=open_interest,
        )
    book = reshape(book, spec.scale, spec.resample, prices, seed)
    spot_leg = spec.spot_leg if isinstance(spec, SyntheticBook) else {}
    if not assets and not spec.collateral and not spot_leg:
        return book
    return with_holdings(book, assets, all_prices, spec.collateral, spot_leg)


def read_book(spec: SnapshotBook, *, markets: tuple[str, ...], prices: np.ndarray, seed: int) -> Book:
    """Return the book of a file, drawn again and scaled as its spec says; `make_book` without a venue."""
    return reshape(read_snapshot(spec, markets=tuple(markets)), spec.scale, spec.resample, prices, seed)


__all__ = [
    "KINDS",
    "Book",
    "BookSpec",
    "InitialMargin",
    "SnapshotBook",
    "SyntheticBook",
    "make_book",
    "read_book",
    "summary",
]
