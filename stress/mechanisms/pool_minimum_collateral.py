"""Pool minimum collateral: a position against a pool keeps a fraction of its size as collateral.

Stage        margin.
Formula      N = |size| x price; maintenance = N x minimum_collateral_for_liquidation;
             initial = N x max(minimum_collateral, OI x minimum_collateral_per_open_interest), OI = open interest of
             one side, USD.
Source       GMX v2, position/PositionUtils.sol:316 and config/markets.ts @ a5c0c883 (minCollateralFactor,
             minCollateralFactorForOIMultiplier). What remains of the collateral is the trigger's side of the rule.
Invariants   linear in size at a given open interest; maintenance does not exceed initial.
Limits       N is taken at the mark, GMX's size in USD at entry. Open interest is that of t = 0.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from stress.kernels.jit import inlined
from stress.stages import MarketParameters, Mechanism, MechanismParameters, Stage


class PoolCollateral(MechanismParameters):
    """Fractions of one market."""

    minimum_collateral: float = Field(gt=0, le=1, description="collateral over size to open")
    minimum_collateral_for_liquidation: float = Field(gt=0, le=1, description="collateral over size to keep")
    minimum_collateral_per_open_interest: float = Field(default=0.0, ge=0, description="added fraction, per USD of OI")

    @model_validator(mode="after")
    def _ordered(self) -> PoolCollateral:
        if self.minimum_collateral_for_liquidation > self.minimum_collateral:
            raise ValueError("what a position must keep does not exceed what it needs to open")
        return self


class PoolMinimumCollateral(MarketParameters):
    """`markets` maps a market, or `default`, to its fractions."""

    markets: dict[str, PoolCollateral] = Field(min_length=1, description="fractions of each market")


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD."""
    return abs(size) * price * v.terms[m]["minimum_collateral_for_liquidation"]


@inlined
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    scaled = v.markets[m]["open_interest"] * v.terms[m]["minimum_collateral_per_open_interest"]
    return abs(size) * price * max(v.terms[m]["minimum_collateral"], scaled)


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD."""
    return maintenance(v, m, size, high)


MECHANISM = Mechanism(
    name="pool_minimum_collateral",
    stage=Stage.MARGIN,
    parameters=PoolMinimumCollateral,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
