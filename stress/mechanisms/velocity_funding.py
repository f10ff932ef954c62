"""Velocity funding: the skew sets how fast the rate moves, not the rate.

Stage        funding.
Formula      velocity = clamp(skew / scale, -1, 1) x velocity_max per day^2; the rate per day integrates it; over a step of
             d days index += O x (rate before + rate after) / 2 x d. skew = net size of the traders.
Source       Synthetix perps v3, PerpsMarket.sol (currentFundingRate, unrecordedFunding) @ 23585f73; velocity 36, BTC and
             ETH 9 (SCCP-316 and later).
Invariants   I1: the index moves no money in sum, since every market nets to zero (the pool is a row).
Limits       the rate starts at funding_rate_start; while `fund` is blocked the rate moves on and nothing is paid.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.funding import pay
from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import skew
from stress.kernels.venue import FUND
from stress.stages import Mechanism, MechanismParameters, Stage, StateField

DAY = 86_400.0
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class VelocityFunding(MechanismParameters):
    """The scale is in base units, the velocity per day^2: a number, or one per market."""

    funding_skew_scale: Positive | dict[str, Positive] = Field(description="skew of full velocity, base units")
    velocity_max: NotNegative | dict[str, NotNegative] = Field(
        description="largest change of the daily rate, per day^2"
    )
    funding_rate_start: float = Field(default=0.0, description="daily rate at t = 0, fraction, + = longs pay")


@inlined
def velocity(net, scale, largest):
    """Change of the daily rate, per day^2."""
    return min(max(net / scale, -1.0), 1.0) * largest


@inlined
def accrued(price, before, after, days):
    """USD per base unit that longs pay while the rate moves from `before` to `after` in a straight line."""
    return price * 0.5 * (before + after) * days


@kernel
def accrue(v, path, t, rates):
    """Move the rate by the skew as it stands, and the index by the mean rate of the step."""
    days = v.step_seconds / DAY
    for m in range(v.markets.shape[0]):
        terms = v.terms[m]
        before = v.markets[m]["rate_moved"] + terms["funding_rate_start"]
        moved = velocity(skew(v, m), terms["funding_skew_scale"], terms["velocity_max"]) * days
        v.markets[m]["rate_moved"] += moved
        if not is_blocked(v, m, t, FUND):
            pay(v, m, t, accrued(v.markets[m]["oracle"], before, before + moved, days))


@inlined
def quote(v, m, rates):
    """Rate as it stands, per year."""
    return 365.0 * (v.markets[m]["rate_moved"] + v.terms[m]["funding_rate_start"])


MECHANISM = Mechanism(
    name="velocity_funding",
    stage=Stage.FUNDING,
    parameters=VelocityFunding,
    kernels={"accrue": accrue, "quote": quote},
    state=(StateField("rate_moved", "market", "f8", "daily rate less that of t = 0"),),
)
