"""Initial floor: whatever the cap says, a share of notional must stand behind what is opened or left behind.

Stage        margin_modifiers.
Formula      initial = max(initial of the rules before, initial_floor_share x |size| x price).
Source       Hyperliquid docs, margining.md (2026-08-22): a transfer must leave max(initial margin, 10 % of notional).
Invariants   never lowers a requirement; maintenance is untouched.
Limits       taken position by position, the venue's over the account; nobody withdraws on a path, so it shows in how
             books and responses size positions.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import Mechanism, MechanismParameters, Stage


class InitialFloor(MechanismParameters):
    """`initial_floor_share` is a fraction of notional."""

    initial_floor_share: float = Field(ge=0, le=1, description="lowest initial margin over notional")


@inlined
def initial(v, m, size, price, base):
    """Initial requirement of one position, USD."""
    return max(base, v.terms[m]["initial_floor_share"] * abs(size) * price)


MECHANISM = Mechanism(
    name="initial_floor", stage=Stage.MARGIN_MODIFIERS, parameters=InitialFloor, kernels={"initial": initial}
)
