"""What someone who takes a liquidated position over can sell on through the venue's book, and at what price.

A liquidator, keeper or bidder takes contracts at the price of a rule and sells them on at the venue's mid, moved by
the resale itself. How much is taken at a price therefore ends where the last contract would be sold on at a loss.
"""

from __future__ import annotations

import math

from stress.kernels.impact import absorb_flow, displacement
from stress.kernels.jit import kernel


@kernel
def resale_room(v, m, t, side, price, respond, invert):
    """Base units (>= 0) that can be sold on (side +1; bought back for -1) no worse than `price` at the margin."""
    market = v.markets[m]
    if market["depth"] <= 0.0 or price <= 0.0:
        return 0.0
    world = market["world"] * market["premium_factor"]
    end = price / world - 1.0 if v.terms[m]["additive"] == 0 else (price - world) / market["initial_price"]
    reach = v.terms[m]["impact_max"]
    end = max(end, -reach) if side > 0.0 else min(end, reach)
    z = displacement(v, m, t)
    gap = side * (respond(v, m, z) - end)
    if gap < 0.0:
        return 0.0
    if market["depth"] == math.inf:  # never moves: 0 x infinity is no room
        return math.inf
    return side * (z - invert(v, m, end)) * market["depth"]


@kernel
def sell_on(v, m, t, side, quantity):
    """Let the resale of `quantity` base units move the venue's own flow."""
    absorb_flow(v, m, t, -side * quantity / v.markets[m]["depth"])
