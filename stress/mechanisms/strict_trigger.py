"""Strict trigger: an account is liquidatable when its equity is strictly below its requirement.

Stage        trigger.
Formula      requirement > 0 and equity < requirement; acted on `keeper_latency` after it first held
             without a break; queue by account id, or lowest equity / requirement first, then id.
Source       Hyperliquid docs, liquidations.md (2026-08-22); dYdX v4-chain lib/margin/risk.go:52 @ 84d4664b.
Invariants   I6: equality does not trigger.
Limits       latency is one number for every keeper and account; accounts are first looked at in step 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import Mechanism, MechanismParameters, RoundedUp, Seconds, Stage, StateField


class StrictTrigger(MechanismParameters):
    """`queue` orders accounts that are liquidatable in the same round."""

    keeper_latency: RoundedUp = Field(default=Seconds(0.0), description="time from breach to action")
    queue: Literal["account_id", "lowest_ratio"] = Field(default="account_id", description="order within a round")


@inlined
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority); lower priorities come first, then account ids."""
    latency = v.terms[0]["keeper_latency_steps"]
    if not (equity < requirement and requirement > 0.0):
        if latency > 0:
            v.accounts[a]["breached_since"] = -1
        return False, 0.0
    if latency > 0:
        if v.accounts[a]["breached_since"] < 0:
            v.accounts[a]["breached_since"] = t
        if t - v.accounts[a]["breached_since"] < latency:
            return False, 0.0
    if v.terms[0]["queue"] == 1:
        return True, equity / requirement
    return True, 0.0


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement is flagged."""
    return equity >= requirement


@inlined
def pending(v, a):
    """Tell whether the account's breach is being timed: its end must be seen."""
    return v.accounts[a]["breached_since"] >= 0


MECHANISM = Mechanism(
    name="strict_trigger",
    stage=Stage.TRIGGER,
    parameters=StrictTrigger,
    kernels={"flag": flag},
    bound=bound,
    pending=pending,
    state=(StateField("breached_since", "account", "i8", "step", reset=-1),),
)
