"""Adaptive fund: an insurance fund that aims at a share of open interest, grows at once and shrinks late.

Stage        waterfall.
Formula      In words: the fund should hold a stated share of the open interest that it insures. Every day fees of ordinary
             trading bring it something, and each liquidation brings it its penalty. If it is below target at a review,
             its providers, who have set money aside, pay in part of what is missing, but not more than a stated share of the
             target. If it is above target it pays back only after it has not been asked for anything for a
             quiet time, only the excess, and only slowly; never while withdrawals are halted.
             Target = fund_target x open interest (long side, at the marks). Each review_interval: inflow fund_fee_rate x open
             interest x interval / 1 d from outside; below target: min(target - balance, fund_top_up x target, what the
             providers have left); above it, after fund_quiet without a claim: fund_release x (balance - target) back.
             Claims are paid as by a plain fund: cash claims in account order, fills at once (`cover`).
Source       Chitra (2025), arXiv 2512.01112 (v3): IF' = IF + fees + penalties + provider flow - claims; newsvendor size VaR of the
             deficit. The review rule is a design of this project.
Invariants   I1: the fees of ordinary trading are a named flow from outside; I3: never below zero.
Limits       ordinary trading is not simulated: its fees are a rate on open interest; providers neither fail nor leave.
             With the balance the target acts back on nothing but money, so paths agree up to the first exhaustion.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from stress.kernels.claims import fund_balance, has_cash_claim, pay_from_fund, present_claim, record_passed
from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import open_interest, touch
from stress.kernels.venue import BALANCE, INSURANCE_FUND, TREASURY, WITHDRAW
from stress.stages import (
    Delay,
    Mechanism,
    MechanismParameters,
    MustResolve,
    RoundedUp,
    Seconds,
    Stage,
    StateField,
    format_duration,
)

DAY = 86_400.0


class AdaptiveFund(MechanismParameters):
    """Balances are USD at t = 0, shares are fractions."""

    adaptive_fund: float = Field(ge=0, description="balance at t = 0, USD")
    provider_commitment: float = Field(default=0.0, ge=0, description="what providers have set aside at t = 0, USD")
    fund_target: float = Field(ge=0, description="aimed balance as a share of open interest")
    fund_fee_rate: float = Field(
        default=0.0, ge=0, description="fees of ordinary trading, share of open interest per day"
    )
    fund_top_up: float = Field(default=0.1, ge=0, description="most that providers add per review, share of the target")
    fund_release: float = Field(default=0.1, ge=0, le=1, description="share of the excess that is paid back per review")
    fund_quiet: RoundedUp = Field(
        default=Seconds(604_800.0), description="time without claims before anything goes back"
    )
    review_interval: MustResolve = Field(default=Delay(value=Seconds(3600.0)), description="time between reviews")

    @field_validator("review_interval")
    @classmethod
    def _recurs(cls, interval: Delay) -> Delay:
        if interval.value <= 0 or interval.at_step == 0:
            raise ValueError("an interval lasts longer than 0s")
        return interval

    def notes(self) -> tuple[str, ...]:
        """Say the fund's rule in words."""
        every = format_duration(self.review_interval.value)
        return (
            f"The fund aims at {self.fund_target:.3g} of the open interest that it insures. Fees of ordinary trading bring it "
            f"{self.fund_fee_rate:.3g} of open interest a day, liquidations their penalties. Every {every}: below its target "
            f"its providers pay in what is missing, at most {self.fund_top_up:.3g} of the target and no more than they have "
            f"set aside; above it, after {format_duration(self.fund_quiet)} without a claim, {self.fund_release:.3g} of the "
            "excess goes back, unless withdrawals are halted.",
        )

    def balances(self) -> dict[int, float]:
        """The fund's balance, and what its providers hold ready."""
        return {INSURANCE_FUND: self.adaptive_fund, TREASURY: self.provider_commitment}


@inlined
def flow_to_fund(balance, target, ready, top_up, release, quiet):
    """USD from the providers to the fund (+) or back (-) at a review."""
    if balance < target:
        return min(min(target - balance, top_up * target), ready)
    return -release * (balance - target) if quiet else 0.0


@kernel
def review(v, path, t):
    """At a review let fees, providers and release move the balance."""
    terms = v.terms[0]
    state = v.venue[0]
    if v.out[0]["bad_debt"] > state["debt_seen"]:
        state["debt_seen"] = v.out[0]["bad_debt"]
        state["last_claim"] = t
    if t % terms["review_interval_steps"] != 0:
        return
    interest = 0.0
    for m in range(v.markets.shape[0]):
        long, _ = open_interest(v, m)
        interest += long * v.markets[m]["mark"]
    fund = v.accounts[v.traders + INSURANCE_FUND]
    touch(v, v.traders + INSURANCE_FUND)
    touch(v, v.traders + TREASURY)
    fees = terms["fund_fee_rate"] * interest * terms["review_interval"] / DAY
    fund["cash"] += fees
    state["external_flow"] += fees
    providers = v.accounts[v.traders + TREASURY]
    quiet = t - state["last_claim"] >= terms["fund_quiet_steps"] and not is_blocked(v, 0, t, WITHDRAW)
    moved = flow_to_fund(
        fund["cash"],
        terms["fund_target"] * interest,
        providers["cash"],
        terms["fund_top_up"],
        terms["fund_release"],
        quiet,
    )
    fund["cash"] += moved
    providers["cash"] -= moved
    state["claims_less_fees"] -= fees + moved
    v.out[0]["fund_received"] += fees + max(0.0, moved)
    v.out[0]["fund_low_water"] = min(v.out[0]["fund_low_water"], fund["cash"])


@kernel
def absorb(v, t, maintenance, initial):
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
                pay_from_fund(v, a, -1, paid)
                acted = True
    return acted


@kernel
def cover(v, a, m):
    """USD that can be paid for a fill at once."""
    return fund_balance(v)


MECHANISM = Mechanism(
    name="adaptive_fund",
    stage=Stage.WATERFALL,
    parameters=AdaptiveFund,
    kernels={"absorb": absorb, "cover": cover, "review": review},
    state=(
        StateField("debt_seen", "venue", "f8", "USD of bad debt up to the last step"),
        StateField("last_claim", "venue", "i8", "step in which bad debt was last seen"),
    ),
)
