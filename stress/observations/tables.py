"""Files into tables: CSV, Parquet or JSON; times in seconds to nanoseconds or ISO text, any time zone.

CSV cells are separated by commas, semicolons or tabs, whichever the first row has most of. JSON is a list of rows or
records, records line by line, a table by columns, a mapping symbol -> rows, or one list of records under its name
(an exchange's answer).

A time that is a number is seconds, milli-, micro- or nanoseconds since 1970 by its size (each unit has its own range of
sizes from 1990 on, so that nothing is guessed; a date without separators is in none of them). Text with an offset, Z or
UTC is converted to UTC; text without is in the time zone that the user states, else UTC, and the report says so. What
is text among numbers, or a number among text, is no time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from stress.errors import PriceFileError
from stress.observations.defects import Defect
from stress.observations.kinds import KINDS, Observations, kind_of

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".json", ".json.gz", ".jsonl", ".jsonl.gz")
_SEPARATORS = ",;\t"
_OFFSET = r"[T:].*?(Z| ?UTC|[+-]\d\d(?::?\d\d)?)$"
_YEARS = (1990, 2100)
# Sizes of the years 1990 to 2099. Seconds end in 2033: later numbers of ten digits are dates such as 2024010100.
_UNITS: tuple[tuple[Literal["s", "ms", "us", "ns"], float, float], ...] = (
    ("s", 6.3e8, 1.99e9),
    ("ms", 6.3e11, 4.1e12),
    ("us", 6.3e14, 4.1e15),
    ("ns", 6.3e17, 4.1e18),
)
_PAIR = re.compile(
    r"(?:^|[^A-Za-z0-9])(?=[A-Za-z0-9]*[A-Za-z])([A-Za-z0-9]{2,}?)[-_/]?(USDT|USDC|USD)(?=[^A-Za-z0-9]|$)", re.I
)


@dataclass(frozen=True)
class RawTable:
    """A file's cells before anything is understood. first_line : line (CSV) or entry (else) of its first row.

    header : whether its columns have names; without, they are '0', '1', … tree : what a JSON file holds, else None.
    said : what a reader of the report should know of how the cells were found.
    """

    file: Path
    frame: pd.DataFrame
    first_line: int
    header: bool
    tree: Any = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What the user states about files that do not say it themselves."""

    symbol: str | None = None
    venue: str | None = None
    time_zone: str = "UTC"


def open_table(path: str | Path) -> RawTable:
    """Return the cells of a file; CSV and JSON cells as text, Parquet as they are typed."""
    path = Path(path)
    if not path.is_file():
        raise PriceFileError("the price file does not exist", file=str(path), fix="give the path of a CSV or Parquet")
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise PriceFileError(f"is neither {', '.join(SUFFIXES[:-1])} nor {SUFFIXES[-1]}", file=str(path))
    if name.endswith(".parquet"):
        try:
            return RawTable(path, _whole(pd.read_parquet(path)), 1, header=True)
        except (OSError, ValueError) as broken:
            raise PriceFileError(f"is not a Parquet file: {broken}", file=str(path)) from None
    return _json(path) if ".json" in name else _csv(path)


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with what its index says among its columns."""
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis("ts")
    return frame.reset_index(drop=all(name is None for name in frame.index.names))


def _csv(path: Path) -> RawTable:
    text = _text_of(path, "a CSV table")
    lines = [line for line in text.splitlines()[:3] if line.strip()]
    if not lines:
        raise PriceFileError(
            "is empty", file=str(path), fix="give a table with a header: ts, symbol, open, high, low, close"
        )
    said, first = [], 0
    separator = max(_SEPARATORS, key=lines[0].count)
    if len(lines) > 1 and lines[0].count(separator) == 0 and any(sign in lines[1] for sign in _SEPARATORS):
        # Some vendors put their address above the header.
        said, first = [f"passed over the first line: {lines[0][:60]}"], 1
        separator = max(_SEPARATORS, key=lines[1].count)
    if separator != ",":
        said.append(f"cells separated by {'tabs' if separator == chr(9) else 'semicolons'}")
    try:
        cells = next(csv.reader(lines[first : first + 1], delimiter=separator), [])
        header = not any(_is_number(cell) for cell in cells)
        with warnings.catch_warnings():
            # Rows longer than the header would lose their last cells.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text), dtype=str, keep_default_na=False, header=0 if header else None, index_col=False,
                sep=separator, skiprows=first,
            )  # fmt: skip
    except pd.errors.ParserWarning:
        rule = f"every row has {len(cells)} cells, as its first row"
        raise PriceFileError(rule, file=str(path), line=first + 1, fix="name every column, or remove cells") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as broken:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(broken))
        if found is None:
            raise PriceFileError(f"is not a CSV table: {broken}", file=str(path)) from None
        wanted, line, seen = map(int, found.groups())
        rule = f"every row has {wanted} cells, as its first row"
        fix = "quote cells that hold the separator; numbers carry no thousands separators"
        raise PriceFileError(rule, file=str(path), line=line, value=f"{seen} cells", fix=fix) from None
    frame.columns = [str(name).strip() for name in frame.columns]
    return RawTable(path, frame, first + (2 if header else 1), header, said=tuple(said))


def _text_of(path: Path, kind: str) -> str:
    content = path.read_bytes()
    try:
        return (gzip.decompress(content) if path.suffix.lower() == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as broken:
        raise PriceFileError(f"is not {kind}: {broken}", file=str(path), fix="fetch or compress it again") from None
    except UnicodeDecodeError as broken:
        raise PriceFileError(f"is not {kind}: {broken}", file=str(path), fix="save it as UTF-8 text") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return bool(re.match(r"\d{4}-\d\d-\d\d", cell))
    return True


def _json(path: Path) -> RawTable:
    tree = _tree(path)
    try:
        if isinstance(tree, Mapping) and {"columns", "data"} <= tree.keys():
            return RawTable(path, pd.DataFrame(tree["data"], columns=tree["columns"], dtype=object), 1, True, tree)
        if isinstance(tree, Mapping) and tree and all(map(_is_column, tree.values())):
            return RawTable(path, pd.DataFrame(tree, dtype=object), 1, True, tree)
    except ValueError as broken:
        raise PriceFileError(f"is not a JSON table: {broken}", file=str(path)) from None
    parts = tree.items() if isinstance(tree, Mapping) and tree else [(None, tree)]
    frames = []
    for name, rows in parts:
        if not isinstance(rows, list) or not rows:
            raise PriceFileError(
                "a JSON price file is a list of rows or records, or a mapping symbol -> such a list",
                file=str(path),
                key=name,
                value=type(rows).__name__ if rows or not isinstance(rows, (list, Mapping)) else "empty",
                fix="of an exchange's answer save the list alone",
            )
        _check_alike(path, rows)
        frame = pd.DataFrame(rows, dtype=object)
        if name is not None:  # of records the name may be anything: a column of theirs comes first
            frame["key" if isinstance(rows[0], Mapping) else "symbol"] = name
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True)
    header = any(not isinstance(name, int) for name in frame.columns if name != "symbol")
    frame.columns = [str(name) for name in frame.columns]
    return RawTable(path, frame, 1, header, tree)


def _tree(path: Path) -> Any:
    """Return what a JSON file holds; of several values, a line each, their list."""
    text = _text_of(path, "JSON text")
    try:
        return json.loads(text)
    except json.JSONDecodeError as broken:
        line, message = broken.lineno, broken.msg
    if message == "Extra data":
        values = []
        for number, one in enumerate(text.splitlines(), start=1):
            try:
                values += [json.loads(one)] if one.strip() else []
            except json.JSONDecodeError as broken:
                raise PriceFileError("is not JSON", file=str(path), line=number, value=broken.msg) from None
        return values
    raise PriceFileError("is not JSON", file=str(path), line=line, value=message)


def _is_column(held: Any) -> bool:
    values = list(held.values()) if isinstance(held, Mapping) else held
    return isinstance(values, list) and bool(values) and not any(isinstance(v, (list, Mapping)) for v in values)


def _check_alike(path: Path, rows: list[Any]) -> None:
    """Refuse an entry that is no row, or not as long as the first."""
    first = rows[0]
    for entry, row in enumerate(rows, start=1):
        if not isinstance(row, (list, Mapping)) or isinstance(row, list) != isinstance(first, list):
            rule, value = "every entry is a row, or every entry is a record", type(row).__name__
        elif isinstance(row, list) and len(row) != len(first):
            rule, value = f"every row has {len(first)} cells, as the first", f"{len(row)} cells"
        else:
            continue
        raise PriceFileError(rule, file=str(path), line=entry, value=value, fix="correct or remove the entry")


def pair_in(name: str) -> str | None:
    """Return the pair that the name of a file holds: BTCUSDT of BTCUSDT-1h.csv, mark_btc-usdt.csv, BTC_USDT-1h.csv."""
    found = _PAIR.search(name)
    return f"{found[1]}{found[2]}".upper() if found else None


def normalise(
    raw: RawTable, source: str, columns: Mapping[str, str], stated: Reading, symbol: str | None = None
) -> Observations:
    """Return the observations of a table; columns maps our names to the file's, symbol is the file name's."""
    path, frame = str(raw.file), raw.frame
    renamed = frame[list(columns.values())].set_axis(list(columns), axis=1)
    found = kind_of(list(renamed.columns))
    if found is None or "ts" not in renamed:
        wanted = "; ".join(f"{name}: {', '.join(kind.needs)}" for name, kind in KINDS.items())
        raise PriceFileError(
            "is no table of market data: it needs ts and the columns of one kind",
            file=path,
            key="missing columns",
            value=[name for name in ("ts",) if name not in renamed] or None,
            fix=f"its columns are {', '.join(frame.columns)}; kinds are {wanted}",
        )
    if frame.empty:
        raise PriceFileError("has no rows", file=path)
    kind, values = found
    rows = np.arange(len(frame)) + raw.first_line
    said = list(raw.said)
    said += [f"{theirs} read as {ours}" for ours, theirs in columns.items() if theirs != ours and raw.header]
    unreadable: list[Defect] = []
    times, how, bad = _times(renamed["ts"], stated.time_zone)
    said += how
    _note(unreadable, bad, frame[columns["ts"]], "ts", rows, "is not a time", "write ISO 8601 or seconds since 1970")
    named = stated.symbol or symbol
    if "symbol" not in renamed and named is None:
        raise PriceFileError(
            "has no column symbol, and its name does not say it", file=path, key="symbol", fix="state it with --symbol"
        )
    if "symbol" not in renamed:
        said.append(f"symbol {named}, {'stated' if stated.symbol else 'from the name of the file'}")
    table = pd.DataFrame(
        {
            "ts": times,
            "venue": _text(renamed, "venue", stated.venue or ""),
            "symbol": _text(renamed, "symbol", str(named)),
            "row": rows,
        }
    )
    _note(unreadable, (table["symbol"] == "").to_numpy(), table["symbol"], "symbol", rows, "is empty", None)
    for name in values:
        text = renamed[name].astype(str).str.strip() if renamed[name].dtype == object else renamed[name]
        numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
        finite = np.isfinite(numbers.to_numpy())
        _note(unreadable, ~finite, frame[columns[name]], name, rows, "is not a finite number", None)
        table[name] = numbers.where(finite)
    left = [name for name in frame.columns if name not in columns.values()]
    if left:
        said.append(f"not read: {', '.join(left)}")
    return Observations(path, source, kind, table, values, tuple(said), tuple(unreadable))


def _text(frame: pd.DataFrame, name: str, otherwise: str) -> pd.Series:
    if name not in frame:
        return pd.Series(otherwise, index=frame.index, dtype=object)
    column = frame[name].astype(object)
    return column.where(column.notna(), "").astype(str).str.strip()


def _note(
    found: list[Defect], bad: np.ndarray, cells: pd.Series, key: str, rows: np.ndarray, rule: str, fix: str | None
) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        value = cells.iloc[first]
        value = value.item() if isinstance(value, np.generic) else value
        found.append(Defect("", "unreadable", int(bad.sum()), rule, int(rows[first]), key, value, "", fix))


def _times(column: pd.Series, zone: str) -> tuple[pd.Series, list[str], np.ndarray]:
    """Return times in UTC (NaT where unreadable), how they were read, and which are no times."""
    if pd.api.types.is_datetime64_any_dtype(column):
        aware = getattr(column.dt, "tz", None) is not None
        times = _known(column.dt.tz_convert("UTC") if aware else _localised(column, zone))
        return times, [] if aware else [_zoneless(zone)], times.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().mean() > 0.5:
        times, said = _counted(numbers)
    else:
        times, said = _written(column.where(numbers.isna()).astype(str).str.strip(), zone)
    return times, said, times.isna().to_numpy()


def _counted(numbers: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return times that are numbers since 1970, each in the unit of its size, and how they were read."""
    times, size = pd.Series(pd.NaT, index=numbers.index, dtype="datetime64[ns, UTC]"), numbers.abs()
    units = []
    for unit, low, high in _UNITS:
        mine = (size >= low) & (size < high)
        if mine.any():
            # Whole numbers stay whole; only seconds with a fraction pass through a double.
            whole = (numbers[mine] % 1 == 0).all()
            exact = numbers[mine].astype(np.int64) if whole else numbers[mine]
            times[mine] = pd.to_datetime(exact, unit=unit, utc=True).dt.as_unit("ns")
            units.append((unit, int(mine.sum())))
    how = units[0][0] if len(units) == 1 else ", ".join(f"{unit} in {count} rows" for unit, count in units)
    return times, [f"times in {how} since 1970"] if units else []


def _written(text: pd.Series, zone: str) -> tuple[pd.Series, list[str]]:
    """Return times that are text in UTC, and how they were read."""
    offset = text.str.extract(_OFFSET)[0]
    with_zone, said = offset.notna(), []
    plain = text.str.replace(r" ?UTC$", "Z", regex=True)
    aware = pd.to_datetime(plain.where(with_zone), utc=True, errors="coerce", format="ISO8601")
    times = _known(aware)
    if not with_zone.all():
        local = pd.to_datetime(text.where(~with_zone), errors="coerce", format="ISO8601")
        times = times.where(with_zone, _known(_localised(local, zone)))
        if local.notna().any():
            said.append(_zoneless(zone))
    offsets = [one for one in offset.dropna().unique() if one.strip() not in ("Z", "UTC", "+00:00", "+0000", "+00")]
    if offsets:
        said.append(f"times with offsets {', '.join(offsets[:4])}, converted to UTC")
    return times, said


def _known(times: pd.Series) -> pd.Series:
    """Return times in nanoseconds, NaT for those beyond the years of market data."""
    inside = (times.dt.year >= _YEARS[0]) & (times.dt.year < _YEARS[1])
    return times.where(inside).dt.as_unit("ns")


def _localised(column: pd.Series, zone: str) -> pd.Series:
    """Return zoneless times in UTC; NaT where a clock change makes the hour double or missing."""
    try:
        return column.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    except Exception as unknown:
        if type(unknown).__name__ not in ("ZoneInfoNotFoundError", "UnknownTimeZoneError", "KeyError", "ValueError"):
            raise
        raise PriceFileError(
            "is not the name of a time zone", key="--time-zone", value=zone, fix="such as UTC or Asia/Tokyo"
        ) from None


def _zoneless(zone: str) -> str:
    return f"times without a zone, taken as {zone}"
