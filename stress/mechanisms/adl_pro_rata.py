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
    same share for all, since what is left falls in the same proportion.
    """
    m = v.rows[r]["market"]
    first = -1
    total = 0.0
    asked = v.markets[m]["asked_row"] if v.markets[m]["asked_for"] == r else -1
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if w > asked and is_winner(v, w, side):
            if first < 0:
                first = w
            total += abs(v.rows[w]["size"])
    if first < 0:
        v.markets[m]["asked_for"] = -1
        return -1, 0.0
    own = abs(v.rows[first]["size"])
    quantity = own if rest >= total else min(own, rest * own / total)
    if own == total:
        quantity = min(own, rest)  # the last winner takes what rounding left
    v.markets[m]["asked_for"] = r
    v.markets[m]["asked_row"] = first
    if quantity >= rest:
        v.markets[m]["asked_for"] = -1
    return first, quantity


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
        StateField("asked_for", "market", "i8", "row", reset=-1),
        StateField("asked_row", "market", "i8", "row", reset=-1),
    ),
)
