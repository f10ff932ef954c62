"""Books scaled and drawn again: what stays, what is reached, and that nothing asked changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from stress.accounts import SnapshotBook, SyntheticBook, make_book, summary
from stress.errors import BookError

MARKETS = ("BTC", "ETH")
PRICES = np.array([60_000.0, 3_000.0])
ARRAYS = ("trader", "kind", "isolated", "cash", "row_start", "row_market", "size", "entry_price")
TABLE = """trader,margin_mode,market,size,entry_price,collateral
a,cross,BTC,1,60000,10000
a,cross,ETH,-10,3000,10000
a,isolated,ETH,2,2900,900
b,cross,,,,50
c,isolated,BTC,-0.5,61000,4000
"""


def made(spec, seed=1):
    return make_book(
        spec,
        markets=MARKETS,
        prices=PRICES,
        leverage_cap=np.array([40.0, 25.0]),
        seed=seed,
        initial_margin=lambda market, size, price: np.abs(size) * price / 40,
        open_interest=np.array([1e9, 5e8]),
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "book.csv"
    path.write_text(TABLE, encoding="utf-8")
    return str(path)


def test_a_factor_scales_sizes_and_collateral_and_leaves_leverage(table):
    book, twice = made(SnapshotBook(path=table)), made(SnapshotBook(path=table, scale=2.0))
    assert list(twice.size) == list(2 * book.size)
    assert list(twice.cash) == list(2 * book.cash)
    one, two = summary(book, PRICES), summary(twice, PRICES)
    assert two["leverage"] == one["leverage"]
    assert two["concentration"] == one["concentration"]


def test_an_open_interest_is_reached_with_the_makers_share(table):
    # BTC: 60,000 long, 30,000 short; ETH: 6,000 long, 30,000 short: one side carries 60,000 + 30,000.
    book = made(SnapshotBook(path=table, scale={"open_interest": 9e6}))
    assert list(book.size) == pytest.approx([100.0, -1000.0, 200.0, -50.0])


def test_drawing_again_brings_all_accounts_of_a_trader(table):
    book = made(SnapshotBook(path=table, resample={"accounts": 60, "seed": 3}))
    assert len(book.trader_names) == 60
    originals = {"a": [False, True], "b": [False], "c": [True]}
    for number, name in enumerate(book.trader_names):
        assert list(book.isolated[book.trader == number]) == originals[name.partition("#")[0]]
    assert len(set(book.trader_names)) == 60
    assert {"a", "b", "c"} <= set(book.trader_names)
    drawn_a = sum(name.partition("#")[0] == "a" for name in book.trader_names)
    assert np.sum(book.size == -10.0) == drawn_a


def test_draws_are_addressed(table):
    short, long = (made(SnapshotBook(path=table, resample={"accounts": n})) for n in (5, 50))
    assert long.trader_names[:5] == short.trader_names
    assert made(SnapshotBook(path=table, resample={"accounts": 50}), seed=2).trader_names != long.trader_names
    named = SnapshotBook(path=table, resample={"accounts": 50, "seed": 1})
    assert made(named, seed=2).trader_names == long.trader_names


def test_a_synthetic_book_can_be_drawn_again_and_scaled():
    spec = SyntheticBook(accounts=80, resample={"accounts": 200}, scale={"open_interest": 3e9})
    book = made(spec)
    assert np.unique(book.trader).size == 200
    sides = summary(book, PRICES)["open_interest"].values()
    assert sum(max(market["long"], market["short"]) for market in sides) == pytest.approx(3e9)


def test_nothing_asked_changes_nothing_and_is_not_in_the_hash():
    plain, said = SyntheticBook(accounts=80), SyntheticBook(accounts=80, scale=1.0, resample=None)
    assert all(getattr(made(plain), name).tobytes() == getattr(made(said), name).tobytes() for name in ARRAYS)
    assert said.model_dump(exclude_defaults=True) == {"accounts": 80}
    assert SnapshotBook(path="x.csv").model_dump(exclude_defaults=True) == {"path": "x.csv"}


def test_what_cannot_be_scaled_is_refused(tmp_path):
    path = tmp_path / "idle.csv"
    path.write_text("trader,margin_mode,market,size,entry_price,collateral\na,cross,,,,5\n", encoding="utf-8")
    with pytest.raises(BookError, match="no open interest"):
        made(SnapshotBook(path=str(path), scale={"open_interest": 1.0}))
    for wrong in ({"scale": 0}, {"scale": {"open_interest": -1}}, {"resample": {"accounts": 0}}):
        with pytest.raises(ValueError):
            SnapshotBook(path="x.csv", **wrong)
