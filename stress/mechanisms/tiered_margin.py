"""Tiered margin: rates rise with position notional, with a deduction that keeps them continuous.

Stage        margin.
Formula      N = |size| x price; k = tier of N; maintenance = N x mmf_k - d_k with mmf_k =
             maintenance_to_initial_ratio_k / leverage_cap_k, d_0 = 0,
             d_k = d_{k-1} + above_k x (mmf_k - mmf_{k-1}); initial alike with imf_k = 1 / leverage_cap_k.
Source       Hyperliquid docs, margin-tiers.md (2026-08-22); Binance `maint_amt` is the same deduction.
Invariants   continuous and non-decreasing in N; maintenance < initial at every N.
Limits       requirements of one account add up over positions: no offsets for hedges.
"""

from __future__ import annotations

import itertools

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, Stage

MAX_TIERS = 4


class Tier(BaseModel):
    """Rates for the part of a position's notional above `above` (USD)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    above: float = Field(default=0.0, ge=0, description="lower bound of the tier, USD notional")
    leverage_cap: float = Field(ge=1, description="highest leverage to open; initial margin fraction = 1 / cap")
    maintenance_to_initial_ratio: float = Field(gt=0, lt=1, description="maintenance over initial margin")


class TieredMargin(MechanismParameters):
    """`markets` maps a market, or `default`, to its tiers in rising order, the first from 0."""

    markets: dict[str, tuple[Tier, ...]] = Field(min_length=1, description="tiers of each market")

    @model_validator(mode="after")
    def _ordered(self) -> TieredMargin:
        for market, tiers in self.markets.items():
            if not 1 <= len(tiers) <= MAX_TIERS:
                raise ValueError(f"{market}: one to {MAX_TIERS} tiers; got {len(tiers)}")
            bounds = [tier.above for tier in tiers]
            if bounds[0] != 0 or sorted(set(bounds)) != bounds:
                raise ValueError(f"{market}: `above` is 0 in the first tier and rises strictly; got {bounds}")
            for low, high in itertools.pairwise(tiers):
                if high.leverage_cap > low.leverage_cap:
                    raise ValueError(f"{market}: leverage caps fall from tier to tier; got {high.leverage_cap:g}")
                if (
                    high.maintenance_to_initial_ratio / high.leverage_cap
                    < low.maintenance_to_initial_ratio / low.leverage_cap
                ):
                    raise ValueError(f"{market}: maintenance margin fractions rise from tier to tier")
        return self

    def tiers(self, market: str) -> tuple[Tier, ...]:
        """Return the tiers of a market, its own or those of `default`."""
        try:
            return self.markets.get(market) or self.markets["default"]
        except KeyError:
            raise ValueError(f"no margin tiers for {market} and no `default`") from None

    def terms(self, market, step):
        """Return bounds, rates and deductions per tier, unused tiers beyond every notional; `_` marks copies for speed."""
        tiers = self.tiers(market)
        above = np.full(MAX_TIERS, np.inf)
        maintenance, initial = np.zeros((2, MAX_TIERS))
        maintenance_deduction, initial_deduction = np.zeros((2, MAX_TIERS))
        for k, tier in enumerate(tiers):
            above[k] = tier.above
            initial[k] = 1.0 / tier.leverage_cap
            maintenance[k] = tier.maintenance_to_initial_ratio / tier.leverage_cap
            if k:
                maintenance_deduction[k] = maintenance_deduction[k - 1] + above[k] * (
                    maintenance[k] - maintenance[k - 1]
                )
                initial_deduction[k] = initial_deduction[k - 1] + above[k] * (initial[k] - initial[k - 1])
        return {
            "tier_above": above,
            "maintenance_rate": maintenance,
            "maintenance_deduction": maintenance_deduction,
            "initial_rate": initial,
            "initial_deduction": initial_deduction,
            "_first_rate": maintenance[0],
            "_second_tier_above": above[1],
        }


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD."""
    notional = abs(size) * price
    terms = v.terms[m]
    if notional <= terms["_second_tier_above"]:  # most positions: one product, no table
        return notional * terms["_first_rate"]
    k = 1
    while k + 1 < MAX_TIERS and notional > terms["tier_above"][k + 1]:
        k += 1
    return notional * terms["maintenance_rate"][k] - terms["maintenance_deduction"][k]


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD: it does not fall with notional."""
    return maintenance(v, m, size, high)


@kernel
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    notional = abs(size) * price
    terms = v.terms[m]
    k = 0
    while k + 1 < MAX_TIERS and notional > terms["tier_above"][k + 1]:
        k += 1
    return notional * terms["initial_rate"][k] - terms["initial_deduction"][k]


MECHANISM = Mechanism(
    name="tiered_margin",
    stage=Stage.MARGIN,
    parameters=TieredMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
