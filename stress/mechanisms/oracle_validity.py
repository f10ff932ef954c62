"""Oracle validity: a table of what may not be done on a price that is too volatile, too uncertain or too old.

Stage        breakers.
Formula      A = EMA of O with time constant validity_average. Too volatile: max(O, A) / min(O, A) > volatile_limit;
             uncertain: (H - L) / (2 O) > uncertain_limit, [L, H] = range of the sources behind O; stale: observation
             older than stale_limit. Each blocks its own actions while it lasts.
Source       Drift protocol-v2, math/oracle.rs @ 0ae3e3b1: max / min against the TWAP above 5; confidence above 2 % of
             price by tier; more than 120 slots (48 s) old for margin.
Invariants   a limit that is not exceeded blocks nothing.
Limits       evaluated once per step, per market. `open` and `withdraw` change nothing while traders are static.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from stress.kernels.halts import halt
from stress.kernels.jit import kernel
from stress.stages import BlockedActions, Exact, Mechanism, MechanismParameters, Seconds, Stage, StateField

NEVER = 1e300


class OracleValidity(MechanismParameters):
    """A condition without a limit never holds; one with a limit names what it blocks."""

    validity_average: Exact = Field(default=Seconds(300.0), gt=0, description="time constant of the average")
    volatile_limit: float | None = Field(default=None, gt=1, description="largest ratio of price and average")
    volatile_blocks: BlockedActions = Field(default=(), description="actions that stop on a too volatile price")
    uncertain_limit: float | None = Field(default=None, gt=0, description="largest half width of the sources' range")
    uncertain_blocks: BlockedActions = Field(default=(), description="actions that stop on an uncertain price")
    stale_limit: Exact | None = Field(default=None, description="oldest observation")
    stale_blocks: BlockedActions = Field(default=(), description="actions that stop on a stale price")

    @model_validator(mode="after")
    def _whole(self) -> OracleValidity:
        for name in ("volatile", "uncertain", "stale"):
            if (getattr(self, f"{name}_limit") is None) == bool(getattr(self, f"{name}_blocks")):
                raise ValueError(f"{name}_limit and {name}_blocks are given together")
        if "oracle_update" in self.stale_blocks:
            raise ValueError("a stale oracle that may not update stays stale for ever: leave out oracle_update")
        return self

    def terms(self, market, step):
        """Return the kernel's fields; no limit is one that nothing exceeds."""
        limits = {name: getattr(self, name) for name in ("volatile_limit", "uncertain_limit", "stale_limit")}
        never = {name: NEVER for name, value in limits.items() if value is None}
        stated = MechanismParameters.terms(self.model_copy(update=never), market, step)
        return {f"validity_{name}" if name in limits else name: value for name, value in stated.items()}


@kernel
def trip(v, path, t):
    """Halt what each condition that holds blocks, in each market."""
    for m in range(v.markets.shape[0]):
        state, terms = v.markets[m], v.terms[m]
        keep = math.exp(-v.step_seconds / terms["validity_average"])
        state["validity_num"] = state["validity_num"] * keep + state["oracle"] * v.step_seconds
        state["validity_den"] = state["validity_den"] * keep + v.step_seconds
        average = state["validity_num"] / state["validity_den"]
        ratio = max(state["oracle"], average) / min(state["oracle"], average)
        if ratio > terms["validity_volatile_limit"]:
            halt(v, m, t, terms["volatile_blocks"], 0)
        if state["oracle_high"] - state["oracle_low"] > 2.0 * state["oracle"] * terms["validity_uncertain_limit"]:
            halt(v, m, t, terms["uncertain_blocks"], 0)
        if (t - state["oracle_step"]) * v.step_seconds > terms["validity_stale_limit"]:
            halt(v, m, t, terms["stale_blocks"], 0)


MECHANISM = Mechanism(
    name="oracle_validity",
    stage=Stage.BREAKERS,
    parameters=OracleValidity,
    kernels={"trip": trip},
    state=(
        StateField("validity_num", "market", "f8", "USD s"),
        StateField("validity_den", "market", "f8", "s"),
    ),
)
