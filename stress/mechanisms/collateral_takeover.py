"""Collateral takeover: liquidators pay an account's debt and take its collateral at a discount, as far as needed.

Stage        execution.
Formula      of a holding only, from an account that owes cash. w = weight of the holding, A = asset_multiplier,
             B = liability_multiplier; shortage = requirement - equity;
             fund fee f = min(fund_fee_cap, max(0, 1 - w A / B - shortage / debt));
             liability = shortage / (1 - f - w A / B), all of the debt where the divisor is not positive;
             asset = liability x A / (B x mark), the whole holding where less than takeover_dust_below would be left;
             fill of min(asset, holding, what may be sold) at mark x B / A; f x liability goes to the insurance fund.
Source       Drift protocol-v2, math/liquidation.rs and controller/liquidation.rs (liquidate_spot) @ 0ae3e3b1.
Invariants   I1; takes no more than what is held; the discount never exceeds 1 - B / A.
Limits       the debt is in USD at a weight of 1; liquidators are the outside book, without limit of capital. Rows of
             contracts pass to the venues after it.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import touch
from stress.kernels.venue import ELIGIBILITY, INSURANCE_FUND, NO_LIMIT, OUTSIDE_BOOK
from stress.stages import Mechanism, MechanismParameters, NonNegativeByMarket, PositiveByMarket, Stage


class CollateralTakeover(MechanismParameters):
    """Multipliers may be given by asset."""

    asset_multiplier: PositiveByMarket = Field(default=1.0, description="value of collateral given per USD of debt")
    liability_multiplier: PositiveByMarket = Field(default=1.0, description="share of the debt that is paid per USD")
    fund_fee_cap: NonNegativeByMarket = Field(default=0.0, description="largest fee to the fund, of the debt paid")
    component_step: float = Field(default=0.0, ge=0, lt=0.1, description="w A / B is rounded down to its multiples")
    takeover_dust_below: float = Field(
        default=1.0, ge=0, description="a holding worth less after the sale is taken too, USD"
    )


@inlined
def component(weight, asset_multiplier, liability_multiplier, step):
    """Return w A / B, rounded down to a multiple of `step` (0 = not)."""
    value = weight * asset_multiplier / liability_multiplier
    return math.floor(value / step + 1e-9) * step if step > 0.0 else value


@inlined
def fund_fee(shortage, debt, liability_weight, part, cap):
    """Fee to the fund as a fraction of the debt paid; `debt` in USD, `part` = w A / B."""
    if liability_weight <= 0.0 or debt <= 0.0:
        return 0.0
    return min(cap, max(0.0, (liability_weight - part - shortage / debt) / liability_weight))


@inlined
def liability_to_cover(shortage, liability_weight, part, fee, price):
    """Units of the liability whose repayment cures a shortage (USD); infinite where repaying cures nothing."""
    freed = price * (liability_weight * (1.0 - fee) - part)
    return shortage / freed if freed > 0.0 else math.inf


@inlined
def asset_for_liability(held, liability, liability_price, price, asset_multiplier, liability_multiplier, dust):
    """Units of the asset that liquidators take for a liability; all that is held where less than dust (USD) remains."""
    taken = liability * liability_price * asset_multiplier / (liability_multiplier * price)
    return held if taken < held and (held - taken) * price < dust else taken


@inlined
def liability_for_asset(asset, price, liability_price, asset_multiplier, liability_multiplier):
    """Units of the liability that a transfer of the asset implies."""
    return asset * price * liability_multiplier / (asset_multiplier * liability_price)


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Take of the holding in row `r` what cures the account's shortage."""
    m = v.rows[r]["market"]
    held = v.rows[r]["size"]
    debt = -v.accounts[a]["cash"]
    if v.markets[m]["holding"] == 0 or held <= 0.0 or debt <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, ELIGIBILITY
    terms = v.terms[m]
    mark = v.markets[m]["mark"]
    multiple, share = terms["asset_multiplier"], terms["liability_multiplier"]
    weight = 1.0 - maintenance(v, m, held, mark) / (held * mark)
    part = component(weight, multiple, share, terms["component_step"])
    shortage = requirement - equity
    fee = fund_fee(shortage, debt, 1.0, part, terms["fund_fee_cap"])
    liability = min(debt, liability_to_cover(shortage, 1.0, part, fee, 1.0))
    taken = asset_for_liability(held, liability, 1.0, mark, multiple, share, terms["takeover_dust_below"])
    filled = min(taken, min(quantity, held))
    if fee > 0.0 and v.venue[0]["has_fund"] == 1:
        paid = fee * liability_for_asset(filled, mark, 1.0, multiple, share)
        touch(v, a)
        touch(v, v.traders + INSURANCE_FUND)
        v.accounts[a]["cash"] -= paid
        v.accounts[v.traders + INSURANCE_FUND]["cash"] += paid
        v.markets[m]["fund_received"] += paid
        v.out[0]["fund_received"] += paid
        v.venue[0]["claims_less_fees"] -= paid
    return filled, mark * share / multiple, OUTSIDE_BOOK, NO_LIMIT


MECHANISM = Mechanism(
    name="collateral_takeover",
    stage=Stage.EXECUTION,
    parameters=CollateralTakeover,
    kernels={"execute": execute},
)
