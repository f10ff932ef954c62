"""The shelf of outside sources: one file, one shape of file; found by discovery, and the only floor that reads prices.

A source says of a raw table whether it is its own (`recognises`) and returns its observations (`read`). Sources are
asked in the order of `priority`; the first that recognises a table reads it.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from stress.errors import PriceFileError
from stress.observations import Observations, RawTable, Reading, histories, open_table
from stress.paths import PriceHistory


class Source(NamedTuple):
    """One shape of outside file. read(table, stated) -> Observations."""

    name: str
    priority: int
    recognises: Callable[[RawTable], bool]
    read: Callable[[RawTable, Reading], Observations]


@functools.cache
def sources() -> tuple[Source, ...]:
    """Return every source of this folder, in the order in which they are asked."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    shelf = [Source(*module.SOURCE) for module in modules]
    return tuple(sorted(shelf, key=lambda source: (source.priority, source.name)))


def read(path: str | Path, stated: Reading | None = None) -> Observations:
    """Return what a file of prices, funding, depth or quotes holds; nothing is repaired."""
    raw = open_table(path)
    source = next((source for source in sources() if source.recognises(raw)), None)
    if source is None:
        raise PriceFileError(
            "has no header and neither the 6 columns of ccxt rows nor the 12 of an exchange's klines",
            file=str(path),
            value=f"{len(raw.frame.columns)} columns",
            fix="give it a header: ts, symbol, open, high, low, close",
        )
    return source.read(raw, stated or Reading())


def read_prices(
    path: str | Path, rules: Mapping[str, str] | None = None, stated: Reading | None = None
) -> PriceHistory:
    """Return the bars of a price file; what is wrong with it is refused with its line unless a rule repairs it."""
    return histories(read(path, stated), rules or {})
