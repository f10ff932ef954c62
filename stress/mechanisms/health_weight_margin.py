"""Health weights: a long counts at less than its price, a short at more.

Stage        margin.
Formula      health = cash + sum of size x price x weight, weight of a long below 1, of a short above 1; so a long
             needs N x (1 - long weight), a short N x (short weight - 1), with weights for initial and maintenance.
Source       Vertex protocol docs (health, read 2026-08): initial and maintenance weights per market.
Invariants   linear in size and price; maintenance does not exceed initial on either side.
Limits       spread weights of paired products are left to a modifier.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from stress.kernels.jit import inlined
from stress.stages import MarketParameters, Mechanism, MechanismParameters, Stage


class HealthWeights(MechanismParameters):
    """Weights of one market."""

    long_initial_weight: float = Field(ge=0, lt=1, description="share of a long's notional that counts, to open")
    long_maintenance_weight: float = Field(gt=0, lt=1, description="the same, to keep")
    short_initial_weight: float = Field(gt=1, description="multiple of a short's notional that counts, to open")
    short_maintenance_weight: float = Field(gt=1, description="the same, to keep")

    @model_validator(mode="after")
    def _ordered(self) -> HealthWeights:
        if self.long_maintenance_weight < self.long_initial_weight:
            raise ValueError("a long counts no less for maintenance than to open")
        if self.short_maintenance_weight > self.short_initial_weight:
            raise ValueError("a short counts no more for maintenance than to open")
        return self


class HealthWeightMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its weights."""

    markets: dict[str, HealthWeights] = Field(min_length=1, description="weights of each market")


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD."""
    terms = v.terms[m]
    fraction = 1.0 - terms["long_maintenance_weight"] if size > 0.0 else terms["short_maintenance_weight"] - 1.0
    return abs(size) * price * fraction


@inlined
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    terms = v.terms[m]
    fraction = 1.0 - terms["long_initial_weight"] if size > 0.0 else terms["short_initial_weight"] - 1.0
    return abs(size) * price * fraction


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD."""
    return maintenance(v, m, size, high)


MECHANISM = Mechanism(
    name="health_weight_margin",
    stage=Stage.MARGIN,
    parameters=HealthWeightMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
