"""Full size: a liquidation closes the whole position.

Stage        size.
Formula      quantity = |size|.
Source       GMX v2 closes positions whole (PositionUtils.sol @ a5c0c883).
Invariants   closes no more than what is open.
Limits       no partial close-out.
"""

from __future__ import annotations

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage


class FullSize(MechanismParameters):
    """No parameters."""


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    return abs(v.rows[r]["size"])


MECHANISM = Mechanism(name="full_size", stage=Stage.SIZE, parameters=FullSize, kernels={"quantity": quantity})
