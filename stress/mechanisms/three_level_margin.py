"""Three levels of margin: to open, to keep, and one below which a backstop takes the account over.

Stage        margin.
Formula      N = |size| x price; initial = N / leverage_cap; maintenance = initial x maintenance_to_initial_ratio;
             close-out = maintenance x close_out_to_maintenance_ratio. The engine keeps the account's close-out level
             while it is liquidated, and a backstop vault takes over below it instead of its own `takeover_below`.
Source       Lighter docs (read 2026-08): IMR > MMR > CMR, BTC and ETH 2 / 1.2 / 0.8 %, SOL 6.66 / 3.99 / 2.66 %.
Invariants   close-out < maintenance < initial; all linear in size and price.
Limits       no tiers. Haircuts of collateral do not enter the close-out level.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.kernels.margin import highest_maintenance, initial, maintenance
from stress.stages import LeverageRates, MarketParameters, Mechanism, Stage


class ThreeLevels(LeverageRates):
    """Levels of one market."""

    close_out_to_maintenance_ratio: float = Field(gt=0, lt=1, description="close-out over maintenance margin")

    def terms(self, market, step):
        """Return all three as fractions of notional."""
        rates = super().terms(market, step)
        rates["close_out_fraction"] = rates["maintenance_fraction"] * rates.pop("close_out_to_maintenance_ratio")
        return rates


class ThreeLevelMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its levels."""

    markets: dict[str, ThreeLevels] = Field(min_length=1, description="levels of each market")


@kernel
def close_out(v, m, size, price):
    """Level of one position below which the account is taken over, USD."""
    return abs(size) * price * v.terms[m]["close_out_fraction"]


MECHANISM = Mechanism(
    name="three_level_margin",
    stage=Stage.MARGIN,
    parameters=ThreeLevelMargin,
    kernels={"maintenance": maintenance, "initial": initial, "close_out": close_out},
    bound=highest_maintenance,
)
