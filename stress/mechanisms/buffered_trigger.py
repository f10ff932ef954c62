"""Enter and exit buffer: liquidation begins at the requirement and ends only a buffer above it.

Stage        trigger.
Formula      enters when R + orders > 0 and equity < R + orders, R = requirement, orders = what the account's open orders add
             to it; stays until equity >= R + buffer x (gross notional + losses of positions, realised ones included) and
             its orders are cancelled (cover_to_buffer does it). Queue by account id.
Source       Drift protocol-v2, controller/liquidation.rs:78 @ 0ae3e3b1: the buffer applies to negative pnl too, which
             stays with the position while it is liquidated.
Invariants   I6 on entering; an account that left again met the exit condition.
Limits       a loss counts from t = 0, or from entry where it is not realised; books hold no open orders.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import shortage_to_buffer
from stress.stages import Mechanism, MechanismParameters, Stage, StateField


class BufferedTrigger(MechanismParameters):
    """`exit_buffer` is a fraction of notional."""

    exit_buffer: float = Field(ge=0, lt=1, description="margin above maintenance that ends a liquidation, of notional")


@kernel
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority)."""
    account = v.accounts[a]
    entry = requirement + account["order_requirement"]
    if account["in_liquidation"] == 1:
        cancelled = account["order_requirement"] == 0.0
        if cancelled and shortage_to_buffer(v, a, equity, requirement, v.terms[0]["exit_buffer"]) <= 0.0:
            account["in_liquidation"] = 0
    elif entry > 0.0 and equity < entry:
        account["in_liquidation"] = 1
    return account["in_liquidation"] == 1, 0.0


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement enters."""
    return equity >= requirement + v.accounts[a]["order_requirement"]


@inlined
def pending(v, a):
    """Tell whether the account is being liquidated: its exit must be seen."""
    return v.accounts[a]["in_liquidation"] == 1


MECHANISM = Mechanism(
    name="buffered_trigger",
    stage=Stage.TRIGGER,
    parameters=BufferedTrigger,
    kernels={"flag": flag},
    bound=bound,
    pending=pending,
    state=(
        StateField("in_liquidation", "account", "i8", "flag"),
        StateField("order_requirement", "account", "f8", "USD that open orders add to the requirement"),
    ),
)
