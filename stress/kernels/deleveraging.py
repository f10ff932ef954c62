"""Auto-deleveraging, apart from who is chosen: open claims, prices, and closing one leg.

Legend: a = accounts, r = rows, m = markets. Invariant I5 is kept here, contract by contract:
loss = allocated - gain + residual - overshoot, each a named column >= 0.
"""

from __future__ import annotations

from stress.kernels.claims import defaultable, fund_balance, present_claim, record_bad_debt, record_passed
from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import equity, trade
from stress.kernels.margin import assess, attribute_loss, bankruptcy_price, restart_attribution
from stress.kernels.venue import ADL, ELIGIBILITY, OUTSIDE_BOOK, QUANTUM, TIME, VAULT

AT_BANKRUPTCY, AT_MARK, AT_PREVIOUS_MARK, AT_ORACLE = range(4)
WHEN_FUND_EXHAUSTED, WHEN_EQUITY_NEGATIVE = range(2)


@kernel
def is_open_claim(v, a, when, maintenance, t):
    """Tell whether the account's open contracts are to be deleveraged now; also equity, requirement.

    Where the rule waits for the fund, the fund is asked: its size decides, so the claim counts as one on it (I7).
    """
    if not defaultable(v, a):
        return False, 0.0, 0.0
    value, requirement = assess(v, a, maintenance)
    if value >= -QUANTUM or requirement <= 0.0:
        return False, value, requirement
    if when == WHEN_FUND_EXHAUSTED:
        present_claim(v, -value, t)
        if -value <= fund_balance(v):
            return False, value, requirement
    return True, value, requirement


@kernel
def is_winner(v, w, side):
    """Tell whether row `w` may be deleveraged against a bankrupt position of `side` (+1 long)."""
    a = v.rows[w]["account"]
    return v.rows[w]["size"] * side < 0.0 and a != v.traders + OUTSIDE_BOOK and equity(v, a) > 0.0


@inlined
def _whole(quantity, size):
    """Return |size| where `quantity` is that but for rounding: dust would stay open, its loss asked for again."""
    return abs(size) if abs(size) - quantity <= 1e-12 * abs(size) else quantity


@inlined
def price_of(v, m, rule, bankruptcy, t):
    """Return the price at which a contract is deleveraged, and the age of a previous mark in seconds."""
    market = v.markets[m]
    if rule == AT_MARK:
        return market["mark"], 0.0
    if rule == AT_PREVIOUS_MARK:
        return market["previous_mark"], (t - market["previous_mark_step"]) * v.step_seconds
    if rule == AT_ORACLE:
        return market["oracle"], 0.0
    return bankruptcy, 0.0


@kernel
def close_claim(v, r, quantity, price, bankruptcy, age, t):
    """Close `quantity` (> 0) of bankrupt row `r` at `price`, book I5's columns; returns what winners lose, USD >= 0."""
    m = v.rows[r]["market"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    loss = quantity * side * (bankruptcy - v.markets[m]["mark"])
    paid = quantity * side * (price - v.markets[m]["mark"])
    allocated = max(0.0, paid)
    residual = max(0.0, loss - paid)
    trade(v, r, -side * _whole(quantity, v.rows[r]["size"]), price)
    restart_attribution(v, v.rows[r]["account"])
    notional = quantity * v.markets[m]["mark"]
    out = v.out[0]
    out["adl_notional"] += notional
    out["adl_notional_age"] += notional * age
    out["adl_loss"] += loss
    out["adl_shortfall"] += allocated
    out["adl_gain"] += max(0.0, -paid)
    out["adl_residual"] += residual
    out["adl_overshoot"] += max(0.0, paid - loss)
    v.out_market[m]["adl_notional"] += notional
    v.out_market[m]["adl_shortfall"] += allocated
    if out["first_adl_step"] < 0:
        out["first_adl_step"] = t
    # What the price left with the closed account is a claim on the layers below, booked there.
    record_bad_debt(v, v.rows[r]["account"], loss - residual)
    return allocated


@kernel
def close_winner(v, w, quantity, price, allocated, maintenance):
    """Close `quantity` (> 0) of winner row `w` at `price`; `allocated` is what it loses by it, USD >= 0."""
    a = v.rows[w]["account"]
    side = -1.0 if v.rows[w]["size"] > 0.0 else 1.0
    if equity(v, a) < allocated:  # this leaves the winner owing
        attribute_loss(v, a, maintenance)
    trade(v, w, side * _whole(quantity, v.rows[w]["size"]), price)
    restart_attribution(v, a)
    v.out[0]["fills"] += 1
    if a == v.traders + VAULT:
        v.venue[0]["vault_apart"] += allocated


@kernel
def close_open_claims(v, t, when, price_rule, maintenance, initial, choose):
    """Deleverage every open claim, in account order, the vault last, as far as attempts reach.

    `choose(v, r, side, rest, price, t, maintenance, initial) -> (winner row, quantity)`.

    A winner row of -1 ends the search: nobody eligible is left and the rest of the row stays open.
    Returns whether anything was closed.
    """
    acted = False
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        claims, value, requirement = is_open_claim(v, a, when, maintenance, t)
        if not claims:
            continue
        before = v.out[0]["bad_debt"]
        attribute_loss(v, a, maintenance)
        blocked = refused = 0.0
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            if v.rows[r]["size"] == 0.0:
                continue
            m = v.rows[r]["market"]
            bankruptcy = bankruptcy_price(v, r, value, requirement, maintenance)
            side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
            if is_blocked(v, m, t, ADL) or v.venue[0]["adl_attempts_left"] < 1.0:
                blocked += v.rows[r]["size"] * (bankruptcy - v.markets[m]["mark"])
                continue
            v.venue[0]["adl_attempts_left"] -= 1.0
            price, age = price_of(v, m, price_rule, bankruptcy, t)
            while v.rows[r]["size"] != 0.0:
                w, quantity = choose(v, r, side, abs(v.rows[r]["size"]), price, t, maintenance, initial)
                if w < 0:
                    refused += v.rows[r]["size"] * (bankruptcy - v.markets[m]["mark"])
                    break
                allocated = close_claim(v, r, quantity, price, bankruptcy, age, t)
                close_winner(v, w, quantity, price, allocated, maintenance)
                acted = True
        record_passed(v, a, TIME, blocked)
        record_passed(v, a, ELIGIBILITY, refused)
        if when == WHEN_FUND_EXHAUSTED and v.venue[0]["has_fund"] == 1:
            v.venue[0]["claims_less_fees"] += v.out[0]["bad_debt"] - before  # a larger fund would have carried it
    return acted
