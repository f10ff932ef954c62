"""Enter and exit buffer: liquidation begins at the requirement and ends only a buffer above it.

Stage        trigger.
Formula      enters when requirement > 0 and equity < requirement; stays until
             equity + buffer x (sum of negative profit and loss) >= requirement + buffer x gross notional.
             Queue by account id.
Source       Drift protocol-v2, controller/liquidation.rs:78 @ 0ae3e3b1: the buffer applies to negative pnl too.
Invariants   I6 on entering; an account that left again met the exit condition or is flat.
Limits       profit and loss of a position is at the mark, before funding that has not been settled.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, Stage, StateField


class BufferedTrigger(MechanismParameters):
    """`exit_buffer` is a fraction of notional."""

    exit_buffer: float = Field(ge=0, lt=1, description="margin above maintenance that ends a liquidation, of notional")


@kernel
def exit_shortage(v, a, equity, requirement):
    """USD by which the account misses the exit condition; <= 0 where it meets it."""
    notional = 0.0
    losses = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        market = v.markets[v.rows[r]["market"]]
        if market["holding"] == 0 and v.rows[r]["size"] != 0.0:
            notional += abs(v.rows[r]["size"]) * market["mark"]
            losses += min(0.0, v.rows[r]["size"] * market["mark"] - v.rows[r]["entry_notional"])
    return requirement - equity + v.terms[0]["exit_buffer"] * (notional - losses)


@kernel
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority)."""
    if v.accounts[a]["in_liquidation"] == 1:
        if requirement <= 0.0 or exit_shortage(v, a, equity, requirement) <= 0.0:
            v.accounts[a]["in_liquidation"] = 0
    elif requirement > 0.0 and equity < requirement:
        v.accounts[a]["in_liquidation"] = 1
    return v.accounts[a]["in_liquidation"] == 1, 0.0


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement enters."""
    return equity >= requirement


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
    state=(StateField("in_liquidation", "account", "i8", "flag"),),
)
