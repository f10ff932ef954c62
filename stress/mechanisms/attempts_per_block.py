"""Attempts per block: only so many accounts are liquidated, and so many positions deleveraged, in a step.

Stage        breakers.
Formula      attempts = attempts_per_block x step / attempts_every (at least 1) accounts in the order of the queue, over all
             rounds of the step; the others wait. adl_attempts alike: bankrupt positions in the order of account.
Source       dYdX v4-chain, x/clob (per block 50 liquidations, 10 deleveragings) @ 84d4664b.
Invariants   never changes a balance.
Limits       an account that no venue takes, and a position that no winner takes, uses up an attempt too; attempts that a step
             leaves unused do not carry over. Pro-rata deleveraging closes all at once and knows no attempts.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, PerStep, Seconds, Stage


class AttemptsPerBlock(MechanismParameters):
    """`attempts` is a number of accounts, `adl_attempts` one of positions."""

    attempts: int = Field(ge=1, description="accounts that are liquidated in one block")
    adl_attempts: int | None = Field(
        default=None, ge=1, description="bankrupt positions that are deleveraged in one block; null = all"
    )
    attempts_every: PerStep = Field(default=Seconds(1.0), gt=0, description="time between blocks")

    def terms(self, market, step):
        """Return the kernel's fields; all are infinitely many."""
        if self.adl_attempts is not None:
            return {**MechanismParameters.terms(self, market, step), "adl_attempts": float(self.adl_attempts)}
        stated = self.model_copy(update={"adl_attempts": 1})
        return {**MechanismParameters.terms(stated, market, step), "adl_attempts": math.inf}


@inlined
def per_step(v, attempts):
    """Whole attempts of the blocks of one step, at least one."""
    return max(1.0, np.floor(attempts * v.step_seconds / v.terms[0]["attempts_every"] + 1e-9))


@kernel
def trip(v, path, t):
    """Write how many accounts may be liquidated, and positions deleveraged, in this step."""
    v.venue[0]["attempts_left"] = per_step(v, v.terms[0]["attempts"])
    v.venue[0]["adl_attempts_left"] = per_step(v, v.terms[0]["adl_attempts"])


MECHANISM = Mechanism(
    name="attempts_per_block", stage=Stage.BREAKERS, parameters=AttemptsPerBlock, kernels={"trip": trip}
)
