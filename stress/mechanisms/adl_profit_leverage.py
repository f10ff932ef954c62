"""Auto-deleveraging by profit and leverage: the most profitable, most leveraged winner goes first.

Stage        waterfall.
Formula      index = (M / E)^side x N / equity, side-aware (a short that gained has M < E), or literal: M / E whatever
             the side; highest first, then lowest account id; closed at the bankruptcy price, the mark, the previous
             mark, or the oracle price.
Source       Hyperliquid docs, liquidations.md (2026-08-22): (M/E) x (N/AV), at the previous mark price;
             the literal index falls when a short gains, the side-aware one does not.
Invariants   I1, I2, I5.
Limits       ranked anew for each winner taken; no partial refusal by a matching engine.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import equity
from stress.stages import DeleveragingParameters, Mechanism, Stage


class AdlProfitLeverage(DeleveragingParameters):
    """`adl_index` says how a short is ranked."""

    adl_index: Literal["side_aware", "literal"] = Field(
        default="side_aware", description="whether a short's gain counts as one"
    )


@inlined
def index_of(mark, entry, size, equity, literal):
    """Rank of a position: price ratio x leverage."""
    gain = mark / entry
    if size < 0.0 and not literal:
        gain = 1.0 / gain
    return gain * abs(size) * mark / equity


@kernel
def choose(v, r, side, rest, price, t, maintenance, initial):
    """Return the winner row of the highest index and the quantity it takes."""
    m = v.rows[r]["market"]
    best = -1
    highest = -1.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if not is_winner(v, w, side):
            continue
        size = v.rows[w]["size"]
        entry = v.rows[w]["entry_notional"] / size
        value = equity(v, v.rows[w]["account"])
        index = index_of(v.markets[m]["mark"], entry, size, value, v.terms[0]["adl_index"] == 1)
        if index > highest:
            highest = index
            best = w
    if best < 0:
        return -1, 0.0
    return best, min(rest, abs(v.rows[best]["size"]))


@kernel
def absorb(v, t, maintenance, initial):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, initial, choose)


MECHANISM = Mechanism(
    name="adl_profit_leverage", stage=Stage.WATERFALL, parameters=AdlProfitLeverage, kernels={"absorb": absorb}
)
