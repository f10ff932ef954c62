"""Auto-deleveraging by profit and leverage: the most profitable, most leveraged winner goes first.

Stage        waterfall.
Formula      index = (M / E)^side x N / equity, side-aware (a short that gained has M < E); highest first,
             then lowest account id; closed at the bankruptcy price, the mark, or the previous mark.
Source       Hyperliquid docs, liquidations.md (2026-08-22): (M/E) x (N/AV), at the previous mark price;
             the literal index falls when a short gains, the side-aware one does not.
Invariants   I1, I2, I5.
Limits       ranked anew for each winner taken; no partial refusal by a matching engine.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity
from stress.stages import Mechanism, MechanismParameters, Stage


class AdlProfitLeverage(MechanismParameters):
    """`adl_when` says which open claims are deleveraged, `adl_price` at what price."""

    adl_price: Literal["bankruptcy", "mark", "previous_mark"] = Field(description="price of a deleveraged contract")
    adl_when: Literal["fund_exhausted", "negative_equity"] = Field(
        default="fund_exhausted",
        description="only claims that the fund cannot carry, or every account with negative equity",
    )


@kernel
def choose(v, r, side, rest, t):
    """Return the winner row of the highest index and the quantity it takes."""
    m = v.rows[r]["market"]
    best = -1
    highest = -1.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if not is_winner(v, w, side):
            continue
        gain = v.markets[m]["mark"] / (v.rows[w]["entry_notional"] / v.rows[w]["size"])
        if v.rows[w]["size"] < 0.0:
            gain = 1.0 / gain
        index = gain * abs(v.rows[w]["size"]) * v.markets[m]["mark"] / equity(v, v.rows[w]["account"])
        if index > highest:
            highest = index
            best = w
    if best < 0:
        return -1, 0.0
    return best, min(rest, abs(v.rows[best]["size"]))


@kernel
def absorb(v, t, maintenance):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, choose)


MECHANISM = Mechanism(
    name="adl_profit_leverage", stage=Stage.WATERFALL, parameters=AdlProfitLeverage, kernels={"absorb": absorb}
)
