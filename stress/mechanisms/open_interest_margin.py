"""Open-interest-scaled initial margin: opening costs more as a market fills up, keeping a position does not.

Stage        margin.
Formula      N = |size| x price; f = 1 / leverage_cap; OI = the market's open interest, one side, USD.
             initial = N x f for OI <= lower, N for OI >= upper, else N x (f + (1 - f)(OI - lower)/(upper - lower));
             maintenance = N x f x maintenance_to_initial_ratio, not scaled. No upper bound: no scaling.
Source       dYdX v4-chain, x/perpetuals/types/liquidity_tier.go and lib/lib.go:117 @ 84d4664b.
Invariants   initial does not fall with open interest and never exceeds notional; maintenance is free of it.
Limits       open interest is that of t = 0: traders are static, and nobody opens a position on a path.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import highest_maintenance, maintenance
from stress.stages import LeverageRates, MarketParameters, Mechanism, Stage


class OpenInterestRates(LeverageRates):
    """Rates of one market; the bounds are open interest of one side in USD, both 0 for no scaling."""

    open_interest_lower: float = Field(default=0.0, ge=0, description="no scaling up to here, USD")
    open_interest_upper: float = Field(
        default=0.0, ge=0, description="initial margin is all of notional from here, USD"
    )

    @model_validator(mode="after")
    def _ordered(self) -> OpenInterestRates:
        if self.open_interest_upper > 0 and self.open_interest_lower >= self.open_interest_upper:
            raise ValueError("open_interest_lower lies below open_interest_upper")
        return self


class OpenInterestMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its rates."""

    markets: dict[str, OpenInterestRates] = Field(min_length=1, description="rates of each market")
    fraction_step: float = Field(
        default=0.0, ge=0, lt=0.1, description="a scaled fraction is rounded down to its multiples"
    )


@kernel
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    terms = v.terms[m]
    fraction = terms["initial_fraction"]
    lower, upper = terms["open_interest_lower"], terms["open_interest_upper"]
    interest = v.markets[m]["open_interest"]
    if upper > 0.0 and interest >= upper:
        fraction = 1.0
    elif upper > 0.0 and interest > lower:
        added = (1.0 - fraction) * (interest - lower) / (upper - lower)
        step = terms["fraction_step"]
        # A hair above, so that a multiple in binary stays what it is.
        fraction += math.floor(added / step + 1e-9) * step if step > 0.0 else added
    return abs(size) * price * fraction


@inlined
def rates(v, m):
    """Initial and maintenance fractions, as if there were no open interest."""
    return v.terms[m]["initial_fraction"], v.terms[m]["maintenance_fraction"]


MECHANISM = Mechanism(
    name="open_interest_margin",
    stage=Stage.MARGIN,
    parameters=OpenInterestMargin,
    kernels={"maintenance": maintenance, "initial": initial, "rates": rates},
    bound=highest_maintenance,
)
