"""Constant-product impact: the price of a virtual market maker x y = k after what was bought from it.

Stage        impact.
Formula      z = base units bought / x0, x0 = quote_reserve / price at t = 0; g(z) = 1 / (1 - z)^2 - 1 for z < 1;
             a fill from z0 to z1 pays the mean 1 / ((1 - z0) (1 - z1)) - 1. One depth of the venue is x0.
Source       Perpetual Protocol v1 docs (2021), virtual automated market maker; k = x0^2 x price.
Invariants   I1 (through the ledger), independence of how an order is split: the product stays k.
Limits       arbitrage that brings the price back is the decay of own flow (resilience); not odd: a purchase moves
             the price further than a sale of the same size; the path's depth is not used.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import ImpactParameters, Mechanism, Stage

Usd = Annotated[float, Field(gt=0)]


class ConstantProductImpact(ImpactParameters):
    """`quote_reserve` is the curvature: USD on the quote side at t = 0, a number or one per market."""

    quote_reserve: Usd | dict[str, Usd] = Field(description="quote side of the virtual reserves at t = 0, USD")


@inlined
def depth(v, path, t, m):
    """Base side of the reserves at t = 0: the flow's unit, base units."""
    return v.terms[m]["quote_reserve"] / v.markets[m]["initial_price"]


@inlined
def response(v, m, z):
    """Impact of flow z, fraction of price; infinite where the base side is bought up."""
    return 1.0 / ((1.0 - z) * (1.0 - z)) - 1.0 if z < 1.0 else math.inf


@inlined
def average(v, m, z0, z1):
    """Mean impact over a fill that moves the flow from z0 to z1."""
    return 1.0 / ((1.0 - z0) * (1.0 - z1)) - 1.0 if max(z0, z1) < 1.0 else math.inf


@inlined
def inverse(v, m, g):
    """Flow at which the impact is g; no sale brings the price to nothing, so none reaches g <= -1."""
    return 1.0 - 1.0 / math.sqrt(1.0 + g) if g > -1.0 else -math.inf


MECHANISM = Mechanism(
    name="constant_product_impact",
    stage=Stage.IMPACT,
    parameters=ConstantProductImpact,
    kernels={"response": response, "average": average, "inverse": inverse, "depth": depth},
)
