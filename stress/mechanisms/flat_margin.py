"""Flat margin: one initial and one maintenance fraction of notional per market.

Stage        margin.
Formula      N = |size| x price; initial = N / leverage_cap; maintenance = initial x maintenance_to_initial_ratio.
Source       Perpetual Protocol v1 (6.25 % maintenance), Paradex (maintenance half of initial), docs read 2026-08.
Invariants   linear in size and price; maintenance < initial.
Limits       no tiers: a large position needs no more per USD than a small one.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import MarketParameters, Mechanism, MechanismParameters, Stage


class FlatRates(MechanismParameters):
    """Rates of one market."""

    leverage_cap: float = Field(ge=1, description="highest leverage to open; initial margin fraction = 1 / cap")
    maintenance_to_initial_ratio: float = Field(gt=0, lt=1, description="maintenance over initial margin")

    def terms(self, market, step):
        """Return both as fractions of notional."""
        initial = 1.0 / self.leverage_cap
        return {"initial_fraction": initial, "maintenance_fraction": self.maintenance_to_initial_ratio * initial}


class FlatMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its rates."""

    markets: dict[str, FlatRates] = Field(min_length=1, description="rates of each market")


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD."""
    return abs(size) * price * v.terms[m]["maintenance_fraction"]


@inlined
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    return abs(size) * price * v.terms[m]["initial_fraction"]


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD."""
    return maintenance(v, m, size, high)


MECHANISM = Mechanism(
    name="flat_margin",
    stage=Stage.MARGIN,
    parameters=FlatMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
