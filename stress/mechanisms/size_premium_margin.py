"""Square-root size premium: the margin fraction rises with the square root of the position's base units.

Stage        margin.
Formula      base fraction w (initial: 1 / leverage_cap; maintenance: that x maintenance_to_initial_ratio);
             fraction(q) = max(w, 0.8 w + size_premium x sqrt(q)), w itself where size_premium = 0.
             High leverage mode: maintenance alike from its own w; initial with p = the ordinary w, d = the mode's w
             and a = 0.8 p + size_premium x sqrt(q): d + (p - d)(1 - (p - a)/(p / 5)) for a < p, a for a > p, and
             d where no premium is charged. Each of 0.2 w and the premium is rounded down to `fraction_step`.
Source       Drift protocol-v2, math/margin.rs:47,116 and state/perp_market.rs:461 @ 0ae3e3b1; imf_factor is
             `size_premium`, in 1 / sqrt(base unit): not comparable between assets.
Invariants   the fraction does not fall with size; maintenance does not exceed initial.
Limits       books hold positions only: `with_orders` is what open orders would ask, at the worst of all bids and all asks
             filled and ORDER_CHARGE for each. One mode for all accounts of a market.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from stress.kernels.jit import inlined, kernel
from stress.stages import LeverageRates, MarketParameters, Mechanism, Stage

ORDER_CHARGE = 0.01  # USD per open order


class SizePremiumRates(LeverageRates):
    """Rates of one market; the two of high leverage mode are given together."""

    size_premium: float = Field(default=0.0, ge=0, description="added fraction per square root of a base unit")
    high_leverage_cap: float | None = Field(
        default=None, ge=1, description="leverage in high leverage mode; null = off"
    )
    high_leverage_ratio: float | None = Field(default=None, gt=0, lt=1, description="maintenance over initial there")

    @model_validator(mode="after")
    def _whole(self) -> SizePremiumRates:
        if (self.high_leverage_cap is None) != (self.high_leverage_ratio is None):
            raise ValueError("high_leverage_cap and high_leverage_ratio are given together")
        return self

    def terms(self, market, step):
        """Return fractions of notional; those of a mode that is off are 0."""
        off = {"high_leverage_cap": math.inf, "high_leverage_ratio": 0.0} if self.high_leverage_cap is None else {}
        rates = LeverageRates.terms(self.model_copy(update=off), market, step)
        mode = 1.0 / rates.pop("high_leverage_cap")
        ratio = rates.pop("high_leverage_ratio")
        return rates | {"mode_initial_fraction": mode, "mode_maintenance_fraction": mode * ratio}


class SizePremiumMargin(MarketParameters):
    """`markets` maps a market, or `default`, to its rates."""

    markets: dict[str, SizePremiumRates] = Field(min_length=1, description="rates of each market")
    fraction_step: float = Field(default=0.0, ge=0, lt=0.1, description="fractions are rounded down to multiples of it")


@inlined
def _down(value, step):
    """Round down to a multiple of `step`; a hair above, so that a multiple in binary stays what it is."""
    return math.floor(value / step + 1e-9) * step if step > 0.0 else value


@inlined
def with_premium(v, m, size, weight):
    """Return the fraction that `weight` becomes with the premium of a size, without its floor."""
    terms = v.terms[m]
    premium = terms["size_premium"] * math.sqrt(abs(size))
    if premium == 0.0:
        return weight
    step = terms["fraction_step"]
    return weight - _down(0.2 * weight, step) + _down(premium, step)


@inlined
def maintenance_fraction(v, m, size):
    """Return maintenance as a fraction of notional."""
    weight = v.terms[m]["mode_maintenance_fraction"]
    if weight == 0.0:
        weight = v.terms[m]["maintenance_fraction"]
    return max(weight, with_premium(v, m, size, weight))


@kernel
def opening_fraction(v, m, size, weight, mode_weight):
    """Return the fraction to open or to fill: `weight` outside, `mode_weight` inside high leverage mode (0 = off)."""
    adjusted = with_premium(v, m, size, weight)
    if mode_weight == 0.0:
        return max(weight, adjusted)
    if adjusted < weight:
        step = v.terms[m]["fraction_step"]
        return mode_weight + (weight - mode_weight) * (1.0 - (weight - adjusted) / _down(0.2 * weight, step))
    return mode_weight if adjusted == weight else adjusted


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position, USD."""
    return abs(size) * price * maintenance_fraction(v, m, size)


@kernel
def fill(v, m, size, price):
    """Requirement of one position to fill an order, USD: weights midway between those to keep and those to open."""
    terms, step = v.terms[m], v.terms[m]["fraction_step"]
    weight = _down(0.5 * (terms["initial_fraction"] + terms["maintenance_fraction"]), step)
    mode_weight = _down(0.5 * (terms["mode_initial_fraction"] + terms["mode_maintenance_fraction"]), step)
    return abs(size) * price * opening_fraction(v, m, size, weight, mode_weight)


@kernel
def with_orders(v, m, size, price, bids, asks, orders):
    """Return (maintenance requirement, notional), USD, of a position and its open orders; bids, asks >= 0 base units."""
    worst = max(abs(size + bids), abs(size - asks))
    return maintenance(v, m, worst, price) + ORDER_CHARGE * orders, worst * price


@kernel
def initial(v, m, size, price):
    """Initial requirement of one position, USD."""
    terms = v.terms[m]
    return abs(size) * price * opening_fraction(v, m, size, terms["initial_fraction"], terms["mode_initial_fraction"])


@inlined
def bound(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD: size, and with it the fraction, is fixed."""
    return maintenance(v, m, size, high)


MECHANISM = Mechanism(
    name="size_premium_margin",
    stage=Stage.MARGIN,
    parameters=SizePremiumMargin,
    kernels={"maintenance": maintenance, "initial": initial},
    bound=bound,
)
