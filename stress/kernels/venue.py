"""The arrays in which one venue lives while one path is simulated.

Legend: a = accounts (traders, then counterparties), r = rows (account x market, sorted by account,
then market), m = markets, t = steps 0..S. Sizes are signed base units (+ long), money is USD.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Counterparties follow the traders in every account array: account = traders + offset.
MARKET_MAKERS, OUTSIDE_BOOK, POOL, VAULT, INSURANCE_FUND, LIQUIDATORS, TREASURY = range(7)
COUNTERPARTIES = (
    "market_makers",
    "outside_book",
    "pool",
    "vault",
    "insurance_fund",
    "liquidators",
    "treasury",
)
# The first four hold one row per market; the others are balances without positions.
HOLDERS = 4

# Actions that a breaker or an outage may block, as bits.
OPEN, LIQUIDATE, ADL, WITHDRAW, FUND, MARK_UPDATE, ORACLE_UPDATE = (1, 2, 4, 8, 16, 32, 64)
ACTIONS = {
    "open": OPEN,
    "liquidate": LIQUIDATE,
    "adl": ADL,
    "withdraw": WITHDRAW,
    "fund": FUND,
    "mark_update": MARK_UPDATE,
    "oracle_update": ORACLE_UPDATE,
}


class Path(NamedTuple):
    """One path: t = 0..S, m = markets (see `stress.vocabulary.PATH_ARRAYS`)."""

    world: np.ndarray  # (S + 1, m)
    depth: np.ndarray  # (S + 1, m) base units
    premium: np.ndarray  # (S + 1, m)
    external_premium: np.ndarray  # (S + 1, m)
    oracle_outage: np.ndarray  # (S + 1, m) uint8
    venue_outage: np.ndarray  # (S + 1,) uint8, bits of ACTIONS


class PathBlock(NamedTuple):
    """A run of consecutive paths: the arrays of `Path` with a leading path axis."""

    first_path: int
    world: np.ndarray  # (P, S + 1, m) float64
    depth: np.ndarray  # (P, S + 1, m) float64, base units
    premium: np.ndarray  # (P, S + 1, m) float64
    external_premium: np.ndarray  # (P, S + 1, m) float64
    oracle_outage: np.ndarray  # (P, S + 1, m) uint8
    venue_outage: np.ndarray  # (P, S + 1) uint8
    regime: np.ndarray  # (P, S + 1) int8, -1 where the model has no regimes
