"""Auto-deleveraging pro rata: every eligible winner gives up the same share of its weight.

Stage        waterfall.
Formula      each winner closes rest x its weight / weights of all winners left, at most its contracts; the last takes
             what rounding leaves, and what winners were too small for is asked of the others again. Weight = contracts,
             equity of the account, or unrealised profit of the position (0 where it lost). At the bankruptcy
             price, the mark, the previous mark, or the oracle price.
Source       Chitra (2025), Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 (v3): pro
             rata as the fair rule; in contracts, as thogiti.github.io describes it for Drift.
Invariants   I1, I2, I5.
Limits       by profit, a position without one gives nothing while others have one, and by contracts if nobody has.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity
from stress.stages import Mechanism, MechanismParameters, Stage, StateField

CONTRACTS, EQUITY, PROFIT = range(3)


class AdlProRata(MechanismParameters):
    """`adl_when` says which open claims are deleveraged, `adl_price` at what price, `adl_by` in which proportion."""

    adl_price: Literal["bankruptcy", "mark", "previous_mark", "oracle"] = Field(
        description="price of a deleveraged contract"
    )
    adl_when: Literal["fund_exhausted", "negative_equity"] = Field(
        default="fund_exhausted",
        description="only claims that the fund cannot carry, or every account with negative equity",
    )
    adl_by: Literal["contracts", "equity", "profit"] = Field(default="contracts", description="what the share is of")


@kernel
def weight(v, w, by):
    """Weight of a winner row, > 0 where it takes part."""
    if by == EQUITY:
        return equity(v, v.rows[w]["account"])
    if by == PROFIT:
        return max(0.0, v.rows[w]["size"] * v.markets[v.rows[w]["market"]]["mark"] - v.rows[w]["entry_notional"])
    return abs(v.rows[w]["size"])


@kernel
def begin_pass(v, r, side, by):
    """Sum the weights of the eligible rows, anew for a bankrupt row or for what is left of it."""
    market = v.markets[v.rows[r]["market"]]
    market["asked_for"] = r
    market["asked_by"] = by
    market["asked_to"] = market["rows_start"]
    market["winners_left"] = 0.0
    market["last_winner"] = -1
    for k in range(market["rows_start"], market["rows_end"]):
        w = v.market_rows[k]
        if is_winner(v, w, side) and weight(v, w, by) > 0.0:
            market["last_winner"] = k
            market["winners_left"] += weight(v, w, by)


@kernel
def choose(v, r, side, rest, price, t):
    """Return the next winner row not yet asked for this bankrupt row, and its share of the rest.

    Rows are asked in order; each gives rest x own / (own + all eligible rows after it), which is the
    same share for all, since what is left falls in the same proportion. By contracts one pass over the market's
    rows serves a whole bankrupt row; by another weight, positions smaller than their share make passes follow.
    """
    m = v.rows[r]["market"]
    market = v.markets[m]
    if market["asked_for"] != r:
        begin_pass(v, r, side, v.terms[0]["adl_by"])
        if market["last_winner"] < 0 and v.terms[0]["adl_by"] == PROFIT:
            begin_pass(v, r, side, CONTRACTS)
    for _ in range(market["rows_end"] - market["rows_start"] + 1):
        by = market["asked_by"]
        for k in range(market["asked_to"], market["rows_end"]):
            w = v.market_rows[k]
            if not is_winner(v, w, side):
                continue
            size = abs(v.rows[w]["size"])
            own = weight(v, w, by)
            if own <= 0.0:
                continue
            quantity = size if by == CONTRACTS else rest
            if by != CONTRACTS or rest < market["winners_left"]:
                quantity = (
                    min(size, rest * own / market["winners_left"]) if own < market["winners_left"] else min(size, rest)
                )
            market["winners_left"] -= own
            market["asked_to"] = k + 1
            if k == market["last_winner"]:
                quantity = min(size, rest)  # takes what rounding left
            if quantity >= rest:
                market["asked_for"] = -1
            if quantity > 0.0:
                return w, quantity
        if by == CONTRACTS:
            break
        begin_pass(v, r, side, by)
        if market["last_winner"] < 0:
            begin_pass(v, r, side, CONTRACTS)
        if market["last_winner"] < 0:
            break
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
        StateField("asked_by", "market", "i8", "what the share is of in this pass"),
        StateField("asked_to", "market", "i8", "position in market_rows of the next row to ask"),
        StateField("last_winner", "market", "i8", "position of the last eligible row", reset=-1),
        StateField("winners_left", "market", "f8", "weight of eligible rows not yet asked"),
    ),
)
