"""Linear impact: the response is proportional to the normalised flow.

Stage        impact.
Formula      g(z) = c z, c = impact_at_depth; a fill from z0 to z1 pays the average c (z0 + z1) / 2.
Source       Kyle (1985), Econometrica 53:1315, linear price schedule; depth = quantity within 1 % of the mid.
Invariants   I1 (through the ledger), independence of how an order is split.
Limits       no curvature: large fills are cheaper than a thinning book would make them.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import ImpactParameters, Mechanism, Stage


class LinearImpact(ImpactParameters):
    """`impact_at_depth` is the response to a fill of one depth (the quantity within 1 % of the mid)."""

    impact_at_depth: float = Field(default=0.01, gt=0, description="fraction of price moved by a fill of one depth")


@inlined
def response(v, m, z):
    """Impact of flow z, fraction of price."""
    return v.terms[m]["impact_at_depth"] * z


@inlined
def average(v, m, z0, z1):
    """Mean impact over a fill that moves the flow from z0 to z1."""
    return v.terms[m]["impact_at_depth"] * 0.5 * (z0 + z1)


@inlined
def inverse(v, m, g):
    """Flow at which the impact is g."""
    return g / v.terms[m]["impact_at_depth"]


MECHANISM = Mechanism(
    name="linear_impact",
    stage=Stage.IMPACT,
    parameters=LinearImpact,
    kernels={"response": response, "average": average, "inverse": inverse},
)
