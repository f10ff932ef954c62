"""Square-root impact: the response grows with the root of the normalised flow.

Stage        impact.
Formula      g(z) = c sign(z) sqrt|z|; G(z) = 2/3 c |z|^1.5, a fill pays (G(z1) - G(z0)) / (z1 - z0).
Source       Donier and Bonart (2015), A million metaorder analysis of market impact on Bitcoin.
Invariants   I1 (through the ledger), independence of how an order is split.
Limits       infinite slope at zero flow: the first contract of a quiet book is dearer than in truth.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import ImpactParameters, Mechanism, Stage


class SquareRootImpact(ImpactParameters):
    """`impact_at_depth` is the response to a fill of one depth (the quantity within 1 % of the mid)."""

    impact_at_depth: float = Field(default=0.01, gt=0, description="fraction of price moved by a fill of one depth")


@inlined
def response(v, m, z):
    """Impact of flow z, fraction of price."""
    return math.copysign(v.terms[m]["impact_at_depth"] * math.sqrt(abs(z)), z)


@inlined
def average(v, m, z0, z1):
    """Mean impact over a fill that moves the flow from z0 to z1."""
    a, b = math.sqrt(abs(z0)), math.sqrt(abs(z1))
    c = v.terms[m]["impact_at_depth"]
    if z0 * z1 >= 0.0:
        # (b^3 - a^3) / (b^2 - a^2) without the cancellation of two near-equal powers.
        if a + b == 0.0:
            return 0.0
        mean = 2.0 / 3.0 * c * (a * a + a * b + b * b) / (a + b)
        return math.copysign(mean, z0 + z1)
    return 2.0 / 3.0 * c * (b * b * b - a * a * a) / (z1 - z0)


@inlined
def inverse(v, m, g):
    """Flow at which the impact is g."""
    root = g / v.terms[m]["impact_at_depth"]
    return math.copysign(root * root, g)


MECHANISM = Mechanism(
    name="square_root_impact",
    stage=Stage.IMPACT,
    parameters=SquareRootImpact,
    kernels={"response": response, "average": average, "inverse": inverse},
)
