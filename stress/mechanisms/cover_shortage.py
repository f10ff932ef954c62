"""Cover the shortage: close just enough that the account is margined again.

Stage        size.
Formula      smallest q with equity - fee(q) >= target_ratio x (requirement - maintenance(size)
             + maintenance(size - q)) at a constant price; the whole position if no q does, or if what
             would be left is below whole_below.
Source       Drift protocol-v2, math/liquidation.rs @ 0ae3e3b1 (base_cover), written as a root of the
             requirement itself, so that tiers are met exactly.
Invariants   I10: one fill at a constant price restores equity = target_ratio x requirement.
Limits       positions are reduced in market order, each against the shortage then left. Where the fee's
             rate exceeds target_ratio x the lowest maintenance rate, closing everything may not suffice
             although closing a part would: the whole position is closed.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage

# Aim so much higher that the rounding of the ledger does not leave the account short by its last bits.
HAIR = 1.0 + 1e-12
# The search ends where the account has this fraction of its requirement to spare; below HAIR - 1.
CLOSE = 1e-13


class CoverShortage(MechanismParameters):
    """`target_ratio` is equity over maintenance requirement after the fill."""

    target_ratio: float = Field(default=1.0, ge=1, description="equity over maintenance requirement to restore")
    whole_below: float = Field(default=0.0, ge=0, description="a remainder below this notional is closed too, USD")


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    m = v.rows[r]["market"]
    size = abs(v.rows[r]["size"])
    others = requirement - maintenance(v, m, v.rows[r]["size"], v.markets[m]["mark"])
    target = v.terms[m]["target_ratio"] * HAIR
    low, high = 0.0, size
    missing = target * requirement - equity  # at q = low
    spare = -_shortage(v, r, m, size, high, equity, others, target, bankruptcy_price, maintenance, fee)
    if spare < 0.0:
        return size
    # The shortage falls with q (the requirement is convex and its slope exceeds the fee's) and is linear
    # between the tiers: false position finds it in a few steps, halving guards against a slow one.
    for step in range(100):
        if spare <= CLOSE * requirement:
            break
        aim = missing + 0.5 * CLOSE * requirement  # just beyond the root, on the side that suffices
        middle = low + (high - low) * aim / (missing + spare) if step % 3 < 2 else 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        short = _shortage(v, r, m, size, middle, equity, others, target, bankruptcy_price, maintenance, fee)
        if short > 0.0:
            low, missing = middle, short
        else:
            high, spare = middle, -short
    if (size - high) * v.markets[m]["mark"] < v.terms[m]["whole_below"]:
        return size
    return high


@kernel
def _shortage(v, r, m, size, q, equity, others, target, bankruptcy_price, maintenance, fee):
    """USD by which equity misses the target after closing q at the mark."""
    mark = v.markets[m]["mark"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0  # a rule may ask different rates of the two sides
    requirement = others + maintenance(v, m, side * size, mark)
    paid, _ = fee(v, r, q, mark, bankruptcy_price, equity, requirement, maintenance)
    return target * (others + maintenance(v, m, side * (size - q), mark)) - (equity - paid)


MECHANISM = Mechanism(name="cover_shortage", stage=Stage.SIZE, parameters=CoverShortage, kernels={"quantity": quantity})
