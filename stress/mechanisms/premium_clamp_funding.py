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

from pydantic import Field, field_validator

from stress.kernels.halts import is_blocked
from stress.kernels.jit import kernel
from stress.kernels.venue import FUND
from stress.stages import Delay, Exact, Mechanism, MechanismParameters, MustResolve, Seconds, Stage, StateField


class PremiumClampFunding(MechanismParameters):
    """Rates are fractions per `funding_period`, the cap per `funding_interval`."""

    interest: float = Field(default=0.0001, description="interest rate per period, fraction")
    funding_clamp: float = Field(default=0.0005, ge=0, description="largest pull towards the interest rate, fraction")
    funding_period: Exact = Field(default=Seconds(28800.0), gt=0, description="period of the quoted rate")
    funding_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between payments")
    funding_cap: float = Field(default=0.04, gt=0, description="largest |rate| per interval, fraction")

    @field_validator("funding_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s; a venue without funding states `funding: null`")
        return interval


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
            pull = min(max(terms["interest"] - premium, -terms["funding_clamp"]), terms["funding_clamp"])
            rate = (premium + pull) * terms["funding_interval"] / terms["funding_period"]
            rate = min(max(rate, -terms["funding_cap"]), terms["funding_cap"])
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
