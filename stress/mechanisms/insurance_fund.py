"""Insurance fund: one balance that pays cash claims, and covers fills below the bankruptcy price.

Stage        waterfall.
Formula      a cash claim is paid up to the balance, in account order; a fill's loss beyond the bankruptcy
             price is paid at once, up to the balance (`cover`). A market draws no more than
             fund_cap_per_market over the path, an account no more than fund_cap_per_account in a step.
Source       dYdX v4-chain, insurance fund and per-block cap of a subaccount's losses
             (x/clob/keeper/liquidations.go @ 84d4664b); Drift protocol-v2, largest insurance of a market
             (controller/insurance.rs:714 @ 0ae3e3b1).
Invariants   I3: never below zero; I7: until the first claim larger than the balance, all sizes agree.
Limits       the balance earns nothing. A claim of a cross account is asked of its markets by attribution; a
             step stands for the block of the account's cap.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from stress.kernels.claims import (
    fund_balance,
    has_cash_claim,
    pay_by_market,
    pay_from_fund,
    present_claim,
    record_passed,
)
from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import BALANCE, CAP, INSURANCE_FUND
from stress.stages import Mechanism, MechanismParameters, Stage

Usd = Annotated[float, Field(ge=0)]


class InsuranceFund(MechanismParameters):
    """`insurance_fund` is USD at t = 0; a cap of null is none."""

    insurance_fund: float = Field(ge=0, description="balance at t = 0, USD")
    fund_cap_per_market: Usd | dict[str, Usd] | None = Field(
        default=None, description="most that the fund pays for one market, USD; a number, or one per market"
    )
    fund_cap_per_account: Usd | None = Field(
        default=None, description="most that the fund pays for one account in one step, USD"
    )

    def balances(self) -> dict[int, float]:
        """The fund's balance at t = 0."""
        return {INSURANCE_FUND: self.insurance_fund}

    def terms(self, market, step):
        """Return the kernel's fields; no cap is an infinite one."""
        caps = ("fund_cap_per_market", "fund_cap_per_account")
        none = {name: 0.0 for name in caps if getattr(self, name) is None}
        return MechanismParameters.terms(self.model_copy(update=none), market, step) | dict.fromkeys(none, math.inf)


@inlined
def left_of_account(v, a):
    """USD that the account may still draw in this step."""
    drawn = v.accounts[a]["fund_drawn"] if v.accounts[a]["fund_drawn_step"] == v.venue[0]["step"] else 0.0
    return max(0.0, v.terms[0]["fund_cap_per_account"] - drawn)


@inlined
def left_of_market(v, m):
    """USD that the market may still draw."""
    return max(0.0, v.terms[m]["fund_cap_per_market"] - v.markets[m]["fund_paid"])


@kernel
def is_capped(v):
    """Tell whether the rule caps what it pays."""
    capped = math.isfinite(v.terms[0]["fund_cap_per_account"])
    for m in range(v.markets.shape[0]):
        capped = capped or math.isfinite(v.terms[m]["fund_cap_per_market"])
    return capped


@kernel
def payable(v, a, claim):
    """USD of a cash claim that the caps allow: those of the markets that bear it, then the account's own."""
    allowed = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        if v.rows[r]["attribution"] > 0.0:
            allowed += left_of_market(v, v.rows[r]["market"])
    return min(allowed, left_of_account(v, a), claim)


@kernel
def absorb(v, t, maintenance, initial):
    """Pay cash claims up to the caps and the balance; returns whether anything was paid."""
    acted = False
    capped = is_capped(v)
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if has_cash_claim(v, a):
            claim = -v.accounts[a]["cash"]
            allowed = payable(v, a, claim) if capped else claim
            if allowed > 0.0:
                present_claim(v, allowed, t)
            paid = min(allowed, fund_balance(v))
            if paid < allowed:
                record_passed(v, a, BALANCE, claim - paid)
            elif paid < claim:
                record_passed(v, a, CAP, claim - paid)
            if capped:
                paid = pay_by_market(v, a, paid, left_of_market)
            elif paid > 0.0:
                pay_from_fund(v, a, -1, paid)
            acted = acted or paid > 0.0
    return acted


@kernel
def cover(v, a, m):
    """USD that can be paid at once for a fill of account `a` in market `m`."""
    return min(fund_balance(v), left_of_market(v, m), left_of_account(v, a))


MECHANISM = Mechanism(
    name="insurance_fund",
    stage=Stage.WATERFALL,
    parameters=InsuranceFund,
    kernels={"absorb": absorb, "cover": cover},
)
