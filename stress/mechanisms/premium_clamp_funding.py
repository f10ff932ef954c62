"""Premium-clamp funding: the mean premium pulled towards an interest rate, capped, paid hourly.

Stage        funding.
Formula      prem = mean over the interval of (V - O) / O, sampled each step;
             F = prem + clamp(interest - prem, -clamp, +clamp) per `period`;
             per interval: rate = min(max(F x interval / period, -cap), cap); index += rate x O.
             Longs pay size x index; both sides settle when an event touches the account.
Source       Hyperliquid docs, funding.md (2026-08-22): interest 0.01 % per 8 h, clamp 0.05 %, paid hourly
             at one eighth, cap 4 % per hour, payment at the oracle price.
Invariants   I1: the index moves no money in sum, since every market nets to zero.
Limits       the premium is that of the mid, not of impact prices; no asymmetric rates; an interval that
             ends while `fund` is blocked is not paid later.
"""

from __future__ import annotations

import math

from pydantic import Field, field_validator

from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import FUND
from stress.stages import (
    Delay,
    Exact,
    Mechanism,
    MechanismParameters,
    MustResolve,
    PositiveByMarket,
    Seconds,
    Stage,
    StateField,
)


class PremiumClampFunding(MechanismParameters):
    """Rates are fractions per `funding_period`, the cap per `funding_interval`."""

    interest: float = Field(default=0.0001, description="interest rate per period, fraction")
    funding_clamp: float = Field(default=0.0005, ge=0, description="largest pull towards the interest rate, fraction")
    funding_period: Exact = Field(default=Seconds(28800.0), gt=0, description="period of the quoted rate")
    funding_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between payments")
    funding_cap: PositiveByMarket = Field(default=0.04, description="largest |rate| per interval, fraction")

    @field_validator("funding_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s; a venue without funding states `funding: null`")
        return interval


@inlined
def impact_premium(bid, ask, oracle):
    """Premium of the prices at which an impact notional trades, fraction; 0 where the oracle price lies between."""
    return (max(bid - oracle, 0.0) - max(oracle - ask, 0.0)) / oracle


@inlined
def pulled_rate(premium, interest, clamp):
    """Rate per period: the premium pulled towards the interest rate by at most the clamp, fraction."""
    return premium + min(max(interest - premium, -clamp), clamp)


@inlined
def interval_rate(rate, interval, period, cap):
    """Rate of one interval, capped, fraction."""
    return min(max(rate * interval / period, -cap), cap)


@inlined
def margin_clamp(factor, initial, maintenance_to_initial):
    """Largest rate per period where the venue ties it to the gap between the margin rates (dYdX v4: whole millionths)."""
    return factor * (initial - math.floor(initial * maintenance_to_initial * 1e6 + 1e-6) * 1e-6)


@inlined
def samples_removed(count, share):
    """How many of the lowest and of the highest samples do not count in a mean (dYdX v4: `share` of either end)."""
    total = int(2.0 * share * count + 1e-9)
    if total >= count:
        return 0, 0
    return total // 2, total - total // 2


@kernel
def accrue(v, path, t):
    """Sample the premium; at a boundary of the interval move the index of each market."""
    for m in range(v.markets.shape[0]):
        state = v.markets[m]
        terms = v.terms[m]
        state["premium_sum"] += (v.markets[m]["mid"] - v.markets[m]["oracle"]) / v.markets[m]["oracle"]
        state["premium_samples"] += 1.0
        steps = terms["funding_interval_steps"]
        if t % steps != 0:
            continue
        if not is_blocked(v, m, t, FUND):
            premium = state["premium_sum"] / state["premium_samples"]
            rate = pulled_rate(premium, terms["interest"], terms["funding_clamp"])
            rate = interval_rate(rate, terms["funding_interval"], terms["funding_period"], terms["funding_cap"])
            v.markets[m]["funding_index"] += rate * v.markets[m]["oracle"]
        state["premium_sum"] = 0.0
        state["premium_samples"] = 0.0


MECHANISM = Mechanism(
    name="premium_clamp_funding",
    stage=Stage.FUNDING,
    parameters=PremiumClampFunding,
    kernels={"accrue": accrue},
    state=(
        StateField("premium_sum", "market", "f8", "fraction"),
        StateField("premium_samples", "market", "f8", "samples"),
    ),
    every_step=True,
)
