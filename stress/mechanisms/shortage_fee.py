"""Shortage fee: the insurance fee of a takeover, no more than lets the account come out margined.

Stage        fees.
Formula      f_IF = min(fee_max, 0.95 x max(0, MR + buffer - f_L - shortage / notional)), MR = maintenance / notional of the
             position, shortage = requirement + buffer x (gross notional + losses) - equity; the fee is f_IF x
             filled x oracle price, to the insurance fund. Nothing where MR + buffer <= f_L.
Source       Drift protocol-v2, math/liquidation.rs (calculate_perp_if_fee) and controller/liquidation.rs:78 @ 0ae3e3b1.
Invariants   I1; a bankrupt account pays nothing.
Limits       f_L is stated here again, without the takeover's ramp.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import shortage_to_buffer
from stress.kernels.venue import INSURANCE_FUND
from stress.stages import Mechanism, MechanismParameters, Stage

# The venue's own safety factor, so that rounding does not leave the account short.
SAFETY = 0.95
FEE_QUANTUM = 1e-6
Share = Annotated[float, Field(ge=0, lt=1)]


class ShortageFee(MechanismParameters):
    """Fractions of the notional: a number, or one per market."""

    shortage_fee_max: Share | dict[str, Share] = Field(description="largest insurance fee, fraction of the notional")
    shortage_fee_discount: Share | dict[str, Share] = Field(description="f_L, the discount that liquidators get")
    shortage_fee_buffer: float = Field(
        default=0.02, ge=0, description="buffer above maintenance at which accounts exit"
    )


@inlined
def _whole(fraction):
    """Return a fraction in whole quanta of the venue, rounded down."""
    return np.floor(fraction / FEE_QUANTUM + 1e-6) * FEE_QUANTUM


@inlined
def fee_rate(shortage, notional, margin_ratio, discount, highest):
    """Insurance fee as a fraction of the notional; `margin_ratio` includes the buffer."""
    if notional <= 0.0 or margin_ratio <= discount:
        return 0.0
    spare = margin_ratio - discount - _whole(shortage / notional)
    return min(highest, _whole(SAFETY * max(0.0, spare)))


@kernel
def fee(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance):
    """Fee of a fill of `filled` > 0 base units of row `r`, USD, and the counterparty that gets it."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    size = v.rows[r]["size"]
    buffer = terms["shortage_fee_buffer"]
    notional = abs(size) * v.markets[m]["oracle"]
    own = maintenance(v, m, size, v.markets[m]["mark"]) / (abs(size) * v.markets[m]["mark"])
    short = shortage_to_buffer(v, v.rows[r]["account"], equity, requirement, buffer)
    rate = fee_rate(short, notional, own + buffer, terms["shortage_fee_discount"], terms["shortage_fee_max"])
    return rate * filled * v.markets[m]["oracle"] if equity > 0.0 else 0.0, INSURANCE_FUND


MECHANISM = Mechanism(name="shortage_fee", stage=Stage.FEES, parameters=ShortageFee, kernels={"fee": fee})
