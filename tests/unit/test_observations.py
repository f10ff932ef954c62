"""Every shape of file, every defect, every repair: planted one at a time and found by name and line."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stress.cli import main
from stress.errors import PriceFileError, StudyError
from stress.observations import Reading, find, histories, market_of, parse_rules, repair
from stress.sources import read, read_prices

START = pd.Timestamp("2025-01-06T00:00Z")
HOURS = 200


def bars(hours=HOURS, level=100.0, seed=3):
    """Hourly bars of a calm market, low <= open, close <= high, each opening at the last close."""
    draws = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(0.003 * draws.standard_normal(hours)))
    opened = np.concatenate([[level], close[:-1]])
    wick = 1 + 0.001 * draws.random((2, hours))
    return pd.DataFrame(
        {
            "ts": pd.date_range(START, periods=hours, freq="1h"),
            "symbol": "BTC",
            "open": opened,
            "high": np.maximum(opened, close) * wick[0],
            "low": np.minimum(opened, close) / wick[1],
            "close": close,
            "volume": 5.0,
        }
    )


def tidy(folder, table, name="tidy.csv"):
    file = folder / name
    table.to_csv(file, index=False)
    return file


def names(file, stated=None):
    return {defect.name: defect for defect in find(read(file, stated))}


def rows_of(table, unit="ms"):
    ticks = table["ts"].dt.as_unit(unit).astype("int64")
    return [
        [t, *map(float, r)]
        for t, r in zip(ticks, table[["open", "high", "low", "close", "volume"]].to_numpy(), strict=True)
    ]


def written(folder, shape):
    table, unit = bars(), {"seconds": "s", "microseconds": "us"}.get(shape, "ms")
    lines = [",".join(map(str, row)) for row in rows_of(table, unit)]
    if shape in ("csv rows", "seconds", "microseconds"):
        file = folder / "BTC_USDT-1h.csv"
        file.write_text("\n".join(lines) + "\n")
    elif shape == "json rows":
        file = folder / "BTC_USDT-1h.json"
        file.write_text(json.dumps(rows_of(table)))
    elif shape == "json by symbol":
        file = folder / "all.json"
        file.write_text(json.dumps({"BTC/USDT": rows_of(table)}))
    elif shape == "records":
        file = folder / "tidy.json"
        file.write_text(table.to_json(orient="records", date_format="iso"))
    elif shape == "klines":
        file = folder / "BTCUSDT-1h-2025-01.csv"
        file.write_text("\n".join(f"{line},0,1,2,3,4,0" for line in lines))
    elif shape == "klines with header":
        file = folder / "BTCUSDT-1h-2025-01.csv"
        head = (
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote,ignore"
        )
        file.write_text("\n".join([head, *(f"{line},0,1,2,3,4,0" for line in lines)]))
    elif shape == "offset":
        file = tidy(folder, table.assign(ts=table["ts"].dt.tz_convert("Asia/Tokyo").map(lambda t: t.isoformat())))
    elif shape == "parquet":
        file = folder / "tidy.parquet"
        table.to_parquet(file)
    else:
        file = tidy(folder, table.rename(columns={"ts": "Timestamp", "symbol": "pair", "close": "Close"}))
    return file


@pytest.mark.parametrize(
    ("shape", "source"),
    [
        ("csv rows", "ccxt rows"),
        ("seconds", "ccxt rows"),
        ("microseconds", "ccxt rows"),
        ("json rows", "ccxt rows"),
        ("json by symbol", "ccxt rows"),
        ("klines", "exchange klines"),
        ("klines with header", "exchange klines"),
        ("records", "tidy table"),
        ("parquet", "tidy table"),
        ("offset", "tidy table"),
        ("other names", "tidy table"),
    ],
)
def test_every_shape_holds_the_same_bars(tmp_path, shape, source):
    file = written(tmp_path, shape)
    seen, expected = read(file), bars()
    assert (seen.source, seen.kind) == (source, "bars")
    assert market_of(seen.table["symbol"].iloc[0]) == "BTC"
    assert (seen.table["ts"].to_numpy() == expected["ts"].to_numpy()).all()
    np.testing.assert_allclose(seen.table["close"], expected["close"], rtol=1e-9)
    assert find(seen) == []
    assert len(read_prices(file).table) == HOURS


def as_text(table, separator=",", head="", ts=None):
    ts = table["ts"].dt.strftime("%Y-%m-%d %H:%M:%S") if ts is None else ts(table["ts"])
    return head + table.assign(ts=ts).to_csv(index=False, sep=separator)


def candles(table):
    """A venue's candles: close time T before open time t, prices as text."""
    keys = dict(zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True))
    return [
        {"T": row[0] + 3599999, "s": "BTC", "t": row[0], **{key: str(getattr(bar, name)) for key, name in keys.items()}}
        for row, bar in zip(rows_of(table), table.itertuples(), strict=True)
    ]


OTHERS = {
    "semicolons.csv": lambda t: as_text(t, ";"),
    "tabs.csv": lambda t: as_text(t, "\t"),
    "vendor's line.csv": lambda t: as_text(t, head="https://a-vendor.example\n"),
    "carriage returns.csv": lambda t: as_text(t).replace("\n", "\r\n").rstrip(),
    "order.csv": lambda t: as_text(t[["close", "symbol", "low", "ts", "volume", "high", "open"]]),
    "UTC in words.csv": lambda t: as_text(t, ts=lambda ts: ts.dt.strftime("%Y-%m-%d %H:%M:%S UTC")),
    "short offsets.csv": lambda t: as_text(t, ts=lambda ts: ts.dt.tz_convert("Asia/Tokyo").dt.strftime("%Y-%m-%d %H:%M:%S+09")),
    "zones mixed.csv": lambda t: as_text(t, ts=lambda ts: [
        at.tz_convert("Asia/Tokyo" if i % 2 else "America/New_York").isoformat() for i, at in enumerate(ts)]),
    "nanoseconds.csv": lambda t: as_text(t, ts=lambda ts: ts.dt.as_unit("ns").astype("int64")),
    "BTC_USDT-1h-named.csv": lambda t: as_text(t.drop(columns="symbol")),
    "mark_btc-usdc.csv": lambda t: as_text(t.drop(columns="symbol")),
    "columns.json": lambda t: t.assign(ts=t["ts"].astype(str)).to_json(),
    "lines.jsonl": lambda t: t.to_json(orient="records", lines=True, date_format="iso"),
    "an answer.json": lambda t: json.dumps({"candles": json.loads(t.rename(columns={"ts": "startedAt", "symbol": "ticker"})
                                                                  .to_json(orient="records", date_format="iso"))}),
    "candles.json": lambda t: json.dumps(candles(t)),
    "BTC_USDT-klines.json": lambda t: json.dumps([[*row, row[0] + 3599999, "1", 2, "1", "1", "0"] for row in rows_of(t)]),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_shapes_that_are_about_hold_the_same_bars(tmp_path, name):
    file = tmp_path / name
    file.write_text(OTHERS[name](bars()), encoding="utf-8", newline="")
    seen = read(file)
    assert market_of(seen.table["symbol"].iloc[0]) == "BTC"
    assert (seen.table["ts"].to_numpy() == bars()["ts"].to_numpy()).all()
    np.testing.assert_allclose(seen.table["close"], bars()["close"], rtol=1e-9)
    assert find(seen) == []
    assert len(read_prices(file).table) == HOURS


@pytest.mark.parametrize("index", [["ts"], ["symbol", "ts"], None])
def test_an_index_of_times_is_a_column(tmp_path, index):
    file = tmp_path / "BTC-USD.parquet"
    table = bars().set_index(index or "ts")
    (table if index else table.rename_axis(None)).to_parquet(file)
    seen = read(file)
    assert find(seen) == []
    assert (seen.table["ts"].to_numpy() == bars()["ts"].to_numpy()).all()


@pytest.mark.parametrize(
    "form", ["%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%d/%m/%Y %H:%M", "3024-%m-%dT%H:%M"]
)
def test_a_date_in_another_form_is_no_time_and_never_read_as_seconds(tmp_path, form):
    file = tidy(tmp_path, bars().assign(ts=bars()["ts"].dt.strftime(form)))
    found = names(file)
    assert found["unreadable"].count == HOURS
    assert found["unreadable"].rule == "is not a time"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "\n\n", "is empty"),
        ("a.csv", "ts,symbol,high,low,close\n1736121600,BTC,2,1,1,9\n", "every row has 5 cells"),
        ("a.csv", "ts,symbol,high,low,close\n1736121600,BTC,2,1,1\n1736125200,BTC,2,1,1,9\n", r"a\.csv:3.*6 cells"),
        ("a.csv.gz", "ts", "Not a gzipped file"),
        ("a.json", "{}", "empty"),
        ("a.json", "[[1736121600000,1,2,1,1,9],[1736125200000,1]]", r"a\.json:2.*2 cells"),
        ("a.json", '[{"ts": 1}, [1]]', "every entry is a row, or every entry is a record"),
        ("a.json", '{"ts": [1, 2], "close": [1]}', "is not a JSON table"),
        ("a.json", '{"code": 0, "data": [[1, 2]]}', "save the list alone"),
        ("a.jsonl", '{"ts": 1}\n{"ts": ', r"a\.jsonl:2"),
    ],
)
def test_what_is_no_table_is_refused_in_words(tmp_path, name, content, words):
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    with pytest.raises(PriceFileError) as refused:
        read(file)
    assert re.search(words, str(refused.value), re.DOTALL), str(refused.value)


def test_a_gzipped_file_that_ends_early_is_refused(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(as_text(bars()).encode())[:-30])
    with pytest.raises(PriceFileError, match="ended before"):
        read(file)


def test_rows_of_two_units_are_each_read_by_their_own_size(tmp_path):
    table = bars()
    lines = [",".join(map(str, row)) for row in rows_of(table[:150], "ms") + rows_of(table[150:], "us")]
    file = tmp_path / "BTC_USDT-1h.csv"
    file.write_text("\n".join(lines))
    seen = read(file)
    assert "ms in 150 rows, us in 50 rows" in seen.read_as[0]
    assert find(seen) == []


def test_times_without_a_zone_are_in_the_stated_one(tmp_path):
    local = bars().assign(ts=bars()["ts"].dt.tz_convert("Asia/Tokyo").dt.tz_localize(None))
    file = tidy(tmp_path, local)
    seen = read(file, Reading(time_zone="Asia/Tokyo"))
    assert seen.table["ts"].iloc[0] == START
    assert "taken as Asia/Tokyo" in " ".join(seen.read_as)
    assert "taken as UTC" in " ".join(read(file).read_as)
    with pytest.raises(PriceFileError, match="not the name of a time zone"):
        read(file, Reading(time_zone="Mars/Olympus"))


def test_an_hour_that_a_clock_change_doubles_is_no_time(tmp_path):
    stamps = pd.date_range("2025-10-26 00:00", periods=6, freq="1h").strftime("%Y-%m-%d %H:%M")
    file = tidy(tmp_path, bars(6).assign(ts=stamps))
    defect = names(file, Reading(time_zone="Europe/Berlin"))["unreadable"]
    assert (defect.count, defect.line, defect.key) == (1, 4, "ts")


def planted(table, what):
    """The table with one defect, and the 1-based row at which it must be named (header not counted)."""
    prices = ["open", "high", "low", "close"]
    if what == "duplicates":
        return pd.concat([table[:50], table[49:]], ignore_index=True), 51
    if what == "conflicts":
        return pd.concat([table[:50], table[49:].assign(volume=6.0)], ignore_index=True), 51
    if what == "out of order":
        return pd.concat([table[:50], table[51:52], table[50:51], table[52:]], ignore_index=True), 52
    if what == "gaps":
        return table.drop(index=range(50, 57)).reset_index(drop=True), 51
    if what == "bad prints":
        table.loc[49, "low"] = 0.001
    elif what == "not positive":
        table.loc[49, "low"] = -1.0
    elif what == "inconsistent":
        table.loc[49, "high"] = table["close"][49] * 0.9
    elif what == "unreadable":
        table = table.astype({"close": object})
        table.loc[49, "close"] = "n/a"
    elif what == "level shift":
        table.loc[49:, prices] *= 1000
    elif what == "extreme move":
        table.loc[49:, prices] *= 4
    elif what == "stale runs":
        table.loc[49:58, prices] = table["close"][48]
    elif what == "off the grid":
        table.loc[49, "ts"] += pd.Timedelta("4min")
    elif what == "multiplied":
        return table.assign(symbol="1000BTC"), 1
    return table, 50


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        ("duplicates", "first"),
        ("conflicts", "last"),
        ("out of order", None),
        ("gaps", "hold"),
        ("bad prints", "winsorise"),
        ("not positive", "drop"),
        ("inconsistent", "widen"),
        ("unreadable", "drop"),
        ("level shift", "rescale"),
        ("extreme move", None),
        ("stale runs", "drop"),
        ("off the grid", "snap"),
        ("multiplied", "unit"),
    ],
)
def test_a_planted_defect_is_found_with_its_line_and_repaired_only_by_its_rule(tmp_path, what, rule):
    table, row = planted(bars(), what)
    file = tidy(tmp_path, table)
    found = names(file)
    assert set(found) <= {what, "gaps"}  # bars that a defect takes away leave a gap
    assert found[what].line == row + 1
    if rule is None:
        return
    seen = read(file)
    untouched, said = repair(seen, {})
    assert untouched is seen
    assert said == []
    repaired, said = repair(seen, {what: rule})
    assert what not in {defect.name for defect in find(repaired)}
    assert len(said) == 1


def test_repairs_do_what_they_say(tmp_path):
    clean = bars()
    cut = repair(read(tidy(tmp_path, planted(bars(), "bad prints")[0])), {"bad prints": "winsorise"})[0].table
    assert cut["low"][49] == min(clean["low"][48], clean["low"][50])
    held = repair(read(tidy(tmp_path, planted(bars(), "gaps")[0])), {"gaps": "hold"})[0].table
    assert len(held) == HOURS
    assert (held["close"][50:57] == clean["close"][49]).all()
    assert (held["volume"][50:57] == 0).all()
    scaled = repair(read(tidy(tmp_path, planted(bars(), "level shift")[0])), {"level shift": "rescale"})[0].table
    np.testing.assert_allclose(scaled["close"], clean["close"] * 1000)
    unit = repair(read(tidy(tmp_path, planted(bars(), "multiplied")[0])), {"multiplied": "unit"})[0].table
    np.testing.assert_allclose(unit["close"], clean["close"] / 1000)
    assert unit["volume"][0] == 5000
    assert set(unit["symbol"]) == {"BTC"}


def test_a_repair_that_leaves_no_row_is_refused_in_words(tmp_path):
    file = tidy(tmp_path, bars().assign(close="none"))
    with pytest.raises(PriceFileError, match="no series of two bars"):
        read_prices(file, {"unreadable": "drop"})


def test_marks_have_no_open_until_a_rule_makes_one(tmp_path):
    file = tidy(tmp_path, bars().drop(columns=["open", "volume"]))
    with pytest.raises(PriceFileError, match="has the columns") as refused:
        read_prices(file)
    assert "no_open=previous_close" in refused.value.fix
    history = read_prices(file, {"no open": "previous_close"})
    np.testing.assert_allclose(history.table["open"][1:], bars()["close"][:-1])


def test_a_renamed_contract_is_joined(tmp_path):
    old, new = bars()[:100].assign(symbol="MATIC"), bars()[103:].assign(symbol="POL")
    file = tidy(tmp_path, pd.concat([old, new]))
    found = names(file)
    assert (found["renamed"].series, found["renamed"].line) == ("MATIC", 101)
    joined = repair(read(file), {"renamed": "join"})[0]
    assert [name for name, _ in joined.series] == ["POL"]


def test_several_venues_become_their_median(tmp_path):
    parts = [bars().assign(venue=v, symbol=s) for v, s in (("a", "BTCUSDT"), ("b", "BTC-USD"), ("c", "BTCUSD_PERP"))]
    parts[2].loc[10, ["open", "low", "close"]] *= 0.7
    file = tidy(tmp_path, pd.concat(parts))
    merged = repair(read(file), {"venues": "median"})[0]
    assert [name for name, _ in merged.series] == ["median BTC"]
    np.testing.assert_allclose(merged.table["close"], bars()["close"])


def funding(cadence=8):
    times = pd.date_range("2025-01-01", periods=300, freq=f"{cadence}h", tz="UTC")
    rate = 0.0001 * (1 + np.round(np.random.default_rng(1).random(300), 3))
    return pd.DataFrame({"fundingTime": times, "coin": "BTC", "fundingRate": rate})


def test_funding_gaps_jitter_and_cadences_are_found(tmp_path):
    table = funding()
    assert names(tidy(tmp_path, table)) == {}
    gap = names(tidy(tmp_path, table.drop(index=range(100, 105))))["gaps"]
    assert (gap.count, gap.line, "48 h" in gap.rule) == (1, 102, True)
    late = table.assign(fundingTime=table["fundingTime"] + pd.to_timedelta(15 * (np.arange(300) == 70), "min"))
    file = tidy(tmp_path, late)
    assert names(file)["off the grid"].line == 72
    assert "off the grid" not in {d.name for d in find(repair(read(file), {"off the grid": "snap"})[0])}
    hourly = funding(1).assign(fundingTime=lambda t: t["fundingTime"] + pd.Timedelta("101D"))
    assert "8 h (299), 1 h (299)" in names(tidy(tmp_path, pd.concat([table, hourly])))["cadence"].rule
    percent = tidy(tmp_path, table.assign(fundingRate=table["fundingRate"] * 1000))
    assert names(percent)["large rate"].wrong
    assert repair(read(percent), {"large rate": "percent"})[0].table["funding_rate"].max() < 0.01


def test_a_tape_of_any_cadence_shows_silences_and_spikes(tmp_path):
    draws = np.random.default_rng(2)
    gaps = draws.exponential(3.0, 500)
    gaps[200] = 5019
    price = 0.01 * np.exp(np.cumsum(0.001 * draws.standard_normal(500)))
    price[300] = 1.0
    times = START + pd.to_timedelta(np.cumsum(gaps), "s")
    file = tidy(tmp_path, pd.DataFrame({"updated_at": times, "answer": price}), "LUNAUSD-oracle.csv")
    seen = read(file)
    assert (seen.kind, seen.table["symbol"][0]) == ("tape", "LUNAUSD")
    found = names(file)
    assert (found["silence"].line, "5019 s" in found["silence"].rule) == (202, True)
    assert found["bad prints"].line == 302


def test_depth_that_ends_early_or_falls_outward_is_found(tmp_path):
    count = 20
    table = pd.DataFrame(
        {"ts": pd.date_range(START, periods=count, freq="10s"), "symbol": "BTC", "bid": 99.0, "ask": 101.0}
    )
    for n, level in enumerate((1, 10, 25)):
        table[f"bid_{level}bps_usd"] = table[f"ask_{level}bps_usd"] = 1e6 * (n + 1.0)
    assert "truncated" not in names(tidy(tmp_path, table))
    table.loc[5, "bid_25bps_usd"] = table.loc[5, "bid_10bps_usd"]
    table.loc[7, "ask_10bps_usd"] = 1.0
    table.loc[9, "bid"] = 102.0
    found = names(tidy(tmp_path, table))
    assert {name: found[name].line for name in ("truncated", "inconsistent", "crossed")} == {
        "truncated": 7,
        "inconsistent": 9,
        "crossed": 11,
    }


@pytest.mark.parametrize("stated", ["bad_prints", "prints=drop", "gaps=winsorise"])
def test_an_unknown_repair_is_refused(stated):
    with pytest.raises(StudyError, match=r"defect=rule|no rule"):
        parse_rules([stated])


def test_the_command_prints_one_table_and_writes_what_was_repaired(tmp_path, capsys):
    file, out = tidy(tmp_path, planted(bars(), "bad prints")[0]), tmp_path / "out.parquet"
    with pytest.raises(SystemExit, match="0"):
        main(["prices", str(file)])
    shown = capsys.readouterr().out
    assert "bad_prints=winsorise" in shown
    with pytest.raises(SystemExit, match="2"):
        main(["prices", str(file), "-o", str(out)])
    assert not out.exists()
    with pytest.raises(SystemExit, match="0"):
        main(["prices", str(file), "--repair", "bad_prints=winsorise", "-o", str(out)])
    assert "bad prints, winsorise: 1 rows changed" in capsys.readouterr().out
    assert find(read(out)) == []


@pytest.mark.parametrize("text", ["1,2,3\n4,5,6\n", "[]", '{"a": 1}', "{"])
def test_what_no_source_knows_is_refused(tmp_path, text):
    file = tmp_path / ("x.csv" if text[0] == "1" else "x.json")
    file.write_text(text)
    with pytest.raises(PriceFileError):
        read(file)


MANIFEST = {
    "binance_spot_1h.parquet": {"gaps", "bad prints", "extreme move", "late start"},
    "binance_perp_1h.parquet": {"multiplied", "late start"},
    "binance_mark_1h.parquet": {"no open", "late start"},
    "binance_funding.parquet": {"gaps", "cadence", "late start"},
    "hyperliquid_funding_1h.parquet": {"gaps", "cadence", "off the grid"},
    "oct10_trades_1m.parquet": {"gaps"},
    "oct10_trades_1s_2045_2200.parquet": {"gaps", "no open"},
    "binance_ethusdt_liquidations_1m_2021-01.parquet": set(),
    "binance_depth_10s_2024-08-08.csv": {"truncated"},
    "coinalyze_open_interest_1d.csv.gz": set(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFEST)
def test_the_defects_that_the_manifest_names_are_found(market_data: Path, name):
    found = find(read(market_data / name))
    assert MANIFEST[name] <= {defect.name for defect in found}
    if name == "binance_spot_1h.parquet":
        gaps = {defect.series: defect for defect in found if defect.name == "gaps"}
        assert (gaps["BTC"].count, gaps["SOL"].count) == (122, 20)
        (spike,) = [defect for defect in found if defect.name == "bad prints"]
        assert (spike.series, spike.where, spike.value) == ("LINK", "2020-03-12 10:00", 0.0001)
    if "binance_perp" in name:
        assert len(histories(read(market_data / name), {}).table) == 599_990
