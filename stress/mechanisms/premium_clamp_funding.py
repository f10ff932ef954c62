"""Premium-clamp funding: the mean premium pulled towards an interest rate, capped, paid hourly.

Stage        funding.
Formula      prem = mean over the interval of (V - O) / O, sampled each step, without the lowest and the highest
             tail_removal of the samples; F = prem + clamp(interest - prem, -clamp, +clamp) per `period`;
             with margin_clamp_factor F is kept within +-factor x (initial - maintenance fraction), of the margin rule;
             per interval: rate = min(max(F x interval / period, -cap), cap); index += rate x O.
             Longs pay size x index; both sides settle when an event touches the account.
Source       Hyperliquid docs, funding.md (2026-08-22): interest 0.01 % per 8 h, clamp 0.05 %, paid hourly
             at one eighth, cap 4 % per hour, payment at the oracle price. Tails and margin clamp: dYdX v4-chain,
             x/perpetuals/keeper/perpetual.go:626 @ 84d4664b.
Invariants   I1: the index moves no money in sum, since every market nets to zero.
Limits       with tail_removal an interval has at most 256 samples. The premium is that of the mid, not of impact prices; no asymmetric rates; an interval that
             ends while `fund` is blocked is not paid later.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator

from stress.errors import StudyError
from stress.kernels.funding import YEAR, pay
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

SLOTS = 256


class PremiumClampFunding(MechanismParameters):
    """Rates are fractions per `funding_period`, the cap per `funding_interval`."""

    interest: float = Field(default=0.0001, description="interest rate per period, fraction")
    funding_clamp: float = Field(default=0.0005, ge=0, description="largest pull towards the interest rate, fraction")
    funding_period: Exact = Field(default=Seconds(28800.0), gt=0, description="period of the quoted rate")
    funding_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between payments")
    funding_cap: PositiveByMarket = Field(default=0.04, description="largest |rate| per interval, fraction")

    tail_removal: float = Field(
        default=0.0, ge=0, lt=0.5, description="share of the samples, at either end, that the mean leaves out"
    )
    margin_clamp_factor: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="largest |rate| per period over initial less maintenance fraction; null = no such clamp",
    )

    @field_validator("funding_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s; a venue without funding states `funding: null`")
        return interval

    def terms(self, market, step):
        """Return the kernel's fields; no clamp by margin is an infinite factor."""
        found = MechanismParameters.terms(self.model_copy(update={"margin_clamp_factor": 1.0}), market, step)
        if self.tail_removal > 0 and found["funding_interval_steps"] > SLOTS:
            raise StudyError(
                f"an interval whose tails are removed has at most {SLOTS} steps",
                key="tail_removal",
                value=found["funding_interval_steps"],
                fix="use a longer step, or tail_removal: 0",
            )
        return found | {"margin_clamp_factor": self.margin_clamp_factor or math.inf}


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
def trimmed_mean(samples, count, share):
    """Mean of the first `count` samples without a share at either end; sorts them in place."""
    for i in range(1, count):
        sample = samples[i]
        k = i
        while k > 0 and samples[k - 1] > sample:
            samples[k] = samples[k - 1]
            k -= 1
        samples[k] = sample
    lowest, highest = samples_removed(count, share)
    total = 0.0
    for i in range(lowest, count - highest):
        total += samples[i]
    return total / (count - lowest - highest)


@inlined
def clamped_rate(v, m, premium, rates):
    """Rate of one interval from its premium, with both clamps and the cap, fraction."""
    terms = v.terms[m]
    rate = pulled_rate(premium, terms["interest"], terms["funding_clamp"])
    if terms["margin_clamp_factor"] < math.inf:
        initial, maintenance = rates(v, m)
        most = margin_clamp(terms["margin_clamp_factor"], initial, maintenance / initial)
        rate = min(max(rate, -most), most)
    return interval_rate(rate, terms["funding_interval"], terms["funding_period"], terms["funding_cap"])


@inlined
def quote(v, m, rates):
    """Rate that the present premium gives, per year."""
    premium = (v.markets[m]["mid"] - v.markets[m]["oracle"]) / v.markets[m]["oracle"]
    return clamped_rate(v, m, premium, rates) * YEAR / v.terms[m]["funding_interval"]


@inlined
def accrue(v, path, t, rates):
    """Sample the premium; at a boundary of the interval move the index of each market."""
    markets, by_market = v.markets, v.terms
    for m in range(markets.shape[0]):
        state, terms = markets[m], by_market[m]
        sample = (state["mid"] - state["oracle"]) / state["oracle"]
        state["premium_sum"] += sample
        if terms["tail_removal"] > 0.0:
            state["premium_sample"][int(state["premium_samples"])] = sample
        state["premium_samples"] += 1.0
        steps = terms["funding_interval_steps"]
        if t % steps != 0:
            continue
        if not is_blocked(v, m, t, FUND):
            premium = state["premium_sum"] / state["premium_samples"]
            if terms["tail_removal"] > 0.0:
                premium = trimmed_mean(state["premium_sample"], int(state["premium_samples"]), terms["tail_removal"])
            pay(v, m, t, clamped_rate(v, m, premium, rates) * v.markets[m]["oracle"])
        state["premium_sum"] = 0.0
        state["premium_samples"] = 0.0


MECHANISM = Mechanism(
    name="premium_clamp_funding",
    stage=Stage.FUNDING,
    parameters=PremiumClampFunding,
    kernels={"accrue": accrue, "quote": quote},
    state=(
        StateField("premium_sum", "market", "f8", "fraction"),
        StateField("premium_samples", "market", "f8", "samples"),
        StateField("premium_sample", "market", "f8", "fraction", shape=(SLOTS,)),
    ),
)
