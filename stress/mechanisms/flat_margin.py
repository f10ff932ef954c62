"""Flat margin: one initial and one maintenance fraction of notional per market.

Stage        margin.
Formula      N = |size| x price; initial = N / leverage_cap; maintenance = initial x maintenance_to_initial_ratio.
Source       Perpetual Protocol v1 (6.25 % maintenance), Paradex (maintenance half of initial), docs read 2026-08.
Invariants   linear in size and price; maintenance < initial.
Limits       no tiers: a large position needs no more per USD than a small one.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.margin import highest_maintenance, initial, maintenance
from stress.stages import LeverageRates, MarketParameters, Mechanism, Stage


class FlatMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its rates."""

    markets: dict[str, LeverageRates] = Field(min_length=1, description="rates of each market")


MECHANISM = Mechanism(
    name="flat_margin",
    stage=Stage.MARGIN,
    parameters=FlatMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=highest_maintenance,
)
