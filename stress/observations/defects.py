"""Defects of market data: found, counted, and shown at their first line; nothing is changed here.

A defect is `wrong` (what uses prices refuses it until a rule repairs it), or something to know. Thresholds:

    bad print       a price a factor 10 outside both the previous close and the next open (as replays read it)
    level shift     a factor 9 to 11, 90 to 110, … between a close and the next open that stays: another unit
    extreme move    a factor 3 within 24 hours that is no bad print: real ones exist, so it is only shown
    stale run       bars: as many flat bars in a row as make 3 hours, but 3 at least and 30 at most
                    tapes: a price that stands 30 updates; funding: a rate other than the usual one 6 times
    silence         a tape without an update for 20 times its median interval
    off the grid    a bar or a funding time not at a whole multiple of its length (more than a second off)
    late, early     a series that starts or ends more than 30 days inside the span of its file
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from stress.observations.kinds import Observations

BAD_PRINT_FACTOR = 10.0
EXTREME = 3.0
SILENCE = 20.0
EDGE = pd.Timedelta(days=30)
MULTIPLIED = re.compile(r"^(1000000|10000|1000|1M|k)(?=[A-Z])")
MULTIPLES = {"1000000": 1e6, "1M": 1e6, "10000": 1e4, "1000": 1e3, "k": 1e3}


@dataclass(frozen=True)
class Defect:
    """One kind of defect of one series: how often, and where first.

    series : 'venue symbol', '' for the file. rule : what is the matter. rules : names of the rules that repair it.
    """

    series: str
    name: str
    count: int
    rule: str
    line: int | None = None
    key: str | None = None
    value: object = None
    where: str = ""
    fix: str | None = None
    wrong: bool = True

    def __str__(self) -> str:
        at = f"{self.where} " if self.where else ""
        return f"{self.name} x {self.count} in {self.series or 'the file'}: {self.rule} ({at}line {self.line})"


def find(seen: Observations) -> list[Defect]:
    """Return every defect of a file's observations, what is unreadable first."""
    found = list(seen.unreadable)
    series = seen.series
    bar = bar_of(series) if seen.kind == "bars" else None
    for name, rows in series:
        found += _order(name, seen, rows)
        rows = rows.dropna(subset=["ts"])
        found += _duplicates(name, seen, rows)
        unique = rows.drop_duplicates("ts")
        finder = {"bars": _bars, "funding": _funding, "depth": _depth}.get(seen.kind, _tape)
        found += finder(name, seen, unique, bar)
        if seen.kind != "funding" and (prefix := MULTIPLIED.match(name.split(" ")[-1])):
            multiple = MULTIPLES[prefix[1]]
            found.append(
                _at(name, "multiplied", len(unique), f"a contract of {multiple:g} units", unique, 0, wrong=False)
            )
    found += _edges(seen, series)
    return found


def _at(
    name: str,
    defect: str,
    count: int,
    rule: str,
    rows: pd.DataFrame,
    first: int,
    key: str | None = None,
    *,
    wrong: bool,
) -> Defect:
    row = rows.iloc[first]
    stamp = row["ts"].strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00") if pd.notna(row["ts"]) else ""
    value = stamp if key == "ts" else float(row[key]) if key else None
    return Defect(name, defect, count, rule, int(row["row"]), key, value, stamp, wrong=wrong)


def _where(
    name: str, defect: str, bad: np.ndarray, rule: str, rows: pd.DataFrame, key: str | None = None, wrong: bool = True
) -> Iterator[Defect]:
    if bad.any():
        yield _at(name, defect, int(bad.sum()), rule, rows, int(np.argmax(bad)), key, wrong=wrong)


def bar_of(series: list[tuple[str, pd.DataFrame]]) -> float | None:
    """Return the bar length of a file: the most frequent distance of neighbouring rows, seconds; None unknown."""
    distances = [rows["ts"].dropna().diff().dt.total_seconds().dropna() for _, rows in series]
    positive = pd.concat(distances) if distances else pd.Series(dtype=float)
    positive = positive[positive > 0]
    return float(positive.mode().iloc[0]) if len(positive) else None


def _order(name: str, seen: Observations, rows: pd.DataFrame) -> Iterator[Defect]:
    in_file = rows.sort_values("row")
    back = (in_file["ts"].diff() < pd.Timedelta(0)).to_numpy()
    yield from _where(name, "out of order", back, "stands after a later row; sorted", in_file, "ts", wrong=False)


def _duplicates(name: str, seen: Observations, rows: pd.DataFrame) -> Iterator[Defect]:
    again = rows.duplicated("ts").to_numpy()
    if not again.any():
        return
    columns = ["ts", *seen.values]
    same = rows.duplicated(columns).to_numpy()
    yield from _where(
        name, "duplicates", again & same, "a series has one row per time; this one is a duplicate", rows, "ts"
    )
    rule = "a series has one row per time; this duplicate has other values"
    yield from _where(name, "conflicts", again & ~same, rule, rows, "ts")


def _positive(name: str, rows: pd.DataFrame, columns: Sequence[str]) -> Iterator[Defect]:
    for column in columns:
        bad = (rows[column] <= 0).to_numpy()
        yield from _where(name, "not positive", bad, "a price must be positive", rows, column)


def _bars(name: str, seen: Observations, rows: pd.DataFrame, bar: float | None) -> Iterator[Defect]:
    columns = [column for column in ("open", "high", "low", "close") if column in seen.values]
    yield from _positive(name, rows, columns)
    body = [column for column in ("open", "close") if column in columns]
    low_bad = (rows["low"] > rows[body].min(axis=1)).to_numpy()
    high_bad = (rows["high"] < rows[body].max(axis=1)).to_numpy()
    yield from _where(name, "inconsistent", low_bad, "low must not be above open, close", rows, "low")
    yield from _where(name, "inconsistent", high_bad, "high must not be below open, close", rows, "high")
    if "open" not in columns:
        yield _at(name, "no open", len(rows), "bars without an opening price", rows, 0, wrong=False)
    if bar is None:
        return
    distance = rows["ts"].diff().dt.total_seconds().to_numpy()
    if bar % 1 == 0:
        off = (rows["ts"].astype("int64") % int(bar * 1e9) != 0).to_numpy()
        on = (distance % bar == 0) | np.isnan(distance)
        rule = f"is not a whole number of bars of {bar:g} s after the row before it"
        yield from _where(name, "off the grid", off & ~on, rule, rows, "ts")
    missing = np.nan_to_num(np.floor(distance / bar + 1e-9) - 1)
    if (missing > 0).any():
        longest = int(np.argmax(missing))
        start = rows["ts"].iloc[longest - 1] + pd.Timedelta(seconds=bar)
        rule = f"missing bars of {bar:g} s in {int((missing > 0).sum())} gaps, the longest {missing[longest]:.0f} from {start:%Y-%m-%d %H:%M}"
        first = int(np.argmax(missing > 0))
        yield _at(name, "gaps", int(missing.sum()), rule, rows, first, "ts", wrong=False)
    yield from _prints(name, rows, columns, bar)
    flat = (rows["high"] == rows["low"]).to_numpy() & (rows["close"].diff() == 0).to_numpy()
    fewest = int(np.clip(np.ceil(3 * 3600 / bar), 3, 30))
    yield from _runs(name, rows, flat, fewest, f"{fewest} or more flat bars in a row", "close")


def spikes(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return flags (n, columns) of prices a factor outside both the previous close and the next open."""
    values = rows[list(columns)].to_numpy()
    if len(rows) < 3:
        return np.zeros(values.shape, bool)
    opening, close = rows["open" if "open" in columns else "close"].to_numpy(), rows["close"].to_numpy()
    before = np.concatenate([opening[1:2], close[:-1]])
    after = np.concatenate([opening[1:], close[-2:-1]])
    low, high = np.minimum(before, after)[:, None], np.maximum(before, after)[:, None]
    with np.errstate(invalid="ignore"):
        return ((values < low / BAD_PRINT_FACTOR) & (values > 0)) | (values > high * BAD_PRINT_FACTOR)


def shifts(rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return (n,) the power of ten by which the level rises into a row and stays, 0 elsewhere."""
    opening, close = rows["open" if "open" in columns else "close"].to_numpy(), rows["close"].to_numpy()
    power = np.zeros(len(rows), int)
    if len(rows) < 3:
        return power
    with np.errstate(invalid="ignore", divide="ignore"):
        jump = np.log10(opening[1:] / close[:-1])
    near = np.nan_to_num(np.round(jump), posinf=0.0, neginf=0.0)
    hit = (near != 0) & (np.abs(jump - near) < np.log10(1.11))
    for i in np.flatnonzero(hit):
        after = np.nanmedian(close[i + 1 : i + 25]) / np.nanmedian(close[max(i - 23, 0) : i + 1])
        if abs(np.log10(after) - near[i]) < 0.3:
            power[i + 1] = int(near[i])
    return power


def _prints(name: str, rows: pd.DataFrame, columns: Sequence[str], bar: float) -> Iterator[Defect]:
    shifted = shifts(rows, columns)
    bad = spikes(rows, columns)
    for i, column in enumerate(columns):
        rule = f"a bad print: a factor {BAD_PRINT_FACTOR:g} outside the bars next to it"
        yield from _where(name, "bad prints", bad[:, i], rule, rows, column)
    rule = "the level changes by a power of ten and stays: another unit"
    yield from _where(name, "level shift", shifted != 0, rule, rows, "close")
    ahead = max(1, round(86400 / bar))
    close = np.log(rows["close"].where(rows["close"] > 0)).to_numpy()
    if len(close) > ahead:
        move = np.abs(close[ahead:] - close[:-ahead])
        far = np.concatenate([np.zeros(ahead, bool), move > np.log(EXTREME)])
        largest = np.nanmax(np.where(far[ahead:], move, 0.0))
        rule = f"24 h moves of more than a factor {EXTREME:g}, up to {np.exp(largest):.1f}; may be real"
        if not (bad.any() or shifted.any()):
            yield from _where(name, "extreme move", far, rule, rows, "close", wrong=False)


def _runs(name: str, rows: pd.DataFrame, same: np.ndarray, fewest: int, rule: str, key: str) -> Iterator[Defect]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    long = lengths >= fewest
    if long.any():
        at = int(starts[long][np.argmax(lengths[long])])
        said = f"{rule}; {int(long.sum())} runs, the longest {lengths.max()}"
        yield _at(name, "stale runs", int(lengths[long].sum()), said, rows, at, key, wrong=False)


def _funding(name: str, seen: Observations, rows: pd.DataFrame, _: float | None) -> Iterator[Defect]:
    hours = rows["ts"].diff().dt.total_seconds().to_numpy() / 3600
    near = np.round(hours)
    cadence = pd.Series(near).value_counts()
    usual = cadence[cadence >= max(6, 0.002 * len(rows))].index.to_numpy()
    if len(usual) > 1:
        said = ", ".join(f"{interval:g} h ({int(cadence[interval])})" for interval in usual)
        change = np.isin(near, usual[1:])
        yield from _where(name, "cadence", change, f"intervals of {said}", rows, "ts", wrong=False)
    if len(usual):
        gap = near > usual.max()
        gap |= (near > usual.min()) & ~np.isin(near, usual)
        rule = f"missing payments in {int(gap.sum())} gaps, the longest {np.nanmax(np.where(gap, hours, 0)):.0f} h"
        yield from _where(name, "gaps", gap, rule, rows, "ts", wrong=False)
    seconds = (rows["ts"].astype("int64") / 1e9 % 3600).to_numpy()
    late = np.minimum(seconds, 3600 - seconds)
    rule = f"not at a full hour, up to {late.max():.0f} s off"
    yield from _where(name, "off the grid", late > 1, rule, rows, "ts", wrong=False)
    rate = rows["funding_rate"]
    large = (rate.abs() > 0.04).to_numpy()
    rule = "a rate beyond 4 % of notional in one interval: a percentage, or a bad print"
    yield from _where(name, "large rate", large, rule, rows, "funding_rate")
    usual_rate = rate.mode().iloc[0] if rate.notna().any() else 0.0
    same = ((rate.diff() == 0) & (rate != usual_rate) & (rate != 0)).to_numpy()
    yield from _runs(name, rows, same, 6, "a rate other than the usual one stands", "funding_rate")


def _tape(name: str, seen: Observations, rows: pd.DataFrame, _: float | None) -> Iterator[Defect]:
    prices = [column for column in ("price", "bid", "ask") if column in seen.values]
    yield from _positive(name, rows, prices)
    if "bid" in prices:
        yield from _where(
            name, "crossed", (rows["bid"] > rows["ask"]).to_numpy(), "the bid is above the ask", rows, "bid"
        )
    yield from _silences(name, rows)
    for price in prices[:1]:
        same = (rows[price].diff() == 0).to_numpy()
        yield from _runs(name, rows, same, 30, "the price stands", price)
        bad = spikes(rows.assign(close=rows[price]), ["close"])
        rule = f"a bad print: a factor {BAD_PRINT_FACTOR:g} outside the updates next to it"
        yield from _where(name, "bad prints", bad[:, 0], rule, rows, price)


def _silences(name: str, rows: pd.DataFrame) -> Iterator[Defect]:
    interval = rows["ts"].diff().dt.total_seconds().to_numpy()
    median = np.nanmedian(interval) if len(interval) > 1 else np.nan
    long = interval > SILENCE * median
    if long.any():
        rule = f"no update for more than {SILENCE * median:g} s (median interval {median:.3g} s), up to {np.nanmax(interval):.0f} s"
        yield from _where(name, "silence", long, rule, rows, "ts", wrong=False)


def _depth(name: str, seen: Observations, rows: pd.DataFrame, bar: float | None) -> Iterator[Defect]:
    yield from _tape(name, seen, rows, bar)
    for side in ("bid", "ask"):
        levels = [column for column in seen.values if column.startswith(f"{side}_")]
        levels.sort(key=lambda column: float(column.split("_")[1].removesuffix("bps")))
        for level in levels:
            negative = (rows[level] < 0).to_numpy()
            yield from _where(name, "negative depth", negative, "a depth is not below zero", rows, level)
        for near, far in pairwise(levels):
            less = (rows[far] < rows[near] * (1 - 1e-9)).to_numpy()
            yield from _where(name, "inconsistent", less, f"{far} is below {near}", rows, far)
            cut = (rows[far] <= rows[near] * (1 + 1e-3)).to_numpy() & ~less
            rule = f"{far} adds nothing to {near}: the snapshot ends before it"
            yield from _where(name, "truncated", cut, rule, rows, far, wrong=False)


def _edges(seen: Observations, series: list[tuple[str, pd.DataFrame]]) -> Iterator[Defect]:
    if not series:  # a repair may have dropped every row
        return
    spans = {name: (rows["ts"].min(), rows["ts"].max()) for name, rows in series}
    first, last = min(a for a, _ in spans.values()), max(b for _, b in spans.values())
    for name, rows in series:
        start, end = spans[name]
        if start > first + EDGE:
            yield _at(
                name, "late start", 1, f"starts {(start - first).days} days after the first", rows, 0, wrong=False
            )
        if end < last - EDGE:
            rule = f"ends {(last - end).days} days before the last"
            yield _at(name, "early end", 1, rule, rows, len(rows) - 1, wrong=False)
    for old, new in renamed(seen, series):
        rows = dict(series)[old]
        rule = f"ends where {new} begins, at its price: the same contract under another name"
        yield _at(old, "renamed", len(rows), rule, rows, len(rows) - 1, "close", wrong=False)


def renamed(seen: Observations, series: list[tuple[str, pd.DataFrame]]) -> list[tuple[str, str]]:
    """Return (old, new) of series of bars that follow each other within 30 days at prices within 20 %."""
    if seen.kind != "bars":
        return []
    ends = [(name, rows["ts"].iloc[-1], float(rows["close"].iloc[-1]), rows["venue"].iloc[0]) for name, rows in series]
    starts = [(name, rows["ts"].iloc[0], float(rows["close"].iloc[0]), rows["venue"].iloc[0]) for name, rows in series]
    found = []
    for old, end, last, venue in ends:
        after = [
            (start - end, name)
            for name, start, price, other in starts
            if name != old and other == venue and pd.Timedelta(0) < start - end <= EDGE and 0.8 < price / last < 1.25
        ]
        if after:
            found.append((old, min(after)[1]))
    return found
