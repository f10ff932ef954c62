"""Adaptive funding with borrowing: the rate climbs while one side is larger; both sides rent the pool.

Stage        funding.
Formula      k = |L - S|^e / (L + S), L and S open interest in USD. Where the skew has the direction of the saved rate f:
             k > stable: f += sign x k x increase x dt; k < decrease threshold: |f| -= decrease x dt; between: f stays.
             Where it has not: f += sign x k x increase x dt. |f| <= rate max; what is paid is at least rate min. The larger
             payer's side pays |f| x dt per USD, the other shares it by size. Borrowing per USD of a side: with u = its open
             interest / (pool x reserve factor), base x u + max(0, u - optimal) / (1 - optimal) x (above - base) per
             year; without the kink, borrow_factor x (open interest)^borrow_exponent / pool, u at most 1. The smaller side pays none.
Source       GMX v2, market/MarketUtils.sol (getNextFundingFactorPerSecond, kink and power borrowing) @ a5c0c883.
Invariants   I1: users pay users and the pool, nothing is left over.
Limits       rates move each step; money moves each charge interval, at the oracle price of then; a side without
             anybody on the other pays the pool.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from stress.kernels.funding import YEAR, note_payment, pay_sides
from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import equity, open_interest
from stress.kernels.venue import FUND, POOL
from stress.stages import Delay, Mechanism, MechanismParameters, MustResolve, Seconds, Stage, StateField

NotNegative = Annotated[float, Field(ge=0)]


class AdaptiveFunding(MechanismParameters):
    """Rates are fractions per year; funding increase and decrease are changes of the yearly rate per second."""

    rate_max: NotNegative | dict[str, NotNegative] = Field(description="largest funding rate, per year")
    rate_min: NotNegative = Field(default=0.0, description="least funding rate that is paid, per year")
    rate_increase: NotNegative = Field(description="growth of the yearly rate per second at k = 1")
    rate_decrease: NotNegative = Field(default=0.0, description="fall of the yearly rate per second")
    stable_above: NotNegative = Field(default=0.0, description="k above which the rate grows")
    decrease_below: NotNegative = Field(default=0.0, description="k below which the rate falls")
    skew_exponent: float = Field(default=1.0, gt=0, description="e")
    borrow_curve: Literal["kinked", "power"] = Field(default="kinked", description="how the rate grows with use")
    borrow_factor: NotNegative = Field(
        default=0.0, description="power: rate per year of 1 USD borrowed, times the pool"
    )
    borrow_exponent: float = Field(default=1.0, gt=0, description="power: of the open interest of the side")
    borrow_base: NotNegative = Field(default=0.0, description="borrowing rate at full use, per year")
    borrow_above: NotNegative = Field(default=0.0, description="borrowing rate at full use beyond the kink, per year")
    borrow_optimal: float = Field(default=0.75, ge=0, lt=1, description="use at which the kink lies")
    reserve_factor: float = Field(default=1.0, gt=0, description="open interest that the pool carries, over its equity")
    charge_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between payments")

    @field_validator("charge_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s; a venue without funding states `funding: null`")
        return interval


# A rate that has fallen to nothing keeps its sign: the venue leaves its smallest unit.
SMALLEST = 1e-30


@inlined
def next_rate(saved, long, short, dt, increase, decrease, stable, low, largest, exponent):
    """Saved rate after `dt` (+ = longs pay), in the unit of `largest`; `long`, `short` in USD."""
    if long + short <= 0.0:
        return saved
    net = abs(long - short)
    k = (net if exponent == 1.0 else net**exponent) / (long + short)  # a power costs
    grows = True
    if (saved > 0.0 and long > short) or (saved < 0.0 and long < short):
        grows = k > stable
        if k < low:
            size = max(SMALLEST, abs(saved) - decrease * dt)
            saved = size if saved > 0.0 else -size
    if grows:
        saved += (1.0 if long > short else -1.0) * k * increase * dt
    return min(max(saved, -largest), largest)


@inlined
def usage(reserved, pool, reserve_factor):
    """Use of the pool by the open interest of one side."""
    return reserved / (pool * reserve_factor)


@inlined
def kinked_rate(used, base, above, optimal):
    """Borrowing rate at a use of the pool, in the unit of `base`."""
    return base * used + max(0.0, used - optimal) / (1.0 - optimal) * max(0.0, above - base)


@inlined
def power_rate(reserved, pool, factor, exponent):
    """Borrowing rate of markets without a kink: factor x reserved^exponent / pool."""
    return factor * reserved**exponent / pool


@kernel
def moved_rate(v, m):
    """Saved rate after one more step at the present skew, per year."""
    market, terms = v.markets[m], v.terms[m]
    long, short = open_interest(v, m)
    return next_rate(
        market["saved_rate"],
        long * market["oracle"],
        short * market["oracle"],
        v.step_seconds,
        terms["rate_increase"],
        terms["rate_decrease"],
        terms["stable_above"],
        terms["decrease_below"],
        terms["rate_max"],
        terms["skew_exponent"],
    )


@inlined
def paid_rate(v, m, rate):
    """Rate that is paid at a saved rate, per year."""
    return max(abs(rate), v.terms[m]["rate_min"]) * (1.0 if rate >= 0.0 else -1.0)


@inlined
def shared(due, long, short):
    """Return (what longs pay, what shorts receive), per unit: one side pays |due|, the other shares it by size."""
    if due >= 0.0:
        return due, due * long / short if short > 0.0 else 0.0
    return due * short / long if long > 0.0 else 0.0, due


@kernel
def quote(v, m, rates):
    """Rate that the next step would charge, per year."""
    return paid_rate(v, m, moved_rate(v, m))


@kernel
def accrue(v, path, t, rates):
    """Move the rates by the skew of now; at a boundary of the interval charge both sides."""
    pool = equity(v, v.traders + POOL)  # at the marks that the last step left
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        terms = v.terms[m]
        if market["holding"] != 0:
            continue
        price = market["oracle"]
        long, short = open_interest(v, m)
        market["saved_rate"] = moved_rate(v, m)
        market["funding_due"] += paid_rate(v, m, market["saved_rate"]) * v.step_seconds / YEAR
        if long != short:
            side = max(long, short) * price
            if pool > 0.0:
                if terms["borrow_curve"] == 0:
                    used = min(usage(side, pool, terms["reserve_factor"]), 1.0)
                    borrowing = kinked_rate(used, terms["borrow_base"], terms["borrow_above"], terms["borrow_optimal"])
                else:
                    reserved = min(side, terms["reserve_factor"] * pool)  # the venue reserves no more
                    borrowing = power_rate(reserved, pool, terms["borrow_factor"], terms["borrow_exponent"])
                market["borrowing_due"] += borrowing * v.step_seconds / YEAR
        if t % terms["charge_interval_steps"] != 0:
            continue
        if not is_blocked(v, m, t, FUND):
            note_payment(v, m, t, market["funding_due"] * price)
            by_longs, to_shorts = shared(market["funding_due"] * price, long, short)
            rent = market["borrowing_due"] * price
            if long > short:
                by_longs += rent
            else:
                to_shorts -= rent
            pay_sides(v, m, by_longs, to_shorts, POOL)
        market["funding_due"] = 0.0
        market["borrowing_due"] = 0.0


MECHANISM = Mechanism(
    name="adaptive_funding",
    stage=Stage.FUNDING,
    parameters=AdaptiveFunding,
    kernels={"accrue": accrue, "quote": quote},
    state=(
        StateField("saved_rate", "market", "f8", "per year"),
        StateField("funding_due", "market", "f8", "fraction since the last charge"),
        StateField("borrowing_due", "market", "f8", "fraction since the last charge, larger side"),
    ),
)
