"""TWAP-spread funding: the mean of the mid less the mean of the oracle, capped, a part of a day at a time.

Stage        funding.
Formula      per base unit and interval: rate = clamp(S + T / offset_divisor, -T / spread_divisor, T / spread_divisor) x
             interval / 24 h, S = mean V - mean O and T = mean O over the interval, sampled each step; index += rate.
             With revenue_share the pool, where it would pay net, pays at most that share of its positive equity: the
             receiving side's rate is cut to (what payers give + that) / its base units.
Source       Drift protocol-v2, math/funding.rs @ 0ae3e3b1: spread / 24 hourly, offset 1/5000, divisor 33 (tiers A, B),
             20 (C), 10; a third of the fee pool. Perpetual Protocol v1 docs (2021): spread / 24, no clamp, no offset.
Invariants   I1: with equal rates the index moves no money in sum; a cut is booked between the users and the pool.
Limits       plain means over the interval stand for the venues' moving averages; an interval that ends while `fund`
             is blocked is not paid later.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator

from stress.kernels.funding import YEAR, note_payment, pay_sides
from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import equity, open_interest
from stress.kernels.venue import FUND, POOL
from stress.stages import Delay, Mechanism, MechanismParameters, MustResolve, Seconds, Stage, StateField

DAY = 86_400.0
Divisor = Annotated[float, Field(gt=0)]


class TwapSpreadFunding(MechanismParameters):
    """Divisors divide the mean oracle price; null = no clamp, no offset."""

    spread_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between payments")
    spread_divisor: Divisor | dict[str, Divisor] | None = Field(
        default=None, description="largest spread = mean oracle price over this"
    )
    offset_divisor: Divisor | None = Field(default=None, description="constant spread = mean oracle price over this")
    revenue_share: float | None = Field(
        default=None, ge=0, le=1, description="share of the pool's equity that it pays per interval; null = no limit"
    )

    @field_validator("spread_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s; a venue without funding states `funding: null`")
        return interval

    def terms(self, market, step):
        """Return the kernel's fields; no offset is an infinite divisor, no clamp and no limit are 0 and infinite."""
        none = {"spread_divisor": 1e-300, "offset_divisor": math.inf, "revenue_share": math.inf}
        unset = {name: value for name, value in none.items() if getattr(self, name) is None}
        stated = self.model_copy(update=dict.fromkeys(unset, 1.0))
        return MechanismParameters.terms(stated, market, step) | unset


@inlined
def largest_spread(oracle_mean, divisor):
    """Largest |spread|, USD."""
    return oracle_mean / divisor


@inlined
def spread_rate(mid_mean, oracle_mean, divisor, offset_divisor, part_of_day):
    """USD per base unit that longs pay for this part of a day."""
    most = largest_spread(oracle_mean, divisor)
    spread = mid_mean - oracle_mean + oracle_mean / offset_divisor
    return min(max(spread, -most), most) * part_of_day


@inlined
def capped_rates(rate, long, short, payable):
    """Return (rate of longs, rate of shorts, USD that the pool receives); the pool pays no more than `payable`."""
    received = rate * (long - short)
    if received >= -payable:
        return rate, rate, received
    if rate > 0.0:
        return rate, (rate * long + payable) / short, -payable
    return (rate * short - payable) / long, rate, -payable


@kernel
def accrue(v, path, t, rates):
    """Sample both prices; at a boundary of the interval move the index of each market."""
    pool = equity(v, v.traders + POOL)  # at the marks that the last step left
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        terms = v.terms[m]
        market["mid_sum"] += market["mid"]
        market["oracle_sum"] += market["oracle"]
        market["spread_samples"] += 1.0
        if t % terms["spread_interval_steps"] != 0:
            continue
        if not is_blocked(v, m, t, FUND):
            samples = market["spread_samples"]
            part = terms["spread_interval"] / DAY
            rate = spread_rate(
                market["mid_sum"] / samples,
                market["oracle_sum"] / samples,
                terms["spread_divisor"],
                terms["offset_divisor"],
                part,
            )
            for_long = for_short = rate
            if terms["revenue_share"] < math.inf and market["holding"] == 0:
                long, short = open_interest(v, m)
                payable = terms["revenue_share"] * max(0.0, pool)
                for_long, for_short, _ = capped_rates(rate, long, short, payable)
            note_payment(v, m, t, rate)
            pay_sides(v, m, for_long, for_short, POOL)
        market["mid_sum"] = 0.0
        market["oracle_sum"] = 0.0
        market["spread_samples"] = 0.0


@inlined
def quote(v, m, rates):
    """Rate that the present spread gives, per year."""
    market, terms = v.markets[m], v.terms[m]
    mid, oracle = market["mid"], market["oracle"]
    part = terms["spread_interval"] / DAY
    rate = spread_rate(mid, oracle, terms["spread_divisor"], terms["offset_divisor"], part)
    return rate / oracle * YEAR / terms["spread_interval"]


MECHANISM = Mechanism(
    name="twap_spread_funding",
    stage=Stage.FUNDING,
    parameters=TwapSpreadFunding,
    kernels={"accrue": accrue, "quote": quote},
    state=(
        StateField("mid_sum", "market", "f8", "USD"),
        StateField("oracle_sum", "market", "f8", "USD"),
        StateField("spread_samples", "market", "f8", "samples"),
    ),
)
