"""Two steps: a part of the position below maintenance, all of it below a lower ratio.

Stage        size.
Formula      ratio = equity / gross notional of the account; first_share x |size|, or |size| where the ratio is
             below whole_below_ratio or the position is worth no more than dust_below.
Source       Perpetual Protocol v1 docs (read 2026-08): below 6.25 % a quarter, below 2.5 % all.
Invariants   closes no more than what is open. An account that stays due although its orders fill is flat after at
             most 1 + log(notional / dust_below) / -log(1 - first_share) rounds.
Limits       the ratio is the account's; a venue with isolated positions has one per account.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage


class TwoStep(MechanismParameters):
    """Shares and ratios are fractions."""

    first_share: float = Field(ge=0.01, le=1, description="share of the position that the first step closes")
    whole_below_ratio: float = Field(ge=0, lt=1, description="equity over notional below which all is closed")
    dust_below: float = Field(default=1.0, ge=0.01, description="a position worth no more is closed whole, USD")


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    notional = 0.0
    for w in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        market = v.markets[v.rows[w]["market"]]
        if market["holding"] == 0:
            notional += abs(v.rows[w]["size"]) * market["mark"]
    terms = v.terms[v.rows[r]["market"]]
    size = abs(v.rows[r]["size"])
    dust = size * v.markets[v.rows[r]["market"]]["mark"] <= terms["dust_below"]
    if dust or equity < terms["whole_below_ratio"] * notional:
        return size
    return terms["first_share"] * size


MECHANISM = Mechanism(name="two_step", stage=Stage.SIZE, parameters=TwoStep, kernels={"quantity": quantity})
