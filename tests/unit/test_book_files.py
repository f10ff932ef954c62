"""Snapshots: what a good file gives, and how every bad row is named by its line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stress.accounts import SnapshotBook, make_book
from stress.errors import BookError

HEADER = "trader,margin_mode,market,size,entry_price,collateral\n"
GOOD = "0xa,cross,BTC,1.5,60000,10000\n"


def read(path, markets=("BTC", "ETH"), **fields):
    return make_book(
        SnapshotBook(path=str(path), **fields),
        markets=markets,
        prices=np.array([60_000.0, 3_000.0]),
        leverage_cap=np.array([40.0, 25.0]),
        seed=0,
        initial_margin=lambda market, size, price: np.abs(size) * price / 20,
    )


def written(tmp_path, text, name="book.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_pools_and_isolated_accounts(tmp_path):
    text = HEADER + (
        "0xb,cross,ETH,-10,3100,5000\n0xa,isolated,BTC,0.5,59000,1500\n0xb,cross,BTC,1,58000,5000\n\n0xa,cross,,,,250\n"
    )
    book = read(written(tmp_path, text), market_makers_equity=1e6)
    assert book.trader_names == ("0xb", "0xa")
    assert list(book.trader) == [0, 1, 1]
    assert list(book.isolated) == [False, False, True]
    assert list(book.cash) == [5000.0, 250.0, 1500.0]
    assert list(book.row_start) == [0, 2, 2, 3]
    assert list(book.row_market) == [0, 1, 0]
    assert list(book.size) == [1.0, -10.0, 0.5]
    assert list(book.entry_price) == [58000.0, 3100.0, 59000.0]
    assert book.market_makers_equity == 1e6


def test_parquet_and_csv_give_the_same_book(tmp_path):
    table = pd.DataFrame(
        {
            "trader": ["x", "x", "y"],
            "margin_mode": ["cross", "cross", "isolated"],
            "market": ["BTC", "ETH", "ETH"],
            "size": [0.1, -1 / 3, 2.0],
            "entry_price": [61_000.0, 2_999.5, 3_000.0],
            "collateral": [100.25, 100.25, 7.0],
        }
    )
    table.to_parquet(tmp_path / "book.parquet")
    table.to_csv(tmp_path / "book.csv", index=False)
    first, second = read(tmp_path / "book.parquet"), read(tmp_path / "book.csv")
    for name in ("trader", "isolated", "cash", "row_start", "row_market", "size", "entry_price"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name


def test_a_byte_order_mark_and_spaces_do_no_harm(tmp_path):
    book = read(written(tmp_path, "\ufeff" + HEADER.replace(",", ", ") + GOOD.replace(",", " , ")))
    assert book.size[0] == 1.5


@pytest.mark.parametrize(
    ("rows", "line", "key", "message"),
    [
        (",cross,BTC,1,60000,10", 3, "trader", "not empty"),
        ("0xb,crosss,BTC,1,60000,10", 3, "margin_mode", "did you mean cross"),
        ("0xb,cross,BTX,1,60000,10", 3, "market", "did you mean BTC"),
        ("0xb,cross,BTC,0,60000,10", 3, "size", "is not 0"),
        ("0xb,cross,BTC,1e999,60000,10", 3, "size", "finite"),
        ("0xb,cross,BTC,one,60000,10", 3, "size", "finite number of base units"),
        ("0xb,cross,BTC,,60000,10", 3, "size", "finite number of base units"),
        ("0xb,cross,BTC,1,0,10", 3, "entry_price", "above 0"),
        ("0xb,cross,BTC,1,-5,10", 3, "entry_price", "above 0"),
        ("0xb,cross,BTC,1,60000,", 3, "collateral", "finite number"),
        ("0xb,cross,BTC,1,60000,nan", 3, "collateral", "finite number"),
        ("0xb,isolated,,,,10", 3, "market", "isolated row holds a position"),
        ("0xa,cross,ETH,1,3000,9999", 3, "collateral", "line 2 has 10000.0 for 0xa"),
        ("0xa,cross,BTC,1,60000,10000", 3, "market", "once per margin mode"),
        ("0xb,isolated,ETH,1,3000,5\n0xb,isolated,ETH,1,3000,5", 4, "market", "merge it with line 3"),
        ("0xa,cross,BTC,1,60000", 3, None, "has 6 cells"),
        ('0xb,cross,BTC,"1,000",60000,10', 3, "size", "finite number of base units"),
    ],
)
def test_a_bad_row_is_named_by_line(tmp_path, rows, line, key, message):
    path = written(tmp_path, HEADER + GOOD + rows + "\n")
    with pytest.raises(BookError, match=message) as raised:
        read(path)
    assert (raised.value.file, raised.value.line, raised.value.key) == (str(path), line, key)


def test_all_bad_rows_are_shown_up_to_twenty(tmp_path):
    path = written(tmp_path, HEADER + "".join(f"0x{i},cross,BTC,bad{i},60000,10\n" for i in range(30)))
    with pytest.raises(BookError) as raised:
        read(path)
    text = str(raised.value)
    assert text.startswith(f"{path}:2: size = 'bad0'")
    assert "book.csv:21: size = 'bad19'" in text
    assert "bad20" not in text
    assert "and 10 more" in text


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (HEADER, "book.csv", "at least one row"),
        ("", "book.csv", "this one is missing"),
        (HEADER.replace("entry_price", "entry_prise"), "book.csv", "did you mean entry_price"),
        (HEADER.replace("size", "size,size"), "book.csv", "keep one of the two"),
        (HEADER.replace(",collateral", ""), "book.csv", "'collateral'"),
        (HEADER + GOOD, "book.txt", "a .csv, .parquet or .json file"),
        (HEADER + GOOD, "book.parquet", "readable Parquet"),
        (HEADER + '"0xa,cross,BTC,1,1,1\n', "book.csv", "balanced quotes"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, name, message):
    with pytest.raises(BookError, match=message):
        read(written(tmp_path, text, name))


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(BookError, match="does not exist"):
        read(tmp_path / "none.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes(HEADER.encode() + b"\xe9,cross,BTC,1,60000,10\n")
    with pytest.raises(BookError, match="UTF-8"):
        read(path)


def test_parquet_rows_are_counted_from_one(tmp_path):
    path = tmp_path / "book.parquet"
    pd.DataFrame(
        {"trader": [1, 2], "margin_mode": "cross", "market": ["BTC", None], "size": [1.0, 2.0], "entry_price": 5.0,
         "collateral": 1.0}
    ).to_parquet(path)  # fmt: skip
    with pytest.raises(BookError) as raised:
        read(path)
    assert (raised.value.line, raised.value.key) == (2, "market")
