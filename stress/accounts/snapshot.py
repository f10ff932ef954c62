"""Books read from a file of positions; every bad row is named by its line.

A snapshot is a CSV or Parquet table with one row per position and these columns:

    trader        text or whole number; the accounts of one trader share it
    margin_mode   cross | isolated
    market        a market of the study
    size          base units, signed (+ long), not 0
    entry_price   USD per base unit, > 0
    collateral    USD without unrealised PnL: of the whole pool for a cross row (the same on every
                  cross row of the trader), of this position for an isolated one

A trader without positions has one cross row with market, size and entry_price empty. A trader
holds at most one position per market and margin mode. Lines count from 1 and include the header of
a CSV; rows of a Parquet file count from 1.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from stress.accounts.book import KINDS, Book
from stress.errors import BookError, did_you_mean

COLUMNS = ("trader", "margin_mode", "market", "size", "entry_price", "collateral")
MARGIN_MODES = ("cross", "isolated")
SHOWN = 20


class SnapshotBook(BaseModel):
    """A book read from a file of positions; see the module docstring for its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: Literal["snapshot"] = "snapshot"
    path: str = Field(min_length=1, description="CSV (.csv) or Parquet (.parquet) file")
    market_makers_equity: PositiveFloat | None = Field(default=None, description="USD; null = the gross notional")


@dataclass
class _Problems:
    """Bad rows of one file, collected so that a user sees them all at once."""

    file: str
    found: list[tuple[int, str, object, str, str | None]] = field(default_factory=list)

    def add(self, line: int, key: str, value: object, rule: str, fix: str | None = None) -> None:
        self.found.append((line, key, value, rule, fix))

    def raise_if_any(self) -> None:
        if not self.found:
            return
        line, key, value, rule, fix = self.found[0]
        others = [
            f"\n  {self.file}:{line}: {key} = {value!r}: {rule}" + (f" ({fix})" if fix else "")
            for line, key, value, rule, fix in self.found[1:SHOWN]
        ]
        if len(self.found) > SHOWN:
            others.append(f"\n  and {len(self.found) - SHOWN} more")
        raise BookError(rule + "".join(others), file=self.file, line=line, key=key, value=value, fix=fix)


@dataclass
class _Account:
    """One margin account while its rows are collected; `rows` maps market to (size, entry price)."""

    isolated: bool
    collateral: float
    line: int
    rows: dict[int, tuple[float, float]] = field(default_factory=dict)


def read_snapshot(spec: SnapshotBook, *, markets: tuple[str, ...]) -> Book:
    """Read the book; raises one `BookError` that names up to 20 bad rows by line."""
    problems = _Problems(spec.path)
    accounts: dict[tuple[str, int], _Account] = {}  # (trader, -1 for cross or market if isolated)
    for line, row in _rows(spec.path):
        _add(row, line, markets, accounts, problems)
    problems.raise_if_any()
    if not accounts:
        raise BookError("a snapshot has at least one row", file=spec.path, fix="write one row per position")

    names = tuple(dict.fromkeys(trader for trader, _ in accounts))
    number = {name: index for index, name in enumerate(names)}
    ordered = sorted(accounts.items(), key=lambda item: (number[item[0][0]], item[0][1]))
    rows = [(market, *account.rows[market]) for _, account in ordered for market in sorted(account.rows)]
    market, size, entry = zip(*rows, strict=True) if rows else ((), (), ())
    return Book(
        markets=markets,
        trader=np.array([number[trader] for (trader, _), _ in ordered]),
        kind=np.full(len(ordered), KINDS.index("unclassified")),
        isolated=np.array([account.isolated for _, account in ordered]),
        cash=np.array([account.collateral for _, account in ordered]),
        row_start=np.concatenate([[0], np.cumsum([len(account.rows) for _, account in ordered])]),
        row_market=np.array(market),
        size=np.array(size),
        entry_price=np.array(entry),
        market_makers_equity=spec.market_makers_equity,
        trader_names=names,
    )


def _add(
    row: dict[str, object],
    line: int,
    markets: tuple[str, ...],
    accounts: dict[tuple[str, int], _Account],
    problems: _Problems,
) -> None:
    """Check one row and file it under its account, or note what is wrong with it."""
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
    size = entry = math.nan
    if without_position:
        if mode == "isolated":
            problems.add(
                line, "market", row["market"], "an isolated row holds a position, so none of its cells is empty"
            )
    else:
        if name not in markets:
            rule = "is a market of the study"
            problems.add(line, "market", row["market"], rule, f"{did_you_mean(name, markets)}; or add it to `markets`")
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
    market = -1 if without_position else markets.index(name)
    account = accounts.setdefault((trader, market if isolated else -1), _Account(isolated, collateral, line))
    if account.collateral != collateral and not isolated:
        problems.add(
            line,
            "collateral",
            collateral,
            f"is the same on every cross row of a trader; line {account.line} has {account.collateral!r} for {trader}",
            "give the collateral of the whole pool on each of its rows",
        )
    elif market in account.rows or (without_position and account.line != line):
        fix = f"merge it with line {account.line}" if isolated else "merge it with the trader's row of this market"
        problems.add(line, "market", name, f"occurs once per margin mode of a trader, here of {trader} ({mode})", fix)
    elif not without_position:
        account.rows[market] = (size, entry)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _number(row: dict[str, object], key: str, line: int, problems: _Problems, rule: str) -> float:
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
