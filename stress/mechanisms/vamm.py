"""Virtual market maker: a liquidation trades along the curve of the venue's own price function.

Stage        execution.
Formula      the order moves the venue's mid along the impact rule (x y = k: constant_product_impact) and pays its
             mean; it stops where impact_max or the slippage cap ends it. The counterparty is the pool, which holds
             what the traders' positions do not net out; its equity is what the clearing house owns of its own.
Source       Perpetual Protocol v1 docs (2021), clearing house and virtual market maker.
Invariants   I1; the limit that bound is returned.
Limits       the pool's equity at the marks is not what closing all positions along the curve would give.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.impact import absorb_flow, displaced, displacement
from stress.kernels.jit import kernel
from stress.kernels.resale import resale_room
from stress.kernels.venue import CAP, NO_LIMIT, POOL
from stress.stages import Mechanism, MechanismParameters, Stage


class Vamm(MechanismParameters):
    """`pool_equity` is 0 where the venue owns nothing beside its insurance fund."""

    pool_equity: float = Field(default=0.0, ge=0, description="equity of the clearing house at t = 0, USD")

    def balances(self) -> dict[int, float]:
        """The clearing house's equity at t = 0."""
        return {POOL: self.pool_equity}


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Close `quantity` > 0 base units of row `r` along the curve."""
    m = v.rows[r]["market"]
    market = v.markets[m]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    z0 = displacement(v, m, t)
    world = market["world"] * market["premium_factor"]
    worst = displaced(v, m, world, respond(v, m, z0)) * (1.0 - side * v.terms[m]["slippage_cap"])
    if v.terms[m]["slippage_cap"] >= 1.0:  # 1 stands for none (ImpactParameters.terms)
        worst = displaced(v, m, world, -side * v.terms[m]["impact_max"])
    filled = min(quantity, resale_room(v, m, t, side, worst, respond, invert))
    if filled <= 0.0:
        return 0.0, 0.0, POOL, CAP
    z1 = z0 - side * filled / market["depth"]
    absorb_flow(v, m, t, z1 - z0)
    return filled, displaced(v, m, world, average(v, m, z0, z1)), POOL, NO_LIMIT if filled == quantity else CAP


MECHANISM = Mechanism(name="vamm", stage=Stage.EXECUTION, parameters=Vamm, kernels={"execute": execute})
