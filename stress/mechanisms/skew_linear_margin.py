"""Skew-linear margin: the fraction rises linearly with the position's share of the market's skew scale.

Stage        margin.
Formula      f = |size| / skew_scale x initial_margin_ratio + minimum_initial_margin_ratio; N = |size| x price;
             initial = N x f + minimum_position_margin;
             maintenance = N x f x maintenance_to_initial_ratio + minimum_position_margin.
Source       Synthetix v3, perps-market/contracts/storage/PerpsMarketConfiguration.sol:115 @ 23585f73.
Invariants   grows with size and price; maintenance does not exceed initial.
Limits       the position's own size counts, not the skew that others hold.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined
from stress.stages import MarketParameters, Mechanism, MechanismParameters, Stage


class SkewLinearRates(MechanismParameters):
    """Rates of one market."""

    skew_scale: float = Field(gt=0, description="base units at which a position adds one initial_margin_ratio")
    initial_margin_ratio: float = Field(ge=0, description="fraction of notional added at a size of skew_scale")
    minimum_initial_margin_ratio: float = Field(gt=0, le=1, description="initial fraction of a small position")
    maintenance_to_initial_ratio: float = Field(gt=0, lt=1, description="maintenance over initial fraction")
    minimum_position_margin: float = Field(default=0.0, ge=0, description="added for every open position, USD")


class SkewLinearMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its rates."""

    markets: dict[str, SkewLinearRates] = Field(min_length=1, description="rates of each market")


@inlined
def _fraction(v, m, size):
    terms = v.terms[m]
    return abs(size) / terms["skew_scale"] * terms["initial_margin_ratio"] + terms["minimum_initial_margin_ratio"]


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD; 0 at size 0."""
    terms = v.terms[m]
    if size == 0.0:
        return 0.0
    needed = abs(size) * price * _fraction(v, m, size) * terms["maintenance_to_initial_ratio"]
    return needed + terms["minimum_position_margin"]


@inlined
def initial(v, m, size, price):
    """Initial requirement of one position, USD; 0 at size 0."""
    if size == 0.0:
        return 0.0
    return abs(size) * price * _fraction(v, m, size) + v.terms[m]["minimum_position_margin"]


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD."""
    return maintenance(v, m, size, high)


MECHANISM = Mechanism(
    name="skew_linear_margin",
    stage=Stage.MARGIN,
    parameters=SkewLinearMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
