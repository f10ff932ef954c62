"""Remaining collateral: a position is liquidatable when what is left of its collateral is too little, or nothing.

Stage        trigger.
Formula      left = equity + min(0, impact of the close) - closing_fee x |entry notional|; liquidatable if contracts are open
             and left <= 0, or left < minimum_collateral_usd, or left < requirement. Queue by account id.
Source       GMX v2, position/PositionUtils.sol:316 @ a5c0c883; the size in USD on which the fee is charged is that at entry.
Invariants   equality with the requirement does not trigger; a rest of zero does.
Limits       the impact of a close is capped at nothing, as in production (maxPositionImpactFactorForLiquidations is 0); the fee
             only counts here, what a fill costs is the fee rule's.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, Stage


class RemainingCollateral(MechanismParameters):
    """`minimum_collateral_usd` is USD per account."""

    minimum_collateral_usd: float = Field(default=1.0, ge=0, description="lowest collateral of a position, USD")
    closing_fee: float = Field(
        default=0.0, ge=0, lt=1, description="fee of the close that counts as spent, of the notional at entry"
    )


@inlined
def remaining(equity, impact, fees):
    """USD left of the collateral after a close: its impact counts where it costs (< 0), not where it gains."""
    return equity + min(0.0, impact) - fees


@inlined
def short(v, left, requirement):
    """Tell whether what is left is too little."""
    return left <= 0.0 or left < v.terms[0]["minimum_collateral_usd"] or left < requirement


@kernel
def closing_fees(v, a):
    """USD that closing the account's positions costs in fees."""
    fees = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        fees += abs(v.rows[r]["entry_notional"]) * v.terms[v.rows[r]["market"]]["closing_fee"]
    return fees


@inlined
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority)."""
    return requirement > 0.0 and short(v, remaining(equity, 0.0, closing_fees(v, a)), requirement), 0.0


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement is flagged."""
    return not short(v, remaining(equity, 0.0, closing_fees(v, a)), requirement)


MECHANISM = Mechanism(
    name="remaining_collateral",
    stage=Stage.TRIGGER,
    parameters=RemainingCollateral,
    kernels={"flag": flag},
    bound=bound,
)
