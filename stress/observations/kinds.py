"""The kinds of market data, told apart by their columns.

    bars           [open,] high, low, close     prices of stretches of equal length; marks come without an open
    funding        funding_rate                 fraction of notional per interval, longs pay where positive
    depth          bid, ask, bid_<n>bps_usd, …  USD within n basis points of the mid, one column for each side
    quotes         bid, ask                     a tape of best prices, at any times
    tape           price                        a tape of one price (oracle, index, trades), at any times
    open_interest  oi_close                     USD or contracts, as the file states

Every table has ts (UTC, start of a bar), venue, symbol and row (line or entry of the file, from 1) besides.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from stress.observations.defects import Defect


class Kind(NamedTuple):
    """Columns that a kind must have, may have, and which of them are prices (positive, finite)."""

    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    prices: tuple[str, ...] = ()


_LEVEL = re.compile(r"(bid|ask)_[0-9.]+bps_usd")
# The first kind whose needs are met is taken.
KINDS = {
    "bars": Kind(("high", "low", "close"), ("open", "volume"), ("open", "high", "low", "close")),
    "funding": Kind(("funding_rate",)),
    "depth": Kind(("bid", "ask", "levels"), (), ("bid", "ask")),
    "quotes": Kind(("bid", "ask"), (), ("bid", "ask")),
    "tape": Kind(("price",), (), ("price",)),
    "open_interest": Kind(("oi_close",), ("oi_open", "oi_high", "oi_low"), ()),
}
NAMES = ("ts", "venue", "symbol")


def kind_of(columns: Collection[str]) -> tuple[str, tuple[str, ...]] | None:
    """Return the kind and its value columns in the order of the file, or None where no kind fits."""
    levels = tuple(name for name in columns if _LEVEL.fullmatch(name))
    known = {*columns, *(("levels",) if levels else ())}
    for name, kind in KINDS.items():
        if known.issuperset(kind.needs):
            wanted = {*kind.needs, *kind.may, *(levels if name == "depth" else ())}
            return name, tuple(column for column in columns if column in wanted)
    return None


@dataclass(frozen=True)
class Observations:
    """One file's table of one kind, as it was read.

    table : ts, venue ('' where unstated), symbol, row and the value columns (float64), in the order of the file.
    read_as : how times, columns and names were understood, in words. unreadable : cells that are no number or time.
    """

    file: str
    source: str
    kind: str
    table: pd.DataFrame
    values: tuple[str, ...]
    read_as: tuple[str, ...] = ()
    unreadable: tuple[Defect, ...] = field(default=())

    @property
    def series(self) -> list[tuple[str, pd.DataFrame]]:
        """(name, rows in order of time) of each series; the name is 'venue symbol'."""
        ordered = self.table.sort_values(["venue", "symbol", "ts"], kind="stable")
        return [
            (f"{venue} {symbol}".strip(), rows)
            for (venue, symbol), rows in ordered.groupby(["venue", "symbol"], sort=False, observed=True)
        ]
