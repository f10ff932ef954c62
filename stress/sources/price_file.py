"""Price bars from a file: tidy rows of ts, symbol, open, high, low, close [, venue], CSV or Parquet.

ts is the start of a bar, in UTC (ISO 8601 text in CSV; a time without a zone is UTC). Prices are positive
and finite with low <= open, close <= high; (venue, symbol, ts) is unique; all rows of the file share one
bar length. A file that breaks this is refused with its row; nothing is repaired here. Rows out of order
in time are sorted, and counted. Missing bars and isolated spikes are no defect of the file's schema:
`stress.paths.replay` reports them and treats them by the rule the scenario names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from stress.errors import PriceFileError
from stress.paths.replay import FIELDS, PriceHistory

_COLUMNS = ("ts", "symbol", *FIELDS)


def read_prices(path: str | Path) -> PriceHistory:
    """Return the checked bars of a price file."""
    path = Path(path)
    if not path.is_file():
        raise PriceFileError("the price file does not exist", file=str(path), fix="give the path of a CSV or Parquet")
    if path.name.endswith((".csv", ".csv.gz")):
        table, first_line = _read_csv(path), 2  # line 1 is the header
    elif path.suffix == ".parquet":
        table, first_line = _read_parquet(path), 1
    else:
        raise PriceFileError("is neither .csv, .csv.gz nor .parquet", file=str(path))
    if table.empty:
        raise PriceFileError("has no rows", file=str(path))
    rows = pd.DataFrame(
        {
            "ts": _times(table["ts"], path, first_line),
            "venue": _text(table["venue"], path, first_line) if "venue" in table else "",
            "symbol": _text(table["symbol"], path, first_line),
            **{field: _prices(table[field], path, first_line) for field in FIELDS},
            "row": np.arange(len(table)) + first_line,
        }
    )
    _check_bars(rows, path)
    groups = rows.groupby(["venue", "symbol"], sort=False, observed=True)["ts"]
    out_of_order = int((groups.diff() < pd.Timedelta(0)).sum())
    rows = rows.sort_values(["venue", "symbol", "ts"], kind="stable", ignore_index=True)
    return PriceHistory(str(path), rows, _bar(rows, path), out_of_order)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as broken:
        raise PriceFileError(f"is not a CSV table: {broken}", file=str(path)) from None
    _check_columns(list(table.columns), path)
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as broken:
        raise PriceFileError(f"is not a Parquet file: {broken}", file=str(path)) from None
    _check_columns(list(table.columns), path)
    for field in FIELDS:
        if not pd.api.types.is_numeric_dtype(table[field]):
            raise PriceFileError(
                "must be a numeric column", file=str(path), key=field, value=str(table[field].dtype), fix="use float64"
            )
    if not pd.api.types.is_datetime64_any_dtype(table["ts"]):
        raise PriceFileError(
            "must be a timestamp column", file=str(path), key="ts", value=str(table["ts"].dtype), fix="use UTC"
        )
    return table


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise PriceFileError(
            f"a price file has the columns {', '.join(_COLUMNS)} and may have venue",
            file=str(path),
            key="missing columns",
            value=missing,
            fix="its columns are " + ", ".join(columns),
        )


def _refuse(bad: np.ndarray, column: pd.Series, path: Path, first_line: int, rule: str, fix: str | None = None) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        count = int(bad.sum())
        more = f" ({count} rows)" if count > 1 else ""
        value = column.iloc[row]
        value = value.item() if isinstance(value, np.generic) else value
        raise PriceFileError(
            rule + more, file=str(path), line=row + first_line, key=str(column.name), value=value, fix=fix
        )


def _times(column: pd.Series, path: Path, first_line: int) -> pd.Series:
    times = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601" if column.dtype == object else None)
    bad = times.isna().to_numpy()
    _refuse(bad, column, path, first_line, "is not a time", "write ISO 8601 in UTC, such as 2025-10-10T21:14:00Z")
    return times.dt.as_unit("ns")


def _text(column: pd.Series, path: Path, first_line: int) -> pd.Series:
    bad = column.isna().to_numpy() | (column.astype(str) == "").to_numpy()
    _refuse(bad, column, path, first_line, "is empty")
    return column.astype(str)


def _prices(column: pd.Series, path: Path, first_line: int) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    _refuse(~np.isfinite(numbers.to_numpy()), column, path, first_line, "is not a finite number")
    _refuse((numbers <= 0).to_numpy(), column, path, first_line, "a price must be positive")
    return numbers


def _check_bars(rows: pd.DataFrame, path: Path) -> None:
    first_line = int(rows["row"].iloc[0])
    body_low, body_high = rows[["open", "close"]].min(axis=1), rows[["open", "close"]].max(axis=1)
    for column, bad, rule in (
        ("low", rows["low"] > body_low, "low must not be above open, close"),
        ("high", rows["high"] < body_high, "high must not be below open, close"),
        ("ts", rows.duplicated(["venue", "symbol", "ts"]), "a series has one row per time; this one is a duplicate"),
    ):
        _refuse(bad.to_numpy(), rows[column], path, first_line, rule, "correct or remove the row")


def _bar(rows: pd.DataFrame, path: Path) -> float:
    """Return the bar length: the most frequent distance of neighbouring rows of a series, in seconds."""
    distance = rows.groupby(["venue", "symbol"], sort=False, observed=True)["ts"].diff().dt.total_seconds().dropna()
    if distance.empty:
        raise PriceFileError("has no series of two bars, so that the length of a bar is unknown", file=str(path))
    bar = float(distance.mode().iloc[0])
    off = (distance % bar != 0).to_numpy()
    if off.any():
        row = rows.loc[distance.index[int(np.argmax(off))]]
        raise PriceFileError(
            f"is not a whole number of bars of {bar:g} s after the row before it ({int(off.sum())} rows)",
            file=str(path),
            line=int(row["row"]),
            key="ts",
            value=row["ts"].isoformat(),
            fix="put one bar length into a file",
        )
    return bar
