"""Insurance fund: one balance that pays cash claims, and covers fills below the bankruptcy price.

Stage        waterfall.
Formula      a cash claim is paid up to the balance, in account order; a fill's loss beyond the bankruptcy
             price is paid at once, up to the balance (`cover`).
Source       dYdX v4-chain, insurance fund (x/clob/keeper/liquidations.go @ 84d4664b).
Invariants   I3: never below zero; I7: until the first claim larger than the balance, all sizes agree.
Limits       one fund for all markets; the balance earns nothing.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.claims import fund_balance, has_cash_claim, pay_from_fund, present_claim, record_passed
from stress.kernels.jit import kernel
from stress.kernels.venue import BALANCE, INSURANCE_FUND
from stress.stages import Mechanism, MechanismParameters, Stage


class InsuranceFund(MechanismParameters):
    """`insurance_fund` is USD at t = 0."""

    insurance_fund: float = Field(ge=0, description="balance at t = 0, USD")

    def balances(self) -> dict[int, float]:
        """The fund's balance at t = 0."""
        return {INSURANCE_FUND: self.insurance_fund}


@kernel
def absorb(v, t, maintenance):
    """Pay cash claims up to the balance; returns whether anything was paid."""
    acted = False
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if has_cash_claim(v, a):
            claim = -v.accounts[a]["cash"]
            present_claim(v, claim, t)
            paid = min(claim, fund_balance(v))
            if paid < claim:
                record_passed(v, a, BALANCE, claim - paid)
            if paid > 0.0:
                pay_from_fund(v, a, paid)
                acted = True
    return acted


@kernel
def cover(v):
    """USD that can be paid for a fill at once."""
    return fund_balance(v)


MECHANISM = Mechanism(
    name="insurance_fund",
    stage=Stage.WATERFALL,
    parameters=InsuranceFund,
    kernels={"absorb": absorb, "cover": cover},
)
