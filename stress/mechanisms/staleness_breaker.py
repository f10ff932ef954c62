"""Staleness breaker: actions stop while the oracle's observation is too old.

Stage        breakers.
Formula      age = (t - step of the observation behind O) x step > staleness_limit blocks the named actions
             in that market until `staleness_pause` after the last step in which it held.
Source       Drift protocol-v2 StaleForMargin (math/oracle.rs @ 0ae3e3b1): 120 slots.
Invariants   never changes a balance.
Limits       evaluated once per step; a delay above the limit blocks for ever, which `explain` shows.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.kernels.venue import ACTIONS
from stress.stages import BlockedActions, Exact, Mechanism, MechanismParameters, RoundedUp, Seconds, Stage

N_ACTIONS = len(ACTIONS)


class StalenessBreaker(MechanismParameters):
    """`staleness_limit` is the oldest tolerated observation; `staleness_blocks` names the actions that stop."""

    staleness_limit: Exact = Field(gt=0, description="oldest tolerated observation behind the oracle price")
    staleness_pause: RoundedUp = Field(default=Seconds(0.0), description="time blocked after the condition ended")
    staleness_blocks: BlockedActions = Field(description="actions that stop")


@kernel
def trip(v, path, t):
    """Extend the halt of every named action in each market where the condition holds."""
    for m in range(v.markets.shape[0]):
        terms = v.terms[m]
        if (t - v.markets[m]["oracle_step"]) * v.step_seconds > terms["staleness_limit"]:
            for i in range(N_ACTIONS):
                if (terms["staleness_blocks"] >> i) & 1 == 1:
                    v.markets[m]["halted_until"][i] = max(
                        v.markets[m]["halted_until"][i], t + 1 + terms["staleness_pause_steps"]
                    )


MECHANISM = Mechanism(
    name="staleness_breaker", stage=Stage.BREAKERS, parameters=StalenessBreaker, kernels={"trip": trip}
)
