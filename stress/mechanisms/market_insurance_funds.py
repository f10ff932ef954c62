"""Insurance funds per market: each market has its own balance, and no market draws on another's.

Stage        waterfall.
Formula      a market's balance = its part at t = 0 + fees from its fills - what was paid for it. A cash claim is asked of the
             account's markets by attribution (vocabulary.ATTRIBUTION_RULE), each up to its balance; a fill's loss beyond
             the account's margin is paid by its own market at once (`cover`).
Source       dYdX v4-chain, isolated markets with an insurance fund of their own (x/perpetuals @ 84d4664b).
Invariants   I3, for every market.
Limits       the report's fund is the sum over markets; I7 holds for each market's balance, not for the sum.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.claims import fund_balance, has_cash_claim, pay_by_market, present_claim, record_passed
from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import BALANCE, INSURANCE_FUND
from stress.stages import Mechanism, MechanismParameters, Stage

Usd = Annotated[float, Field(ge=0)]


class MarketInsuranceFunds(MechanismParameters):
    """`market_funds` maps a market to its balance at t = 0, USD; the venue holds their sum."""

    market_funds: dict[str, Usd] = Field(min_length=1, description="balance of each market's fund at t = 0, USD")

    def balances(self) -> dict[int, float]:
        """The sum of all balances at t = 0."""
        return {INSURANCE_FUND: sum(self.market_funds.values())}

    def terms(self, market, step):
        """Return the market's balance; a market that is not named has none."""
        return {"market_fund": self.market_funds.get(market, 0.0)}


@inlined
def balance(v, m):
    """Balance of one market's fund, USD >= 0."""
    own = v.terms[m]["market_fund"] + v.markets[m]["fund_received"] - v.markets[m]["fund_paid"]
    return max(0.0, min(own, fund_balance(v)))  # sums round: together no more than there is


@kernel
def absorb(v, t, maintenance, initial):
    """Pay cash claims, each market its part; returns whether anything was paid."""
    acted = False
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if not has_cash_claim(v, a):
            continue
        claim = -v.accounts[a]["cash"]
        present_claim(v, claim, t)
        paid = pay_by_market(v, a, claim, balance)
        if paid < claim:
            record_passed(v, a, BALANCE, claim - paid)
        acted = acted or paid > 0.0
    return acted


@kernel
def cover(v, a, m):
    """USD that the market's fund can pay at once for a fill."""
    return balance(v, m)


MECHANISM = Mechanism(
    name="market_insurance_funds",
    stage=Stage.WATERFALL,
    parameters=MarketInsuranceFunds,
    kernels={"absorb": absorb, "cover": cover},
)
