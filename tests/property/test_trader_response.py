"""Identities that every response of traders keeps, over random books and tier tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stress.accounts import Book
from stress.config import RESPONSES
from stress.traders import isolate, respond

PRICES = np.array([60_000.0, 3_000.0, 150.0])
ARRAYS = ("trader", "kind", "isolated", "cash", "row_start", "row_market", "size", "entry_price")


@st.composite
def books(draw):
    """Books of up to eight accounts with equity of either sign and empty pools among them."""
    trader, isolated, cash, row_start, row_market, size, entry = [], [], [], [0], [], [], []
    for account in range(draw(st.integers(1, 8))):
        held = sorted(draw(st.sets(st.integers(0, 2), max_size=3)))
        isolated.append(len(held) == 1 and draw(st.booleans()))
        trader.append(account)
        notional = 0.0
        for market in held:
            value = draw(st.floats(10.0, 1e8))
            row_market.append(market)
            size.append(draw(st.sampled_from([-1.0, 1.0])) * value / PRICES[market])
            entry.append(PRICES[market] * draw(st.floats(0.5, 2.0)))
            notional += value
        cash.append(draw(st.floats(-0.1, 1.0)) * (notional + 100.0))
        row_start.append(len(row_market))
    return Book(("BTC", "ETH", "SOL"), trader, [0] * len(trader), isolated, cash, row_start, row_market, size, entry)


@st.composite
def margins(draw):
    """Continuous tiered requirements: rates rise with notional, per market."""
    rate = np.array([[draw(st.floats(0.005, 0.5)) for _ in range(3)] for _ in range(3)]).cumsum(axis=1)
    above = np.array([sorted(draw(st.floats(1e3, 1e8)) for _ in range(2)) for _ in range(3)])

    def requirement(market, size, price):
        notional = np.abs(size) * price
        return (
            rate[market, 0] * notional
            + (rate[market, 1] - rate[market, 0]) * np.maximum(notional - above[market, 0], 0.0)
            + (rate[market, 2] - rate[market, 1]) * np.maximum(notional - above[market, 1], 0.0)
        )

    return requirement


changed = st.lists(st.booleans(), min_size=3, max_size=3).map(np.array)
responses = st.sampled_from(RESPONSES)


def answer(book, response, current, proposed, markets):
    return respond(book, response, prices=PRICES, current=current, proposed=proposed, changed_markets=markets)


def required(book, margin):
    return book.per_account(margin(book.row_market, book.size, PRICES[book.row_market]))


def gross(book):
    return book.per_account(np.abs(book.size) * (PRICES[book.row_market] + book.entry_price)) + np.abs(book.cash)


def exposed(book, markets):
    return book.per_account(markets[book.row_market].astype(float)) > 0


def assert_same_bytes(one, other, rows=slice(None), accounts=slice(None)):
    for name in ARRAYS:
        of_rows = name in ("row_market", "size", "entry_price")
        part = slice(None) if name == "row_start" else rows if of_rows else accounts
        assert getattr(one, name)[part].tobytes() == getattr(other, name)[part].tobytes(), name


@given(books(), responses, margins(), changed)
def test_unchanged_terms_give_the_same_bytes(book, response, margin, markets):
    assert_same_bytes(book, answer(book, response, margin, margin, markets))


@given(books(), responses, margins(), margins(), changed)
def test_only_exposed_accounts_move_and_deposits_are_the_only_change_of_equity(
    book, response, current, proposed, markets
):
    after = answer(book, response, current, proposed, markets)
    still = ~exposed(book, markets)
    assert_same_bytes(book, after, rows=still[book.row_account], accounts=still)
    change = after.equity(PRICES) - book.equity(PRICES)
    scale = gross(book) + gross(after)
    if response == "add_collateral":
        assert (change >= -1e-12 * scale).all()
        assert after.size.tobytes() == book.size.tobytes()
    else:
        assert (np.abs(change) <= 1e-12 * scale).all()


@given(books(), margins(), margins(), changed)
def test_keep_utilisation_keeps_utilisation_and_mix(book, current, proposed, markets):
    after = answer(book, "keep_utilisation", current, proposed, markets)
    moved = exposed(book, markets)
    np.testing.assert_allclose(required(after, proposed)[moved], required(book, current)[moved], rtol=1e-9)
    factor = after.size / book.size
    first = factor[book.row_start[:-1][moved]]
    np.testing.assert_allclose(factor[moved[book.row_account]], np.repeat(first, np.diff(book.row_start)[moved]))
    assert (factor > 0).all()


@given(books(), st.sampled_from(("shrink_positions", "add_collateral")), margins(), margins(), changed)
def test_accounts_above_the_new_cap_come_down_to_it_and_others_stay(book, response, current, proposed, markets):
    after = answer(book, response, current, proposed, markets)
    # An account that was above its cap before may stay as far above it.
    allowed = np.maximum(book.equity(PRICES), required(book, current))
    above = exposed(book, markets) & (required(book, proposed) > allowed * (1 + 1e-11))
    assert_same_bytes(book, after, rows=~above[book.row_account], accounts=~above)
    if response == "shrink_positions":
        np.testing.assert_allclose(required(after, proposed)[above], allowed[above], rtol=1e-9)
        assert (np.abs(after.size) <= np.abs(book.size)).all()
    else:
        missing = required(book, proposed) - allowed
        np.testing.assert_allclose((after.cash - book.cash)[above], missing[above], rtol=1e-6, atol=1e-6)


@given(books(), margins(), margins(), changed)
def test_there_and_back_returns_to_the_same_sizes(book, current, proposed, markets):
    there = answer(book, "keep_utilisation", current, proposed, markets)
    back = answer(there, "keep_utilisation", proposed, current, markets)
    np.testing.assert_allclose(back.size, book.size, rtol=1e-9)


@given(books(), margins(), margins())
def test_accounts_do_not_depend_on_each_other(book, current, proposed):
    every = np.ones(3, dtype=bool)
    together = answer(book, "keep_utilisation", current, proposed, every)
    for account in range(book.cash.size):
        rows = slice(book.row_start[account], book.row_start[account + 1])
        alone = Book(
            book.markets, book.trader[[account]], book.kind[[account]], book.isolated[[account]],
            book.cash[[account]], [0, rows.stop - rows.start], book.row_market[rows], book.size[rows],
            book.entry_price[rows],
        )  # fmt: skip
        assert (
            answer(alone, "keep_utilisation", current, proposed, every).size.tobytes() == together.size[rows].tobytes()
        )


@given(books(), margins())
def test_isolating_conserves_cash_sizes_and_utilisation(book, margin):
    split = isolate(book, margin, PRICES)
    for name in ("row_market", "size", "entry_price"):
        assert getattr(split, name).tobytes() == getattr(book, name).tobytes()
    assert (np.diff(split.row_start) <= 1).all()
    assert (split.isolated == (np.diff(split.row_start) == 1)).all()
    cash = np.bincount(split.trader, weights=split.cash, minlength=book.cash.size)
    assert (np.abs(cash - book.cash) <= 1e-12 * gross(book)).all()
    # Each position starts at the utilisation of its pool.
    pool = np.repeat(np.arange(book.cash.size), np.maximum(np.diff(book.row_start), 1))
    expected = book.equity(PRICES)[pool] * required(split, margin)
    held = split.isolated
    error = np.abs(split.equity(PRICES) * required(book, margin)[pool] - expected)[held]
    assert (error <= 1e-11 * (gross(book) * required(book, margin))[pool][held]).all()
