"""Remaining collateral: a position is liquidatable when what is left of its collateral is too little, or nothing.

Stage        trigger.
Formula      equity = collateral + profit and loss less fees; liquidatable if contracts are open and equity <= 0, or
             equity < minimum_collateral_usd, or equity < requirement. Queue by account id.
Source       GMX v2, position/PositionUtils.sol:316 @ a5c0c883.
Invariants   equality with the requirement does not trigger; an equity of zero does.
Limits       closing fee and capped price impact of the close are charged at the fill, not counted in the trigger.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import Mechanism, MechanismParameters, Stage


class RemainingCollateral(MechanismParameters):
    """`minimum_collateral_usd` is USD per account."""

    minimum_collateral_usd: float = Field(default=1.0, ge=0, description="lowest collateral of a position, USD")


@inlined
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority)."""
    short = equity <= 0.0 or equity < v.terms[0]["minimum_collateral_usd"] or equity < requirement
    return requirement > 0.0 and short, 0.0


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement is flagged."""
    return equity > 0.0 and equity >= v.terms[0]["minimum_collateral_usd"] and equity >= requirement


MECHANISM = Mechanism(
    name="remaining_collateral",
    stage=Stage.TRIGGER,
    parameters=RemainingCollateral,
    kernels={"flag": flag},
    bound=bound,
)
