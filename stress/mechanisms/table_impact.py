"""Table impact: the response read from a measured depth profile, linear between its points.

Stage        impact.
Formula      g(z) is the straight line through (0, 0) and the points (depths, impact), odd, and goes on beyond the
             last with the slope of the last segment; a fill pays the mean of g over what it moves, exactly.
Source       Sepper (2026), Slippage-at-Risk, arXiv 2603.09164: depth profiles of venues differ in shape, not only in size.
Invariants   I1 (through the ledger), independence of how an order is split.
Limits       one profile for every market of the venue and both sides; its scale in USD is the path's depth.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from pydantic import Field, model_validator

from stress.kernels.jit import inlined, kernel
from stress.stages import ImpactParameters, Mechanism, Stage

MAX_POINTS = 8


class TableImpact(ImpactParameters):
    """`profile` lists (quantity in depths, impact as a fraction), both rising."""

    profile: tuple[tuple[float, float], ...] = Field(
        min_length=1, max_length=MAX_POINTS, description="points (quantity in depths, impact), rising, without (0, 0)"
    )

    @model_validator(mode="after")
    def _rises(self) -> TableImpact:
        for low, high in itertools.pairwise(((0.0, 0.0), *self.profile)):
            if not (high[0] > low[0] and high[1] > low[1]):
                raise ValueError(f"profile: quantity and impact rise from point to point; got {low} then {high}")
        return self

    def terms(self, market, step):
        """Return the points, and the area below the profile up to each of them."""
        plain = {name: getattr(self, name) for name in ImpactParameters.model_fields}
        record = ImpactParameters(**plain).terms(market, step)
        at, impact = np.full(MAX_POINTS + 1, np.inf), np.zeros(MAX_POINTS + 1)
        slope, area = np.zeros(MAX_POINTS + 1), np.zeros(MAX_POINTS + 1)
        at[0] = 0.0
        for k, (z, g) in enumerate(self.profile):
            at[k + 1], impact[k + 1] = z, g
            slope[k] = (g - impact[k]) / (z - at[k])
            area[k + 1] = area[k] + 0.5 * (g + impact[k]) * (z - at[k])
        slope[len(self.profile)] = slope[len(self.profile) - 1]
        return record | {"profile_at": at, "profile_impact": impact, "profile_slope": slope, "profile_area": area}


@inlined
def _segment(v, m, z):
    """Index of the profile's segment in which |z| lies."""
    k = 0
    while k < MAX_POINTS and abs(z) >= v.terms[m]["profile_at"][k + 1]:
        k += 1
    return k


@kernel
def response(v, m, z):
    """Impact of flow z, fraction of price."""
    k = _segment(v, m, z)
    terms = v.terms[m]
    return math.copysign(terms["profile_impact"][k] + terms["profile_slope"][k] * (abs(z) - terms["profile_at"][k]), z)


@kernel
def _area(v, m, z):
    """Integral of the response from 0 to z: even in z."""
    k = _segment(v, m, z)
    terms = v.terms[m]
    beyond = abs(z) - terms["profile_at"][k]
    return terms["profile_area"][k] + beyond * (terms["profile_impact"][k] + 0.5 * terms["profile_slope"][k] * beyond)


@kernel
def average(v, m, z0, z1):
    """Mean impact over a fill that moves the flow from z0 to z1."""
    if _segment(v, m, z0) == _segment(v, m, z1) and z0 * z1 >= 0.0:
        return 0.5 * (response(v, m, z0) + response(v, m, z1))  # also where z1 is as good as z0
    return (_area(v, m, z1) - _area(v, m, z0)) / (z1 - z0)


@kernel
def inverse(v, m, g):
    """Flow at which the impact is g."""
    terms = v.terms[m]
    k = 0
    while k < MAX_POINTS and terms["profile_at"][k + 1] < math.inf and abs(g) >= terms["profile_impact"][k + 1]:
        k += 1
    return math.copysign(terms["profile_at"][k] + (abs(g) - terms["profile_impact"][k]) / terms["profile_slope"][k], g)


MECHANISM = Mechanism(
    name="table_impact",
    stage=Stage.IMPACT,
    parameters=TableImpact,
    kernels={"response": response, "average": average, "inverse": inverse},
)
