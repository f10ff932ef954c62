"""Books read from a table of positions; every bad row is named by its line.

A tidy snapshot is a CSV or Parquet table with one row per position and these columns:

    trader        text or whole number; the accounts of one trader share it
    margin_mode   cross | isolated
    market        a market of the study
    size          base units, signed (+ long), not 0
    entry_price   USD per base unit, > 0
    collateral    USD without unrealised PnL: of the whole pool for a cross row (the same on every
                  cross row of the trader), of this position for an isolated one

A trader without positions has one cross row with market, size and entry_price empty. A trader
holds at most one position per market and margin mode. Lines count from 1 and include the header of
a CSV; rows of a Parquet file count from 1. A position that `other_markets: drop` leaves out leaves
its pool's collateral as it is stated (closed at its entry price); an isolated one takes its own away.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stress.accounts.statement import MarginAccount, Problems, Statement
from stress.errors import BookError, did_you_mean

COLUMNS = ("trader", "margin_mode", "market", "size", "entry_price", "collateral")
MARGIN_MODES = ("cross", "isolated")


def read(path: str, statement: Statement) -> None:
    """File the accounts of a table under `statement`, with everything that is wrong with them."""
    accounts: dict[tuple[str, int], _Pool] = {}  # (trader, -1 for cross or market if isolated)
    for line, row in _rows(path):
        _add(row, line, accounts, statement)
    for (trader, _), pool in accounts.items():
        statement.accounts.append(MarginAccount(trader, pool.isolated, pool.collateral, pool.rows))


@dataclass
class _Pool:
    """One margin account while its rows are collected; `line` is that of its first row."""

    isolated: bool
    collateral: float
    line: int
    rows: dict[int, tuple[float, float]] = field(default_factory=dict)


def _add(
    row: dict[str, object],
    line: int,
    accounts: dict[tuple[str, int], _Pool],
    statement: Statement,
) -> None:
    """Check one row and file it under its account, or note what is wrong with it."""
    problems = statement.problems
    before = len(problems.found)
    trader = _text(row["trader"])
    if not trader:
        problems.add(line, "trader", row["trader"], "names the trader and is not empty")
    mode = _text(row["margin_mode"])
    if mode not in MARGIN_MODES:
        problems.add(line, "margin_mode", row["margin_mode"], "is cross or isolated", did_you_mean(mode, MARGIN_MODES))
    collateral = _number(row, "collateral", line, problems, "is a finite number, USD without unrealised PnL")

    name = _text(row["market"])
    without_position = not (name or _text(row["size"]) or _text(row["entry_price"]))
    market: int | None = -1
    size = entry = math.nan
    if without_position:
        if mode == "isolated":
            problems.add(
                line, "market", row["market"], "an isolated row holds a position, so none of its cells is empty"
            )
    else:
        market = statement.find(name)
        if market is None and not statement.drop_others:
            problems.add(line, "market", row["market"], *statement.unknown(name))
        size = _number(row, "size", line, problems, "is a finite number of base units, + long, - short")
        if size == 0:
            fix = "drop the row, or leave market, size and entry_price empty to keep the collateral"
            problems.add(line, "size", row["size"], "is not 0", fix)
        entry = _number(row, "entry_price", line, problems, "is a finite price above 0, USD")
        if entry <= 0:
            problems.add(line, "entry_price", row["entry_price"], "is a finite price above 0, USD")
    if len(problems.found) > before:
        return

    isolated = mode == "isolated"
    if market is None:
        statement.drop(trader, name, size)
        if isolated:
            return
    account = accounts.setdefault(
        (trader, market if isolated and market is not None else -1), _Pool(isolated, collateral, line)
    )
    if account.collateral != collateral and not isolated:
        problems.add(
            line,
            "collateral",
            collateral,
            f"is the same on every cross row of a trader; line {account.line} has {account.collateral!r} for {trader}",
            "give the collateral of the whole pool on each of its rows",
        )
    elif market is None:
        return
    elif market in account.rows or (without_position and account.line != line):
        fix = f"merge it with line {account.line}" if isolated else "merge it with the trader's row of this market"
        problems.add(line, "market", name, f"occurs once per margin mode of a trader, here of {trader} ({mode})", fix)
    elif not without_position:
        account.rows[market] = (size, entry)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _number(row: dict[str, object], key: str, line: int, problems: Problems, rule: str) -> float:
    """Parse a finite number, or note the problem and return NaN (which passes no later check)."""
    try:
        number = float(_text(row[key]))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problems.add(line, key, row[key], rule)
        return math.nan
    return number


def _rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line, row) of a CSV or Parquet file with exactly the documented columns."""
    file = Path(path)
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if file.suffix.lower() not in readers:
        raise BookError("a snapshot is a .csv or .parquet file", file=path, fix="convert it, or rename it")
    if not file.is_file():
        raise BookError("the file of the book does not exist", file=path, key="book.path", fix="check the path")
    return readers[file.suffix.lower()](path)


def _csv_rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        # utf-8-sig: spreadsheets put a byte-order mark in front of the header.
        with Path(path).open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_columns(header, path)
            end = reader.line_num
            for cells in reader:
                line, end = end + 1, reader.line_num  # a quoted cell may span lines; name the first
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise BookError(
                        f"has {len(header)} cells, as the header does",
                        file=path,
                        line=line,
                        value=f"{len(cells)} cells",
                        fix="quote cells that contain commas; numbers carry no thousands separators",
                    )
                yield line, dict(zip(header, cells, strict=True))
    except UnicodeDecodeError as error:
        raise BookError("a CSV file is UTF-8 text", file=path, value=str(error)) from error
    except csv.Error as error:
        raise BookError("a CSV file has balanced quotes", file=path, line=reader.line_num, value=str(error)) from error


def _parquet_rows(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    # Imported here: a study with a synthetic book does not pay for it.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BookError("is a readable Parquet file", file=path, value=str(error).splitlines()[0]) from error
    _check_columns(table.column_names, path)
    yield from enumerate(table.to_pylist(), start=1)


def _check_columns(header: Iterable[str], path: str) -> None:
    header = list(header)
    expected = f"the columns of a snapshot are {', '.join(COLUMNS)}"
    for name in header:
        if name not in COLUMNS:
            fix = f"{did_you_mean(name, COLUMNS)}; remove columns that are not part of a book"
            raise BookError(expected, file=path, line=1, key="column", value=name, fix=fix)
        if header.count(name) > 1:
            raise BookError(expected, file=path, line=1, key="column", value=name, fix="keep one of the two")
    for name in COLUMNS:
        if name not in header:
            raise BookError(f"{expected}; this one is missing", file=path, line=1, key="column", value=name)
