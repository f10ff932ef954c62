"""Keeper-picked deleveraging: who sends the transaction names the winner, for reasons of his own.

Stage        waterfall.
Formula      until the bankrupt row is closed the keeper names the eligible winner that scores highest, ties by order of the
             market's rows: largest position (fewest transactions, least gas), largest or smallest unrealised profit at the
             mark. Each gives up to all of its contracts. At the bankruptcy price, the mark, the previous mark, or the oracle
             price.
Source       GMX v2, adl/AdlUtils.sol and exchange/AdlHandler.sol @ a5c0c883: a keeper passes account and size, the contract
             checks only the effect; the motives are assumptions.
Invariants   I1, I2, I5.
Limits       one keeper per venue, who knows every position; he is paid nothing and has no position of his own.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import inlined, kernel
from stress.stages import DeleveragingParameters, Mechanism, Stage

LARGEST, RICHEST, POOREST = range(3)


class AdlKeeper(DeleveragingParameters):
    """`keeper_picks` is whom the keeper names first."""

    keeper_picks: Literal["largest_position", "largest_profit", "smallest_profit"] = Field(
        default="largest_position", description="the winner whom the keeper names first"
    )


@inlined
def score(v, w, picks):
    """How much the keeper prefers winner row `w`."""
    size, mark = v.rows[w]["size"], v.markets[v.rows[w]["market"]]["mark"]
    if picks == LARGEST:
        return abs(size)
    profit = size * mark - v.rows[w]["entry_notional"]
    return profit if picks == RICHEST else -profit


@kernel
def choose(v, r, side, rest, price, t, maintenance, initial):
    """Return the winner row that the keeper names, and the quantity it takes."""
    m = v.rows[r]["market"]
    best, highest = -1, 0.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if is_winner(v, w, side):
            own = score(v, w, v.terms[m]["keeper_picks"])
            if best < 0 or own > highest:
                best, highest = w, own
    return best, min(rest, abs(v.rows[best]["size"])) if best >= 0 else 0.0


@kernel
def absorb(v, t, maintenance, initial):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, initial, choose)


MECHANISM = Mechanism(name="adl_keeper", stage=Stage.WATERFALL, parameters=AdlKeeper, kernels={"absorb": absorb})
