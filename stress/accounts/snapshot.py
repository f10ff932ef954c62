"""Books read from a file: a table of positions, or the responses of a venue; the format is named or detected.

    tidy         `.csv` or `.parquet`, one row per position (stress.accounts.tidy)
    hyperliquid  `.json`, responses of `clearinghouseState` (stress.accounts.hyperliquid)
    dydx         `.json`, subaccounts of the v4 indexer (stress.accounts.dydx)

Everything wrong with a file is named at once, by line or by JSON path. An account is taken as it
stands; nothing is scaled to the study's prices.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from stress.accounts import dydx, hyperliquid, tidy
from stress.accounts.book import Book
from stress.accounts.reshaping import Resampling, Scale
from stress.accounts.statement import Node, Problems, Statement, Unreadable
from stress.errors import BookError

FORMATS = {".csv": ("tidy",), ".parquet": ("tidy",), ".json": ("hyperliquid", "dydx")}
_VENUES = {"hyperliquid": hyperliquid, "dydx": dydx}


class SnapshotBook(BaseModel):
    """A book read from a file of positions; see `stress.accounts.snapshot` for its formats."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: Literal["snapshot"] = "snapshot"
    path: str = Field(min_length=1, description="table of positions (.csv, .parquet) or venue responses (.json)")
    format: Literal["detect", "tidy", "hyperliquid", "dydx"] = Field(
        default="detect", description="format of the file; detect = by its suffix and keys"
    )
    other_markets: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="positions in markets that the study does not simulate: refuse the file, or leave them out, listed",
    )
    market_makers_equity: PositiveFloat | None = Field(default=None, description="USD; null = the gross notional")
    collateral: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="share of equity held in an asset instead of cash"
    )
    scale: Scale = 1.0
    resample: Resampling = None


def read_snapshot(spec: SnapshotBook, *, markets: tuple[str, ...]) -> Book:
    """Read the book; raises one `BookError` that names up to 20 bad entries by line or JSON path."""
    file = Path(spec.path)
    suffix = file.suffix.lower()
    possible = FORMATS.get(suffix, ())
    if not possible or spec.format not in ("detect", *possible):
        wanted = [known for known, formats in FORMATS.items() if spec.format in ("detect", *formats)]
        raise BookError(
            f"a snapshot is a {', '.join(wanted[:-1])}{' or ' if wanted[1:] else ''}{wanted[-1]} file"
            + ("" if spec.format == "detect" else f" if its format is {spec.format}"),
            file=spec.path,
            fix="convert it, or rename it",
        )
    if not file.is_file():
        raise BookError("the file of the book does not exist", file=spec.path, key="book.path", fix="check the path")
    statement = Statement(markets, Problems(spec.path), drop_others=spec.other_markets == "drop")
    if suffix != ".json":
        tidy.read(spec.path, statement)
        return statement.book(spec.market_makers_equity)
    text = _text(spec.path)
    document = Node(_json(text, spec.path), "", statement.problems)
    venue = _detected(text, spec.path) if spec.format == "detect" else spec.format
    try:
        _VENUES[venue].read(document, statement)
    except Unreadable:
        statement.problems.raise_if_any()
    return statement.book(spec.market_makers_equity)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BookError("a JSON file is UTF-8 text", file=path, value=str(error)) from error


def _detected(text: str, path: str) -> str:
    found = [name for name, venue in _VENUES.items() if f'"{venue.MARK}"' in text]
    if len(found) != 1:
        marks = ", ".join(f"{venue.MARK} ({name})" for name, venue in _VENUES.items())
        raise BookError(
            f"a response holds exactly one of {marks}",
            file=path,
            key="book.format",
            value=" and ".join(found) or None,
            fix="name the `format`, or give the responses as the venue sent them",
        )
    return found[0]


def _json(text: str, path: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in found if keys.count(key) > 1)
            raise BookError("a key occurs once in its mapping", file=path, key=twice, fix="merge the two")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise BookError("is a JSON document", file=path, line=error.lineno, value=error.msg) from error
