"""Price range: a long is valued at the lowest valid oracle source, a short at the highest.

Stage        margin_modifiers.
Formula      [L, H] = range of the sources behind O; maintenance = base + |size| x price x (1 - L / O) for a long,
             base + |size| x price x (H / O - 1) for a short. Asking for more has the effect of valuing at less:
             equity at L < base is equity at M < base + what L takes away.
Source       GMX v2, oracle prices with min and max (position/PositionUtils.sol:316 @ a5c0c883).
Invariants   never lowers a requirement; sources that agree change nothing.
Limits       fills and equity itself stay at one price; only the trigger sees the range.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.culling import disturb
from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, Stage, StateField

# The bound allows for this much wider a range than was seen, so that it seldom has to be drawn anew.
SLACK = 1.5


class PriceRange(MechanismParameters):
    """`range_share` scales the range."""

    range_share: float = Field(
        default=1.0, ge=0, le=1, description="share of the distance to the range's end that counts"
    )


@inlined
def maintenance(v, m, size, price, base):
    """Maintenance requirement of one position, USD."""
    state = v.markets[m]
    away = 1.0 - state["oracle_low"] / state["oracle"] if size > 0.0 else state["oracle_high"] / state["oracle"] - 1.0
    return base + v.terms[m]["range_share"] * abs(size) * price * max(0.0, away)


@inlined
def bound(v, m, size, low, high, base):
    """Highest maintenance over prices in [low, high], USD; a wider range is announced by `disturb`."""
    return base + v.terms[m]["range_share"] * abs(size) * high * v.markets[m]["widest_range"]


@kernel
def update(v, path, t):
    """Draw the bound anew where the range has become wider than it allows."""
    for m in range(v.markets.shape[0]):
        state = v.markets[m]
        away = max(1.0 - state["oracle_low"] / state["oracle"], state["oracle_high"] / state["oracle"] - 1.0)
        if away > state["widest_range"]:
            state["widest_range"] = SLACK * away
            disturb(v)


MECHANISM = Mechanism(
    name="price_range",
    stage=Stage.MARGIN_MODIFIERS,
    parameters=PriceRange,
    kernels={"maintenance": maintenance, "update": update},
    bound=bound,
    state=(StateField("widest_range", "market", "f8", "fraction"),),
)
