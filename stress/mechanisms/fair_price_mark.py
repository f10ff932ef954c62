"""Fair-price mark: the oracle price and the basis that the last funding payment stands for, fading until the next.

Stage        mark.
Formula      M = O + B x (1 - min(age / basis_interval, 1)), age = time since the last payment p (USD per base unit).
             carried: B = p, what a position still has to pay of one interval. implied: B = p / (basis_interval / 24 h) -
             O x basis_offset, the spread of mid and oracle for which a daily spread rule would have asked p.
Source       BitMEX docs, fair price marking (read 2026-11): index x (1 + funding rate x time left / interval); Drift
             protocol-v2, math/oracle.rs and state/perp_market.rs (last funding basis) @ 0ae3e3b1.
Invariants   M = O before the first payment, an interval after the last, and without funding.
Limits       BitMEX carries the rate of the coming payment, here it is that of the last one; a payment in the same step
             is seen at the next.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import MARK_UPDATE
from stress.stages import Exact, Mechanism, MechanismParameters, Seconds, Stage

DAY = 86_400.0


class FairPriceMark(MechanismParameters):
    """Which basis, and how long it lasts."""

    basis: Literal["carried", "implied"] = Field(default="carried", description="what of the last payment is the basis")
    basis_interval: Exact = Field(default=Seconds(28_800.0), gt=0, description="time between funding payments")
    basis_offset: float = Field(
        default=0.0, ge=0, lt=1, description="implied: constant spread that the funding rule adds"
    )


@inlined
def carried_basis(payment, age):
    """What is left of a payment at an age in intervals, USD."""
    return payment * (1.0 - min(age, 1.0))


@inlined
def implied_basis(price, payment, oracle_mean, offset, part_of_day, age):
    """Distance from the oracle price that a payment implies, USD, without the offset; gone at an age of 1 interval."""
    return price * (payment / (oracle_mean * part_of_day) - offset) * (1.0 - min(age, 1.0))


@kernel
def mark(v, path, t, first_round):
    """Write M of each market."""
    for m in range(v.markets.shape[0]):
        if is_blocked(v, m, t, MARK_UPDATE):
            continue
        market, terms = v.markets[m], v.terms[m]
        oracle, payment = market["oracle"], market["last_payment"]
        age = (t - market["last_payment_step"]) * v.step_seconds / terms["basis_interval"]
        if market["funding_sign"] == 0.0:
            basis = 0.0
        elif terms["basis"] == 0:
            basis = carried_basis(payment, age)
        else:
            part = terms["basis_interval"] / DAY
            basis = implied_basis(oracle, payment, oracle, terms["basis_offset"], part, age)
        market["mark"] = oracle + basis


MECHANISM = Mechanism(name="fair_price_mark", stage=Stage.MARK, parameters=FairPriceMark, kernels={"mark": mark})
