"""Claims on the loss waterfall: who owes what, and which layer let an amount pass.

An open claim is an account with negative equity whose contracts are still open; a cash claim is
negative cash after all contracts are gone. Legend: a = accounts, r = rows, m = markets.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import is_flat, touch
from stress.kernels.venue import (
    BALANCE,
    CAP,
    ELIGIBILITY,
    HOLDERS,
    INSURANCE_FUND,
    OUTSIDE_BOOK,
    QUANTUM,
    TIME,
    VAULT,
)


@inlined
def defaultable(v, a):
    """Tell whether the account's losses enter the waterfall: traders and the vault."""
    return a < v.traders or a == v.traders + VAULT


@inlined
def has_cash_claim(v, a):
    """Tell whether a defaultable account owes cash and has no contracts left."""
    return v.accounts[a]["cash"] < -QUANTUM and defaultable(v, a) and is_flat(v, a)


@inlined
def fund_balance(v):
    """Balance of the insurance fund, USD >= 0."""
    return v.accounts[v.traders + INSURANCE_FUND]["cash"]


@kernel
def record_exhaustion(v, t):
    """Note the first claim larger than the fund's balance."""
    if v.out[0]["exhaustion_step"] < 0:
        v.out[0]["exhaustion_step"] = t


@kernel
def present_claim(v, amount, t):
    """Show the fund a claim (USD > 0): note how large a fund would carry it, and whether this one does not (I7)."""
    needed = v.venue[0]["claims_less_fees"] + amount
    v.out[0]["peak_uncovered_loss"] = max(v.out[0]["peak_uncovered_loss"], needed)
    if v.venue[0]["has_fund"] == 1 and amount > fund_balance(v):
        record_exhaustion(v, t)


@kernel
def record_bad_debt(v, a, amount):
    """Add a loss beyond the account's own margin, attributed to markets (USD >= 0)."""
    v.out[0]["bad_debt"] += amount
    if v.venue[0]["has_fund"] == 0:  # what a fund would have had to carry
        v.venue[0]["claims_less_fees"] += amount
        v.out[0]["peak_uncovered_loss"] = max(v.out[0]["peak_uncovered_loss"], v.venue[0]["claims_less_fees"])
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        v.out_market[v.rows[r]["market"]]["bad_debt"] += amount * v.rows[r]["attribution"]


@kernel
def record_passed(v, a, limit, amount):
    """Record which limit let an amount of account `a`, all its rows together, pass a layer (I4).

    A claim that waits meets the same limit in every round: only what it grew by is new.
    """
    new = amount - v.accounts[a]["passed"][limit]
    if new <= 0.0:
        return
    v.accounts[a]["passed"][limit] = amount
    if limit == BALANCE:
        v.out[0]["passed_balance"] += new
    elif limit == CAP:
        v.out[0]["passed_cap"] += new
    elif limit == ELIGIBILITY:
        v.out[0]["passed_eligibility"] += new
    elif limit == TIME:
        v.out[0]["passed_time"] += new


@kernel
def pay_from_fund(v, a, m, amount):
    """Let the insurance fund pay `amount` (<= its balance) to account `a`, and record the bad debt.

    It counts as paid for market `m`, or where that is -1 for the account's markets by attribution.
    """
    account = v.accounts[a]
    if account["fund_drawn_step"] != v.venue[0]["step"]:
        account["fund_drawn_step"] = v.venue[0]["step"]
        account["fund_drawn"] = 0.0
    account["fund_drawn"] += amount
    if m >= 0:
        v.markets[m]["fund_paid"] += amount
    else:
        for r in range(account["row_start"], account["row_end"]):
            v.markets[v.rows[r]["market"]]["fund_paid"] += amount * v.rows[r]["attribution"]
    fund = v.traders + INSURANCE_FUND
    touch(v, fund)
    touch(v, a)
    v.accounts[fund]["cash"] -= amount
    v.accounts[a]["cash"] += amount
    v.out[0]["fund_paid"] += amount
    v.venue[0]["claims_less_fees"] += amount  # no venue without a fund pays from it
    v.out[0]["fund_low_water"] = min(v.out[0]["fund_low_water"], v.accounts[fund]["cash"])
    record_bad_debt(v, a, amount)


@kernel
def pay_by_market(v, a, amount, room):
    """Let the fund pay up to `amount` (<= its balance) to account `a`: each market its part by attribution, at most `room(v, m)`.

    What a market has no room for is asked of the account's others. Returns USD paid.
    """
    left = amount
    first, end = v.accounts[a]["row_start"], v.accounts[a]["row_end"]
    for _ in range(first, end):
        weight = 0.0
        for r in range(first, end):
            if room(v, v.rows[r]["market"]) > 0.0:
                weight += v.rows[r]["attribution"]
        if weight <= 0.0 or left <= QUANTUM:
            break
        asked = left
        for r in range(first, end):
            m = v.rows[r]["market"]
            part = min(asked * v.rows[r]["attribution"] / weight, room(v, m), left)
            if part > 0.0:
                pay_from_fund(v, a, m, part)
                left -= part
    return amount - left


@inlined
def can_share_losses(v, a):
    """Tell whether an account may carry the losses of others: holders except the outside book."""
    return a < v.traders + HOLDERS and a != v.traders + OUTSIDE_BOOK
