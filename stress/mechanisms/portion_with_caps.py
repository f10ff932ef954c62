"""Portion and block caps: each order closes a portion of a position, and an account at most so much per block.

Stage        size.
Formula      N = |size| x mark; least = min(minimum_notional, N); most = max(least, N x portion);
             cap = min(most, account_block_limit x blocks per step - what the account closed in this step);
             |size| if N <= cap or |size| <= size_step, else cap / mark down to a multiple of size_step, at least one.
Source       dYdX v4-chain, x/clob/keeper/liquidations.go:724,861,964 @ 84d4664b.
Invariants   closes no more than what is open; an account closes at most its limit per step (to one size step).
Limits       one order per account, market and block becomes one per round; blocks of one step share one cap.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, NonNegativeByMarket, PerStep, Seconds, Stage, StateField


class PortionWithCaps(MechanismParameters):
    """Money is USD."""

    minimum_notional: float = Field(gt=0, description="an order may close this much whatever the portion, USD")
    portion: float = Field(gt=0, le=1, description="largest share of a position that one order closes")
    account_block_limit: float = Field(gt=0, description="largest notional that an account loses per block, USD")
    size_step: NonNegativeByMarket = Field(default=0.0, description="smallest unit of size, base units; 0 = none")
    block_time: PerStep = Field(default=Seconds(1.0), gt=0, description="time between blocks")


@inlined
def order_limits(v, m, notional):
    """Return (least, most) notional of one order on a position, USD."""
    least = min(v.terms[m]["minimum_notional"], notional)
    return least, max(least, notional * v.terms[m]["portion"])


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close; 0 once the account's limit is used up."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    size = abs(v.rows[r]["size"])
    price = v.markets[m]["mark"]
    used = v.accounts[a]["closed_in_step"] if v.accounts[a]["closed_step"] == t else 0.0
    left = terms["account_block_limit"] * max(1.0, v.step_seconds / terms["block_time"]) - used
    if left <= 0.0:
        return 0.0
    _, most = order_limits(v, m, size * price)
    cap = min(most, left)
    step = terms["size_step"]
    if size * price <= cap or size <= step:
        return size
    closed = cap / price
    if step > 0.0:
        closed = max(step, math.floor(closed / step + 1e-9) * step)
    return min(closed, size)


@kernel
def on_fill(v, a, r, filled, price, t):
    """Count what the account closed in this step."""
    if a < v.traders:
        if v.accounts[a]["closed_step"] != t:
            v.accounts[a]["closed_step"] = t
            v.accounts[a]["closed_in_step"] = 0.0
        v.accounts[a]["closed_in_step"] += filled * v.markets[v.rows[r]["market"]]["mark"]


MECHANISM = Mechanism(
    name="portion_with_caps",
    stage=Stage.SIZE,
    parameters=PortionWithCaps,
    kernels={"quantity": quantity},
    on_fill=on_fill,
    state=(
        StateField("closed_step", "account", "i8", "step", reset=-1),
        StateField("closed_in_step", "account", "f8", "USD"),
    ),
)
