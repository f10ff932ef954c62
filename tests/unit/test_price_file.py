"""Price files: every defect is named with its row, nothing is repaired."""

import gzip

import numpy as np
import pandas as pd
import pytest

from stress.errors import PriceFileError
from stress.sources import read_prices

GOOD = """ts,venue,symbol,open,high,low,close
2025-10-10T00:00:00Z,a,BTC,100,101,99,100
2025-10-10T00:01:00Z,a,BTC,100,102,98,101
2025-10-10T00:03:00Z,a,BTC,101,101,101,101
"""


def read(tmp_path, text, name="prices.csv"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_prices(file)


def test_a_good_file_is_read(tmp_path):
    history = read(tmp_path, GOOD)
    assert history.bar == 60
    assert history.out_of_order == 0
    assert history.table["row"].tolist() == [2, 3, 4]
    assert str(history.table["ts"].dtype) == "datetime64[ns, UTC]"


def test_compressed_csv_parquet_and_csv_agree(tmp_path):
    plain = read(tmp_path, GOOD)
    packed = read(tmp_path, gzip.compress(GOOD.encode()), "prices.csv.gz")
    plain.table.drop(columns="row").to_parquet(tmp_path / "prices.parquet")
    parquet = read_prices(tmp_path / "prices.parquet")
    for other in (packed, parquet):
        pd.testing.assert_frame_equal(plain.table.drop(columns="row"), other.table.drop(columns="row"))


def test_venue_is_optional_and_naive_times_are_utc(tmp_path):
    text = "ts,symbol,open,high,low,close\n2025-10-10 00:00,BTC,1,1,1,1\n2025-10-10 01:00,BTC,1,1,1,1\n"
    history = read(tmp_path, text)
    assert history.table["venue"].tolist() == ["", ""]
    assert history.bar == 3600
    assert history.table["ts"].iloc[0] == pd.Timestamp("2025-10-10T00:00Z")


def test_rows_out_of_order_are_sorted_and_counted(tmp_path):
    lines = GOOD.splitlines(keepends=True)
    history = read(tmp_path, "".join([lines[0], lines[2], lines[1], lines[3]]))
    assert history.out_of_order == 1
    assert history.table["row"].tolist() == [3, 2, 4]


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("close\n", "end\n", None, "missing columns", "is no table of market data"),
        ("open,high", "start,high", None, "missing columns", "has the columns ts, symbol"),
        ("symbol", "thing", None, "symbol", "has no column symbol"),
        ("2025-10-10T00:01:00Z", "10/10/2025 0:01", 3, "ts", "is not a time"),
        ("2025-10-10T00:01:00Z", "1760054460", 3, "ts", "is not a time"),
        ("2025-10-10T00:01:00Z", "", 3, "ts", "is not a time"),
        ("2025-10-10T00:01:00Z", "2025-10-10T00:00:00Z", 3, "ts", "duplicate"),
        ("2025-10-10T00:03:00Z", "2025-10-10T00:02:30Z", 4, "ts", "whole number of bars of"),
        (",102,98,", ",x,98,", 3, "high", "not a finite number"),
        (",102,98,", ",,98,", 3, "high", "not a finite number"),
        (",102,98,", ",inf,98,", 3, "high", "not a finite number"),
        (",102,98,", ",102,-98,", 3, "low", "must be positive"),
        (",102,98,", ",102,0,", 3, "low", "must be positive"),
        (",102,98,", ",102,100.5,", 3, "low", "low must not be above"),
        (",102,98,", ",100.5,98,", 3, "high", "high must not be below"),
        ("00:01:00Z,a,BTC", "00:01:00Z,a,", 3, "symbol", "is empty"),
    ],
)
def test_a_defect_is_named_with_line_and_column(tmp_path, old, new, line, key, message):
    assert old in GOOD
    with pytest.raises(PriceFileError, match=message) as refused:
        read(tmp_path, GOOD.replace(old, new))
    assert (refused.value.line, refused.value.key) == (line, key)
    assert refused.value.file.endswith("prices.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (GOOD + "a,b\n", "is not a time"),
        (GOOD + "a,b,c,d,e,f,g,h\n", "every row has 7 cells"),
        (GOOD.splitlines()[0], "no rows"),
        ("".join(GOOD.splitlines(keepends=True)[:2]), "length of a bar"),
        (b"\xff\xfe\x00", "not a CSV"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(PriceFileError, match=message):
        read(tmp_path, text)


def test_missing_files_and_other_formats_are_refused(tmp_path):
    with pytest.raises(PriceFileError, match="does not exist"):
        read_prices(tmp_path / "none.csv")
    with pytest.raises(PriceFileError, match="neither"):
        read(tmp_path, GOOD, "prices.xlsx")
    with pytest.raises(PriceFileError, match="not a Parquet"):
        read(tmp_path, GOOD, "prices.parquet")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("open", "much", "not a finite number"),
        ("ts", "soon", "is not a time"),
        ("close", np.nan, "not a finite number"),
        ("ts", pd.NaT, "is not a time"),
        ("symbol", None, "is empty"),
    ],
)
def test_a_parquet_of_wrong_types_is_refused(tmp_path, column, value, message):
    table = read(tmp_path, GOOD).table.drop(columns="row")
    table[column] = pd.Series([value] * 3, dtype="datetime64[ns, UTC]" if value is pd.NaT else None)
    table.to_parquet(tmp_path / "prices.parquet")
    with pytest.raises(PriceFileError, match=message) as refused:
        read_prices(tmp_path / "prices.parquet")
    assert refused.value.key == column
