"""Files into tables: CSV, Parquet or JSON; times in seconds to nanoseconds or ISO text, any time zone.

A time that is a number is seconds, milli-, micro- or nanoseconds since 1970 by its size (each unit has its own range of
sizes for the years 1973 to 5138, so that nothing is guessed). Text with an offset is converted to UTC; text
without one is in the time zone that the user states, else UTC, and the report says so.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from stress.errors import PriceFileError
from stress.observations.defects import Defect
from stress.observations.kinds import KINDS, Observations, kind_of

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".json", ".json.gz")
_UNITS: tuple[tuple[Literal["s", "ms", "us", "ns"], float, float], ...] = (
    ("s", 1e8, 1e11),
    ("ms", 1e11, 1e14),
    ("us", 1e14, 1e17),
    ("ns", 1e17, 1e20),
)


@dataclass(frozen=True)
class RawTable:
    """A file's cells before anything is understood. first_line : line (CSV) or entry (else) of its first row.

    header : whether its columns have names; without, they are '0', '1', … tree : what a JSON file holds, else None.
    """

    file: Path
    frame: pd.DataFrame
    first_line: int
    header: bool
    tree: Any = None


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
            return RawTable(path, pd.read_parquet(path), 1, header=True)
        except (OSError, ValueError) as broken:
            raise PriceFileError(f"is not a Parquet file: {broken}", file=str(path)) from None
    return _json(path) if ".json" in name else _csv(path)


def _csv(path: Path) -> RawTable:
    try:
        first = next(csv.reader(_text_of(path).splitlines()[:1]), [])
        header = not any(_is_number(cell) for cell in first)
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, header=0 if header else None, encoding="utf-8-sig", index_col=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error, OSError) as broken:
        raise PriceFileError(f"is not a CSV table: {broken}", file=str(path)) from None
    frame.columns = [str(name).strip() for name in frame.columns]
    return RawTable(path, frame, 2 if header else 1, header)


def _text_of(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return bool(re.match(r"\d{4}-\d\d-\d\d", cell))
    return True


def _json(path: Path) -> RawTable:
    try:
        tree = json.loads(_text_of(path))
    except json.JSONDecodeError as broken:
        raise PriceFileError("is not JSON", file=str(path), line=broken.lineno, value=broken.msg) from None
    except (UnicodeDecodeError, OSError) as broken:
        raise PriceFileError(f"is not JSON text: {broken}", file=str(path)) from None
    if isinstance(tree, Mapping) and {"columns", "data"} <= tree.keys():
        return RawTable(path, pd.DataFrame(tree["data"], columns=tree["columns"], dtype=object), 1, True, tree)
    parts = tree.items() if isinstance(tree, Mapping) else [(None, tree)]
    frames = []
    for symbol, rows in parts:
        if not isinstance(rows, list) or not rows:
            raise PriceFileError(
                "a JSON price file is a list of rows or records, or a mapping symbol -> such a list",
                file=str(path),
                key=symbol,
                value=type(rows).__name__,
            )
        frame = pd.DataFrame(rows, dtype=object)
        frames.append(frame if symbol is None else frame.assign(symbol=symbol))
    frame = pd.concat(frames, ignore_index=True)
    header = any(not isinstance(name, int) for name in frame.columns if name != "symbol")
    frame.columns = [str(name) for name in frame.columns]
    return RawTable(path, frame, 1, header, tree)


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
    said = [f"{theirs} read as {ours}" for ours, theirs in columns.items() if theirs != ours and raw.header]
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
        times = column.dt.tz_convert("UTC") if aware else _localised(column, zone)
        return times.dt.as_unit("ns"), [] if aware else [_zoneless(zone)], times.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    numeric = numbers.notna()
    if numeric.mean() > 0.5:
        size = numbers.abs()
        times = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
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
        return times, [f"times in {how} since 1970"] if units else [], times.isna().to_numpy()
    text = column.astype(str).str.strip()
    with_zone = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    times = pd.to_datetime(text.where(with_zone), utc=True, errors="coerce", format="ISO8601").dt.as_unit("ns")
    said = []
    if not with_zone.all():
        plain = pd.to_datetime(text.where(~with_zone & ~numeric), errors="coerce", format="ISO8601")
        local = _localised(plain, zone).dt.as_unit("ns")
        times = times.where(with_zone, local)
        said.append(_zoneless(zone))
    offsets = text[with_zone].str.extract(r"(Z|[+-]\d\d:?\d\d)$")[0].unique()
    if len([o for o in offsets if o not in ("Z", "+00:00", "+0000")]):
        said.append(f"times with offsets {', '.join(map(str, offsets[:4]))}, converted to UTC")
    return times, said, times.isna().to_numpy()


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
