"""Staleness breaker: actions stop while the oracle's observation is too old.

Stage        breakers.
Formula      age = (t - step of the observation behind O) x step > staleness_limit blocks the named actions
             in that market until `staleness_pause` after the last step in which it held (kernels.halts).
Source       Drift protocol-v2 StaleForMargin (math/oracle.rs @ 0ae3e3b1): 120 slots.
Invariants   never changes a balance; while it blocks, the world moves on.
Limits       evaluated once per step, per market; an oracle delay above the limit blocks for ever; `open`
             and `withdraw` change nothing while traders are static.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from stress.kernels.halts import halt
from stress.kernels.jit import inlined
from stress.stages import BlockedActions, Exact, Mechanism, MechanismParameters, RoundedUp, Seconds, Stage


class StalenessBreaker(MechanismParameters):
    """`staleness_limit` is the oldest tolerated observation; `staleness_blocks` names the actions that stop."""

    staleness_limit: Exact = Field(gt=0, description="oldest tolerated observation behind the oracle price")
    staleness_pause: RoundedUp = Field(default=Seconds(0.0), description="time blocked after the condition ended")
    staleness_blocks: BlockedActions = Field(min_length=1, description="actions that stop")

    @field_validator("staleness_blocks")
    @classmethod
    def _can_end(cls, blocks: BlockedActions) -> BlockedActions:
        if "oracle_update" in blocks:
            raise ValueError("a stale oracle that may not update stays stale for ever: leave out oracle_update")
        return blocks


@inlined
def trip(v, path, t):
    """Extend the halt of every named action in each market where the condition holds."""
    for m in range(v.markets.shape[0]):
        terms = v.terms[m]
        if (t - v.markets[m]["oracle_step"]) * v.step_seconds > terms["staleness_limit"]:
            halt(v, m, t, terms["staleness_blocks"], terms["staleness_pause_steps"])


MECHANISM = Mechanism(
    name="staleness_breaker", stage=Stage.BREAKERS, parameters=StalenessBreaker, kernels={"trip": trip}
)
