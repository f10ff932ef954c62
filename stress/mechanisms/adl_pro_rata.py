"""Auto-deleveraging pro rata: every eligible winner gives up the same share of its contracts.

Stage        waterfall.
Formula      each winner closes rest x its contracts / contracts of all winners left; the last takes
             what rounding leaves; at the bankruptcy price, the mark, or the previous mark.
Source       Chitra (2025), Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 (v3): pro
             rata as the fair rule; in contracts, as thogiti.github.io describes it for Drift.
Invariants   I1, I2, I5.
Limits       shares follow contracts, not equity or profit.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage, StateField


class AdlProRata(MechanismParameters):
    """`adl_when` says which open claims are deleveraged, `adl_price` at what price."""

    adl_price: Literal["bankruptcy", "mark", "previous_mark"] = Field(description="price of a deleveraged contract")
    adl_when: Literal["fund_exhausted", "negative_equity"] = Field(
        default="fund_exhausted",
        description="only claims that the fund cannot carry, or every account with negative equity",
    )


@kernel
def choose(v, r, side, rest, t):
    """Return the next winner row not yet asked for this bankrupt row, and its share of the rest.

    Rows are asked in order; each gives rest x own / (own + all eligible rows after it), which is the
    same share for all, since what is left falls in the same proportion. One pass over the market's rows
    serves a whole bankrupt row: deleveraging changes no row but those already asked.
    """
    m = v.rows[r]["market"]
    market = v.markets[m]
    if market["asked_for"] != r:
        market["asked_for"] = r
        market["asked_to"] = market["rows_start"]
        market["winners_left"] = 0.0
        market["last_winner"] = -1
        for k in range(market["rows_start"], market["rows_end"]):
            if is_winner(v, v.market_rows[k], side):
                market["last_winner"] = k
                market["winners_left"] += abs(v.rows[v.market_rows[k]]["size"])
    for k in range(market["asked_to"], market["rows_end"]):
        w = v.market_rows[k]
        if is_winner(v, w, side):
            own = abs(v.rows[w]["size"])
            quantity = own
            if rest < market["winners_left"]:
                quantity = min(own, rest * own / market["winners_left"])
            market["winners_left"] -= own
            market["asked_to"] = k + 1
            if k == market["last_winner"]:
                quantity = min(own, rest)  # takes what rounding left
            if quantity >= rest:
                market["asked_for"] = -1
            return w, quantity
    market["asked_for"] = -1
    return -1, 0.0


@kernel
def absorb(v, t, maintenance):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, choose)


MECHANISM = Mechanism(
    name="adl_pro_rata",
    stage=Stage.WATERFALL,
    parameters=AdlProRata,
    kernels={"absorb": absorb},
    state=(
        StateField("asked_for", "market", "i8", "bankrupt row being deleveraged, -1 = none", reset=-1),
        StateField("asked_to", "market", "i8", "position in market_rows of the next row to ask"),
        StateField("last_winner", "market", "i8", "position of the last eligible row", reset=-1),
        StateField("winners_left", "market", "f8", "base units of eligible rows not yet asked"),
    ),
)
