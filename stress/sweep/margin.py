"""Margin of rows of a book under a protocol, initial and maintenance, from the kernels of its margin rule."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from stress.accounts import InitialMargin
from stress.config import Protocol
from stress.engine import market_state, requirement, venue_terms
from stress.kernels.jit import entry
from stress.mechanisms import shelf
from stress.stages import Stage


class _Rates(NamedTuple):
    """What a margin kernel reads of a venue."""

    terms: np.ndarray
    markets: np.ndarray
    step_seconds: float


@functools.cache
def _over_rows(rules: tuple[str, ...], kind: str) -> Any:
    margin = requirement([shelf()[name] for name in rules], kind)

    @entry
    def over_rows(v, market, size, price, out):
        for r in range(len(size)):
            out[r] = margin(v, market[r], size[r], price[r])

    return over_rows


def initial_margin(
    protocol: Protocol, markets: tuple[str, ...], step: float, open_interest: np.ndarray | None = None
) -> InitialMargin:
    """Return the function (row_market (R,), size (R,), price (R,)) -> initial margin (R,) USD.

    `open_interest` (m,) USD, one side, for rules that scale with it; default: none.
    """
    return _margin(protocol, markets, step, "initial", open_interest)


def maintenance_margin(protocol: Protocol, markets: tuple[str, ...], step: float) -> InitialMargin:
    """Return the function (row_market (R,), size (R,), price (R,)) -> maintenance margin (R,) USD."""
    return _margin(protocol, markets, step, "maintenance", None)


def _margin(
    protocol: Protocol, markets: tuple[str, ...], step: float, kind: str, open_interest: np.ndarray | None
) -> InitialMargin:
    stages = (Stage.MARGIN, Stage.MARGIN_MODIFIERS, Stage.COLLATERAL)
    rules = tuple(mechanism.name for mechanism, _ in protocol.rules() if mechanism.stage in stages)
    state = market_state(protocol, markets)
    if open_interest is not None:
        state["open_interest"] = open_interest
    venue = _Rates(venue_terms(protocol, markets, step), state, step)

    def margin(market: np.ndarray, size: np.ndarray, price: np.ndarray) -> Any:
        out = np.empty(len(size))
        _over_rows(rules, kind)(venue, market, size, price, out)
        return out

    return margin
