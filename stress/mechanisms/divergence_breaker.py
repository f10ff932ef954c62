"""Divergence breaker: actions stop while the venue's mid and the oracle disagree.

Stage        breakers.
Formula      |V / O - 1| > divergence_limit at the start of a step blocks the named actions in that
             market until `divergence_pause` after the last step in which it held (kernels.halts).
Source       Drift protocol-v2, mark-oracle divergence guard (math/oracle.rs @ 0ae3e3b1): 10 % blocks funding.
Invariants   never changes a balance; while it blocks, the world moves on and marks jump at resume.
Limits       evaluated once per step, per market; `open` and `withdraw` change nothing while traders are
             static.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.halts import halt
from stress.kernels.jit import inlined
from stress.stages import BlockedActions, Mechanism, MechanismParameters, RoundedUp, Seconds, Stage


class DivergenceBreaker(MechanismParameters):
    """`divergence_limit` is a fraction; `divergence_blocks` names the actions that stop."""

    divergence_limit: float = Field(gt=0, description="largest tolerated |V / O - 1|")
    divergence_pause: RoundedUp = Field(default=Seconds(0.0), description="time blocked after the condition ended")
    divergence_blocks: BlockedActions = Field(min_length=1, description="actions that stop")


@inlined
def trip(v, path, t):
    """Extend the halt of every named action in each market where the condition holds."""
    markets, by_market = v.markets, v.terms
    for m in range(markets.shape[0]):
        market, terms = markets[m], by_market[m]
        if abs(market["mid"] / market["oracle"] - 1.0) > terms["divergence_limit"]:
            halt(v, m, t, terms["divergence_blocks"], terms["divergence_pause_steps"])


MECHANISM = Mechanism(
    name="divergence_breaker", stage=Stage.BREAKERS, parameters=DivergenceBreaker, kernels={"trip": trip}
)
