"""Share multiples: every position is reduced by the smallest multiple of a share that restores a target ratio.

Stage        size.
Formula      after a share s: requirement (1 - s), equity - penalty, penalty = s x penalty_rate x requirement;
             s = smallest multiple of share_step with requirement / equity below target_margin_ratio, else 1;
             quantity = s x |size| on every row of the account, the rows of one round alike, also once the first of
             them have cured it; a row worth no more than dust_below is closed whole.
Source       Paradex docs, risk-system/liquidations (read 2026-08); the worked table charges 50 %, the prose says 70 %.
Invariants   0 < s <= 1; a smaller multiple would not have met the target. An account that stays due although its
             orders fill is flat after at most 1 + log(notional / dust_below) / -log(1 - share_step) rounds.
Limits       the penalty is what the rule expects; what is charged is the fee rule's. Rows are reduced in market order.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.stages import Mechanism, MechanismParameters, Stage, StateField


class ShareMultiples(MechanismParameters):
    """Shares and ratios are fractions."""

    share_step: float = Field(ge=0.01, le=1, description="shares are multiples of this")
    target_margin_ratio: float = Field(gt=0, le=1, description="requirement over equity to come below")
    penalty_rate: float = Field(default=0.0, ge=0, description="penalty over the requirement of what is closed")
    dust_below: float = Field(default=1.0, ge=0.01, description="a position worth no more is closed whole, USD")


@inlined
def after_share(equity, requirement, share, penalty_rate):
    """Return (requirement, penalty, equity) after closing a share of every position at the mark, USD."""
    penalty = share * penalty_rate * requirement
    return requirement * (1.0 - share), penalty, equity - penalty


@kernel
def smallest_share(equity, requirement, share_step, target_margin_ratio, penalty_rate):
    """Return the smallest multiple of the step that comes below the target; 1 where none below 1 does."""
    for k in range(1, math.ceil(1.0 / share_step - 1e-9)):
        needed, _, left = after_share(equity, requirement, k * share_step, penalty_rate)
        if left > 0.0 and needed < target_margin_ratio * left:
            return k * share_step
    return 1.0


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    account = v.accounts[a]
    if account["share_round"] != v.venue[0]["round"]:
        terms = v.terms[0]
        account["share_round"] = v.venue[0]["round"]
        account["share"] = smallest_share(
            equity, requirement, terms["share_step"], terms["target_margin_ratio"], terms["penalty_rate"]
        )
    size = abs(v.rows[r]["size"])
    m = v.rows[r]["market"]
    return size if size * v.markets[m]["mark"] <= v.terms[m]["dust_below"] else account["share"] * size


@inlined
def goes_on(v, a):
    """Tell whether a share was set for the account in this round: it is that of all its rows."""
    return v.accounts[a]["share_round"] == v.venue[0]["round"]


MECHANISM = Mechanism(
    name="share_multiples",
    stage=Stage.SIZE,
    parameters=ShareMultiples,
    kernels={"quantity": quantity, "goes_on": goes_on},
    state=(
        StateField("share_round", "account", "f8", "round of the path", reset=-1),
        StateField("share", "account", "f8", "fraction"),
    ),
)
