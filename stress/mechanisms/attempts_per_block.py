"""Attempts per block: only so many accounts are liquidated in a step.

Stage        breakers.
Formula      attempts = attempts_per_block x step / attempts_every (at least 1) accounts in the order of the queue, over all
             rounds of the step; the others wait.
Source       dYdX v4-chain, x/clob (liquidations per block 50) @ 84d4664b.
Invariants   never changes a balance.
Limits       an account that no venue takes uses up an attempt too; attempts that a step leaves unused do not carry over.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, PerStep, Seconds, Stage


class AttemptsPerBlock(MechanismParameters):
    """`attempts` is a number of accounts."""

    attempts: int = Field(ge=1, description="accounts that are liquidated in one block")
    attempts_every: PerStep = Field(default=Seconds(1.0), gt=0, description="time between blocks")


@kernel
def trip(v, path, t):
    """Write how many accounts may be liquidated in this step."""
    allowed = v.terms[0]["attempts"] * v.step_seconds / v.terms[0]["attempts_every"]
    v.venue[0]["attempts_left"] = max(1.0, float(int(allowed + 1e-9)))


MECHANISM = Mechanism(
    name="attempts_per_block", stage=Stage.BREAKERS, parameters=AttemptsPerBlock, kernels={"trip": trip}
)
