"""What traders do when terms change, and what becomes of a cross pool where margin is isolated.

Traders are static but for one declared response at t = 0 (design: traders are static except for
their declared response to a parameter change). Every response compares each account's initial
margin under the current and the proposed terms; where the two agree nothing moves, and the book
comes back with the same bytes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stress.accounts import Book, InitialMargin
from stress.config import RESPONSES
from stress.errors import BookError, did_you_mean

# A requirement within this relative distance of its target counts as equal to it.
TOLERANCE = 1e-12


def respond(
    book: Book,
    response: str,
    *,
    prices: np.ndarray,
    current: InitialMargin,
    proposed: InitialMargin,
    changed_markets: np.ndarray,
) -> Book:
    """Return the book after the traders' response to a change of initial margin from `current` to `proposed`.

    keep_utilisation : an account scales all its sizes by the one factor f that keeps initial
        margin / equity, that is proposed(f x sizes) = current(sizes), up and down; its mix stays.
    shrink_positions : an account whose requirement rises above max(equity, current requirement)
        scales its sizes down until its requirement is that. The second term lets an account that
        stood above the cap already (a snapshot) stay where it stood.
    add_collateral : the same accounts deposit the difference instead.
    grandfather : as keep_utilisation, but positions keep their rates: `proposed` is then what both sets of terms ask
        together, see `turned_over`.

    Size is added and removed at the mark of t = 0, so that equity does not move: an addition
    averages the entry price, a reduction realises PnL into cash. Where a requirement jumps over
    its target (a tier table without deductions), the account stays just below the jump.

    Parameters
    ----------
    prices : (m,) marks at t = 0 [USD].
    current, proposed : requirement per row under either terms, see `InitialMargin`.
    changed_markets : (m,) bool; an account without a position in one of them does not move.
    """
    if response not in RESPONSES:
        raise BookError(
            "is not a response of traders", key="traders", value=response, fix=did_you_mean(response, RESPONSES)
        )
    row_price = prices[book.row_market]
    before = book.per_account(current(book.row_market, book.size, row_price))
    after = book.per_account(proposed(book.row_market, book.size, row_price))
    exposed = book.per_account(changed_markets[book.row_market].astype(np.float64)) > 0
    keeps = response in ("keep_utilisation", "grandfather")
    target = before if keeps else np.maximum(before, book.equity(prices))
    moves = exposed & (np.abs(after - target) > TOLERANCE * target)
    if not keeps:
        moves &= after > target
    if not moves.any():
        return book
    if response == "add_collateral":
        return replace(book, cash=np.where(moves, book.cash + (after - target), book.cash))
    return _trade(book, _factors(book, moves, target, after, proposed, row_price), row_price)


def turned_over(current: InitialMargin, proposed: InitialMargin, turnover: float) -> InitialMargin:
    """Return what positions owe of which a share was opened anew: (1 - turnover) x current + turnover x proposed.

    Each position turns over by the same share. With turnover 0 this is `current`, with 1 `proposed`, to the bit.
    """

    def both(market: np.ndarray, size: np.ndarray, price: np.ndarray) -> np.ndarray:
        kept, new = current(market, size, price), proposed(market, size, price)
        return np.where(kept == new, new, (1.0 - turnover) * kept + turnover * new)

    return both


def _factors(
    book: Book, moves: np.ndarray, target: np.ndarray, at_one: np.ndarray, requirement: InitialMargin, price: np.ndarray
) -> np.ndarray:
    """Solve requirement(f x sizes) = target for one factor f per account in `moves`; 1 elsewhere: (A,).

    The requirement does not fall in f, so [low, high] brackets the solution. Odd steps go along
    the chord (exact once the bracket lies within one tier), even steps halve the bracket, so that
    no tier table makes it slow. Each account's steps depend on that account alone.
    """
    if not ((target[moves] > 0).all() and (at_one[moves] > 0).all()):
        raise BookError(
            "a response needs an initial margin above zero before and after the change",
            key="traders",
            fix="give every market that traders hold a finite leverage cap",
        )
    factor = np.ones(book.cash.size)
    pending = np.flatnonzero(moves)
    low, low_value = np.zeros(factor.size), np.zeros(factor.size)
    high, high_value = np.full(factor.size, np.inf), np.full(factor.size, np.inf)
    value = at_one.copy()
    step = 0
    while True:
        above = value[pending] > target[pending]
        for side, bound, bound_value in ((~above, low, low_value), (above, high, high_value)):
            bound[pending[side]] = factor[pending[side]]
            bound_value[pending[side]] = value[pending[side]]
        hit = np.abs(value[pending] - target[pending]) <= TOLERANCE * target[pending]
        jump = ~hit & np.isfinite(high[pending]) & (low[pending] >= high[pending] * (1.0 - 4e-16))
        factor[pending[jump]] = low[pending[jump]]
        pending = pending[~(hit | jump)]
        if not pending.size:
            return factor
        if step == 200:
            raise BookError(
                "initial margin must grow with position size without bound",
                key="traders",
                value=int(book.trader[pending[0]]),
                fix="check the margin tiers of the markets this trader holds",
            )
        lo, hi, goal = low[pending], high[pending], target[pending]
        open_ended = np.isinf(hi)
        with np.errstate(invalid="ignore"):
            chord = lo + (hi - lo) * (goal - low_value[pending]) / (high_value[pending] - low_value[pending])
            middle = 0.5 * (lo + hi)
            proportional = factor[pending] * goal / value[pending]
        factor[pending] = np.where(open_ended, proportional, chord if step % 2 == 0 else middle)
        rows = np.flatnonzero(np.isin(book.row_account, pending))
        owner = book.row_account[rows]
        scale = np.where(book.is_holding[rows], 1.0, factor[owner])
        margin = requirement(book.row_market[rows], book.size[rows] * scale, price[rows])
        value = np.bincount(owner, weights=margin, minlength=factor.size)
        step += 1


def _trade(book: Book, factor: np.ndarray, row_price: np.ndarray) -> Book:
    """Scale each account's sizes by its factor (A,), trading the difference at `row_price` (R,)."""
    scale = np.where(book.is_holding, 1.0, factor[book.row_account])  # positions move, collateral stays
    size = book.size * scale
    # Entry notional + added notional, over the new size; exact in sign because scale > 1 here.
    entry = np.where(scale > 1.0, (book.entry_price + (scale - 1.0) * row_price) / scale, book.entry_price)
    realised = np.where(scale < 1.0, (book.size - size) * (row_price - book.entry_price), 0.0)
    cash = np.where(factor < 1.0, book.cash + book.per_account(realised), book.cash)
    return replace(book, cash=cash, size=size, entry_price=entry)


def isolate(book: Book, initial_margin: InitialMargin, prices: np.ndarray) -> Book:
    """Return the book with every position in an isolated account of its own (margin mode isolated).

    A pool's equity at the marks of t = 0 is split over its positions in proportion to their
    initial margin, so that each position starts at the utilisation of its pool: the account of
    position i gets cash_i = equity x IM_i / IM - unrealised PnL_i, and the cash of a pool is
    conserved. Splitting bare cash instead would hand the losing leg of a hedge a debt that the
    pool does not have. Isolated accounts and pools without positions stay as they are; trader and
    kind are kept.
    """
    if book.is_holding.any():
        raise BookError(
            "a pool that holds assets is not split",
            key="margin_mode",
            value="isolated",
            fix="use margin_mode: cross, or a book without collateral",
        )
    row_price = prices[book.row_market]
    owner = book.row_account
    counts = np.diff(book.row_start)
    split = counts[owner] > 1
    margin = initial_margin(book.row_market, book.size, row_price)
    pool = book.per_account(margin)
    if not (pool[owner[split]] > 0).all():
        raise BookError(
            "a pool is split in proportion to initial margin, which must be above zero",
            key="margin_mode",
            value="isolated",
            fix="give every market that traders hold a finite leverage cap",
        )
    unrealised = book.size * (row_price - book.entry_price)
    share = np.divide(margin, pool[owner], out=np.ones_like(margin), where=split)
    cash_of_row = np.where(split, book.equity(prices)[owner] * share - unrealised, book.cash[owner])

    # One account per row, and one for each pool without rows, in the old order.
    parts = np.maximum(counts, 1)
    source = np.repeat(np.arange(parts.size), parts)
    holds = counts[source] > 0
    cash = book.cash[source].copy()
    cash[holds] = cash_of_row
    return replace(
        book,
        trader=book.trader[source],
        kind=book.kind[source],
        isolated=holds,
        cash=cash,
        row_start=np.concatenate([[0], np.cumsum(holds)]),
    )
