"""Collateral discount by size: selling a large holding moves its market, so the more is held the less it counts.

Stage        collateral.
Formula      discount = |size| / collateral_skew_scale x discount_scalar, kept within [lowest, highest discount];
             requirement = |size| x price x discount, for opening and keeping alike.
Source       Synthetix v3, perps-market/contracts/storage/PerpsCollateralConfiguration.sol @ 23585f73.
Invariants   0 <= requirement of a holding <= its value.
Limits       each account's own holding counts, not what others hold. A due account sells its holding whole.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from stress.kernels.jit import inlined, kernel
from stress.stages import CollateralParameters, Mechanism, MechanismParameters, Stage


class AssetDiscount(MechanismParameters):
    """Discount of one asset."""

    collateral_skew_scale: float = Field(gt=0, description="base units at which the discount is discount_scalar")
    discount_scalar: float = Field(gt=0, description="discount at a holding of collateral_skew_scale")
    lowest_discount: float = Field(ge=0, le=1, description="discount of a small holding")
    highest_discount: float = Field(ge=0, le=1, description="discount of a large one")

    @model_validator(mode="after")
    def _ordered(self) -> AssetDiscount:
        if self.lowest_discount > self.highest_discount:
            raise ValueError("lowest_discount does not exceed highest_discount")
        return self


class CollateralSkewDiscount(CollateralParameters):
    """`markets` maps an asset to its discount."""

    markets: dict[str, AssetDiscount] = Field(min_length=1, description="discount of each asset")


@inlined
def haircut(v, m, size, price):
    """Part of a holding's value that does not count, USD."""
    terms = v.terms[m]
    discount = abs(size) / terms["collateral_skew_scale"] * terms["discount_scalar"]
    return abs(size) * price * min(max(discount, terms["lowest_discount"]), terms["highest_discount"])


@inlined
def bound(v, m, size, low, high):
    """Highest requirement over prices in [low, high], USD."""
    return haircut(v, m, size, high)


@kernel
def sale(v, a, r, equity, requirement, t):
    """Base units of the holding in row `r` that a due account sells: all."""
    return max(0.0, v.rows[r]["size"])


MECHANISM = Mechanism(
    name="collateral_skew_discount",
    stage=Stage.COLLATERAL,
    parameters=CollateralSkewDiscount,
    kernels={"maintenance": haircut, "initial": haircut, "sale": sale},
    bound=bound,
)
