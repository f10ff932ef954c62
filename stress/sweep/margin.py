"""Margin of rows of a book under a protocol, initial and maintenance, from the kernels of its margin rule."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from stress.accounts import InitialMargin
from stress.config import Protocol
from stress.kernels.jit import entry
from stress.mechanisms import shelf
from stress.stages import Stage


class _Rates(NamedTuple):
    """What a margin kernel reads of a venue."""

    terms: np.ndarray


@functools.cache
def _over_rows(rule: str, kind: str) -> Any:
    margin = shelf()[rule].kernels[kind]

    @entry
    def over_rows(v, market, size, price, out):
        for r in range(len(size)):
            out[r] = margin(v, market[r], size[r], price[r])

    return over_rows


def initial_margin(protocol: Protocol, markets: tuple[str, ...], step: float) -> InitialMargin:
    """Return the function (row_market (R,), size (R,), price (R,)) -> initial margin (R,) USD."""
    return _margin(protocol, markets, step, "initial")


def maintenance_margin(protocol: Protocol, markets: tuple[str, ...], step: float) -> InitialMargin:
    """Return the function (row_market (R,), size (R,), price (R,)) -> maintenance margin (R,) USD."""
    return _margin(protocol, markets, step, "maintenance")


def _margin(protocol: Protocol, markets: tuple[str, ...], step: float, kind: str) -> InitialMargin:
    mechanism, parameters = next(rule for rule in protocol.rules() if rule[0].stage is Stage.MARGIN)
    rows = [parameters.terms(market, step) for market in markets]
    dtype = np.dtype(
        [(name, np.asarray(value).dtype.str, np.shape(value)) for name, value in rows[0].items()], align=True
    )
    terms = np.zeros(len(markets), dtype)
    for name in dtype.names or ():
        terms[name] = [row[name] for row in rows]

    def requirement(market: np.ndarray, size: np.ndarray, price: np.ndarray) -> Any:
        out = np.empty(len(size))
        _over_rows(mechanism.name, kind)(_Rates(terms), market, size, price, out)
        return out

    return requirement
