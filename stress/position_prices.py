"""Liquidation, bankruptcy and fillable price of every position of a book, under a protocol's own rules.

A position is a row of a cross account or of an isolated one; the other prices stay where they are. Values are per row
of the book, (R,) USD, nan where no such price exists.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stress.accounts import Book
from stress.config import Protocol
from stress.engine import assessment, build_cell, open_venue, requirement
from stress.errors import StudyError
from stress.kernels.jit import entry, kernel
from stress.kernels.margin import bankruptcy_price as bankruptcy_of_row
from stress.mechanisms import shelf
from stress.mechanisms.order_book import fillable_price as fillable_of_row
from stress.stages import Stage

# A short without a liquidation price below this multiple of the price has none.
HIGHEST = 2.0**60


def liquidation_price(protocol: Protocol, book: Book, prices: Sequence[float], *, step: float = 60.0) -> np.ndarray:
    """Return the mark at which each row's account becomes liquidatable, the other marks staying: (R,) USD, or nan.

    From a healthy account the first such price on the losing side; of an account that is liquidatable already, the
    price on the winning side at which it no longer is. Latency and queues are left out.

    Parameters
    ----------
    prices : (m,) marks, in the order of `book.markets`.
    step : seconds; only durations of the protocol depend on it.
    """
    return _of_rows(protocol, book, prices, step).liquidation


def bankruptcy_price(protocol: Protocol, book: Book, prices: Sequence[float], *, step: float = 60.0) -> np.ndarray:
    """Return the price at which closing each row uses up its share of the account's equity: (R,) USD.

    The share is the row's part of the maintenance requirement at `prices`; it may be below 0 for a long.
    """
    return _of_rows(protocol, book, prices, step).bankruptcy


def fillable_price(protocol: Protocol, book: Book, prices: Sequence[float], *, step: float = 60.0) -> np.ndarray:
    """Return the limit of a liquidation order on each row, where the order book's rule is fillable: (R,) USD."""
    return _of_rows(protocol, book, prices, step, fillable=True).fillable


class _Prices(NamedTuple):
    liquidation: np.ndarray
    bankruptcy: np.ndarray
    fillable: np.ndarray


def _of_rows(protocol: Protocol, book: Book, prices: Sequence[float], step: float, fillable: bool = False) -> _Prices:
    rules = protocol.rules()
    books = [rule for rule in protocol.execution if getattr(rule, "rule") == "order_book"]  # noqa: B009
    if fillable and not books:
        raise StudyError("has no order book, whose orders have a fillable price", key="execution", value=protocol.name)
    venue = open_venue(
        build_cell(protocol, book, prices=np.asarray(prices, float), step=step), np.asarray(prices, float)
    )
    found = _Prices(*(np.full(len(book.size), np.nan) for _ in _Prices._fields))
    stages = (Stage.MARGIN, Stage.MARGIN_MODIFIERS, Stage.COLLATERAL, Stage.TRIGGER)
    _solver(tuple(mechanism.name for mechanism, _ in rules if mechanism.stage in stages), fillable)(venue, found)
    return found


@kernel
def _set_marks(v, m, price):
    """Put the mark of a market at `price`, where no funding has accrued."""
    v.markets[m]["mark"] = v.markets[m]["net_mark"] = v.markets[m]["short_net_mark"] = price


@kernel
def _strictly(v, a, equity, needed):
    return equity >= needed


@functools.cache
def _solver(names: tuple[str, ...], fillable: bool) -> Any:
    """Return the function (venue, prices to fill) for one combination of rules, compiled once."""
    rules = [shelf()[name] for name in names]
    maintenance = requirement(rules, "maintenance")
    assessed = assessment(rules, maintenance)
    # A trigger's bound is its threshold without memory: what it clears is not flagged.
    clear = next((rule.bound for rule in rules if rule.stage is Stage.TRIGGER), None) or _strictly

    @kernel
    def breached(v, a, m, price):
        _set_marks(v, m, price)
        equity, needed, _ = assessed(v, a)
        return needed > 0.0 and not clear(v, a, equity, needed)

    @kernel
    def threshold(v, a, r):
        m = v.rows[r]["market"]
        price = v.markets[m]["mark"]
        due = breached(v, a, m, price)
        far = price
        falls = (v.rows[r]["size"] > 0.0) != due
        while breached(v, a, m, far) == due:  # doubling or halving until the account's state turns
            far = 0.5 * far if falls else 2.0 * far
            if far > price * HIGHEST or far < price / HIGHEST:
                return np.nan
        near = 2.0 * far if falls else 0.5 * far
        if far == price:
            return price
        while True:
            middle = 0.5 * (near + far)
            if middle in (near, far):
                return middle
            if breached(v, a, m, middle) == due:
                near = middle
            else:
                far = middle

    @entry
    def solve(v, found):
        for a in range(v.traders):
            equity, needed, gross = assessed(v, a)
            for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                m = v.rows[r]["market"]
                price = v.markets[m]["mark"]
                found.bankruptcy[r] = bankruptcy_of_row(v, r, equity, gross, maintenance)
                if fillable and needed > 0.0:
                    own = maintenance(v, m, v.rows[r]["size"], price)
                    terms = v.terms[m]
                    adjustment, spread = terms["bankruptcy_adjustment"], terms["spread_to_maintenance"]
                    found.fillable[r] = fillable_of_row(
                        price, v.rows[r]["size"], equity, needed, own, adjustment, spread
                    )
                found.liquidation[r] = threshold(v, a, r)
                _set_marks(v, m, price)

    return solve
