"""What accounts hold beside cash: collateral in other assets, and the spot legs of basis trades.

A holding is a row with an entry price of 0 in the asset's market: it was paid for out of cash, so equity does not
move at t = 0. Isolated accounts hold cash only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stress.accounts.book import KINDS, Book
from stress.errors import BookError, did_you_mean


def with_holdings(
    book: Book, assets: Sequence[str], prices: np.ndarray, collateral: Mapping[str, float], spot_leg: Mapping[str, str]
) -> Book:
    """Return the book with the assets' markets after its own, and what its cross accounts hold of them.

    Parameters
    ----------
    assets : names of the assets that the venue takes as collateral.
    prices : (m,) USD, the book's markets, then the assets.
    collateral : share of an account's equity (where positive) that it holds in an asset.
    spot_leg : asset that a funding collector holds against a short in a market, unit for unit.
    """
    known = set(assets)
    for name in (*collateral, *spot_leg.values()):
        if name not in known:
            raise BookError("is no asset that the venue takes as collateral", key=name, fix=did_you_mean(name, known))
    for name in spot_leg:
        if name not in book.markets:
            raise BookError("is no market of the book", key=name, fix=did_you_mean(name, book.markets))
    if sum(collateral.values()) > 1.0:
        raise BookError("the shares held in assets add up to at most 1", key="book.collateral", value=dict(collateral))
    first = len(book.markets)
    cross = ~book.isolated
    worth = np.where(cross, np.maximum(book.equity(prices[:first]), 0.0), 0.0)
    units = np.zeros((book.cash.size, len(assets)))
    for k, asset in enumerate(assets):
        units[:, k] = collateral.get(asset, 0.0) * worth / prices[first + k]
    collectors = cross & (book.kind == KINDS.index("funding_collecting"))
    for market, asset in spot_leg.items():
        here = (book.row_market == book.markets.index(market)) & (book.size < 0)
        units[:, assets.index(asset)] += np.where(collectors, book.per_account(np.where(here, -book.size, 0.0)), 0.0)
    account, asset_of = np.nonzero(units)  # by account, then asset
    order = np.argsort(np.concatenate([book.row_account, account]), kind="stable")
    held = units[account, asset_of]
    return replace(
        book,
        markets=(*book.markets, *assets),
        cash=book.cash - units @ prices[first:],
        row_start=np.concatenate([[0], np.cumsum(np.diff(book.row_start) + np.count_nonzero(units, axis=1))]),
        row_market=np.concatenate([book.row_market, first + asset_of])[order],
        size=np.concatenate([book.size, held])[order],
        entry_price=np.concatenate([book.entry_price, np.zeros(held.size)])[order],
    )
