"""perpstress book: what a snapshot looks like, and every bad row by its line."""

from pathlib import Path

import pytest

from stress.cli import main

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"
ROWS = """trader,margin_mode,market,size,entry_price,collateral
ann,cross,BTC,1.5,60000,20000
ann,cross,ETH,-10,2000,20000
bob,isolated,BTC,-0.5,61000,8000
cat,cross,,,,500
"""


def book(tmp_path, capsys, text=ROWS, *options, code="0"):
    file = tmp_path / "book.csv"
    file.write_text(text)
    with pytest.raises(SystemExit, match=code):
        main(["book", str(file), "--market", str(HOUSE), *options])
    return capsys.readouterr()


def test_the_summary_is_that_of_the_book(tmp_path, capsys):
    shown = " ".join(book(tmp_path, capsys, ROWS, "--prices", "BTC=60000", "ETH=2000").out.split())
    assert "3 traders, 3 accounts (1 isolated), 3 positions" in shown
    assert "gross notional 140 k USD" in shown
    # BTC: long 90 k, short 30 k; market makers take 60 k short.
    assert "+50.0%" in shown
    assert "market_makers" in shown
    # ann nets 90 - 20 = 70 of 110, bob 30 of 30: 100 of 140 stay.
    assert "hedged share: 28.6%" in shown
    assert "1: 78.6%" in shown


def test_the_drawing_is_written(tmp_path, capsys):
    for name in ("book.svg", "book.png"):
        book(tmp_path, capsys, ROWS, "--plot", str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 5000


def test_a_book_is_scaled_and_drawn_again(tmp_path, capsys):
    options = ("--prices", "BTC=60000", "ETH=2000", "--open-interest", "1100000")
    shown = " ".join(book(tmp_path, capsys, ROWS, *options).out.split())  # 90 k + 20 k x 10
    assert "gross notional 1.40 M USD" in shown
    assert "50 traders" in book(tmp_path, capsys, ROWS, "--resample", "50").out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("-0.5", "lots", "book.csv:4"),
        ("ann,cross,ETH", "ann,cross,ETC", "did you mean ETH"),
        ("-10", "0", "book.csv:3"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, capsys, old, new, said):
    assert said in book(tmp_path, capsys, ROWS.replace(old, new), code="2").err


@pytest.mark.parametrize(
    "options",
    [("--prices", "BTCC=1"), ("--prices", "BTC=much"), ("--plot", "x.gif"), ("--format", "csv"), ("--scale", "-1")],
)
def test_what_is_asked_wrongly_is_refused(tmp_path, capsys, options):
    assert options[0] in book(tmp_path, capsys, ROWS, *options, code="2").err
