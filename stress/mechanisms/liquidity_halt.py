"""Liquidity halt: actions stop while the book is much thinner than it was.

Stage        breakers.
Formula      depth < liquidity_floor x depth at t = 0 at the start of a step blocks the named actions in that market until
             `liquidity_pause` after the last step in which it held (kernels.halts).
Source       design of this project; limit-up limit-down halts of equity venues (SEC, National Market System Plan, 2012) stop
             trading for the same reason.
Invariants   never changes a balance; while it blocks, the world moves on.
Limits       evaluated once per step, per market; `open` and `withdraw` change nothing while traders are static.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.halts import halt
from stress.kernels.jit import kernel
from stress.stages import BlockedActions, Mechanism, MechanismParameters, RoundedUp, Seconds, Stage, StateField


class LiquidityHalt(MechanismParameters):
    """`liquidity_floor` is a fraction; `liquidity_blocks` names the actions that stop."""

    liquidity_floor: float = Field(gt=0, le=1, description="least tolerated depth, as a fraction of that of t = 0")
    liquidity_pause: RoundedUp = Field(default=Seconds(0.0), description="time blocked after the condition ended")
    liquidity_blocks: BlockedActions = Field(min_length=1, description="actions that stop")


@kernel
def trip(v, path, t):
    """Extend the halt of every named action in each market where the condition holds."""
    for m in range(v.markets.shape[0]):
        if t == 0:
            v.markets[m]["first_depth"] = v.markets[m]["depth"]
        if v.markets[m]["depth"] < v.terms[m]["liquidity_floor"] * v.markets[m]["first_depth"]:
            halt(v, m, t, v.terms[m]["liquidity_blocks"], v.terms[m]["liquidity_pause_steps"])


MECHANISM = Mechanism(
    name="liquidity_halt",
    stage=Stage.BREAKERS,
    parameters=LiquidityHalt,
    kernels={"trip": trip},
    state=(StateField("first_depth", "market", "f8", "base units at t = 0"),),
)
