"""Skew pool: a liquidation closes against the pool at the oracle price plus a premium that follows the skew.

Stage        execution.
Formula      price = O x (1 + (skew + x / 2) / scale), x = signed size of the order, skew = net size of the traders
             before it, both in base units: the mean of the premium over the fill.
Source       Synthetix perps v3, AsyncOrder.sol:497 @ 23585f73 (its liquidations close at the oracle price: oracle_pool).
Invariants   I1; independence of how an order is split.
Limits       the pool takes every fill, whatever its equity; a price below 0 is taken as 0.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import skew
from stress.kernels.venue import NO_LIMIT, POOL
from stress.stages import Mechanism, MechanismParameters, Stage

Scale = Annotated[float, Field(gt=0)]


class SkewPool(MechanismParameters):
    """`price_skew_scale` is in base units: a number, or one per market."""

    pool_equity: float = Field(ge=0, description="equity of the pool at t = 0, USD")
    price_skew_scale: Scale | dict[str, Scale] = Field(description="skew at which the premium is 100 %, base units")

    def balances(self) -> dict[int, float]:
        """The pool's equity at t = 0."""
        return {POOL: self.pool_equity}


@inlined
def fill_price(price, net, order, scale):
    """Price of an order of signed size `order` at net trader size `net`, base units."""
    return price * (1.0 + (net + 0.5 * order) / scale)


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Close `quantity` > 0 base units of row `r` against the pool."""
    m = v.rows[r]["market"]
    order = -quantity if v.rows[r]["size"] > 0.0 else quantity
    price = fill_price(v.markets[m]["oracle"], skew(v, m), order, v.terms[m]["price_skew_scale"])
    return quantity, max(0.0, price), POOL, NO_LIMIT


MECHANISM = Mechanism(name="skew_pool", stage=Stage.EXECUTION, parameters=SkewPool, kernels={"execute": execute})
