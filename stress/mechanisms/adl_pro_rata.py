"""Auto-deleveraging pro rata: all winners of a round give up the same share of their weight, to all claims at once.

Stage        waterfall.
Formula      per market and side, Q = contracts of the open claims of the round, at most the contracts of the winners: claims close
             in queue order, each at its own price, and every winner closes Q x its weight / weights of all at the one price
             that these add up to; who is too small for its share closes all it has, the rest is asked of the others again.
             Weight = contracts, equity of the account, or unrealised profit of the position (0 where it lost). At the
             bankruptcy price, the mark, the previous mark, or the oracle price.
Source       Chitra (2025), Autodeleveraging: Impossibilities and Optimization, arXiv 2512.01112 (v3): pro
             rata as the fair rule; in contracts, as thogiti.github.io describes it for Drift.
Invariants   I1, I2, I5.
Limits       by profit, a position without one gives nothing while others have one, and by contracts if nobody has.
             Who wins is decided market by market, before the first contract of a side is closed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stress.kernels.claims import record_passed
from stress.kernels.deleveraging import (
    WHEN_FUND_EXHAUSTED,
    close_claim,
    close_winner,
    is_open_claim,
    is_winner,
    price_of,
)
from stress.kernels.halts import is_blocked
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity
from stress.kernels.margin import attribute_loss, bankruptcy_price
from stress.kernels.venue import ADL, ELIGIBILITY, TIME, WINNERS
from stress.stages import DeleveragingParameters, Mechanism, Stage, StateField

CONTRACTS, EQUITY, PROFIT = range(3)


class AdlProRata(DeleveragingParameters):
    """`adl_by` says in which proportion winners give up contracts."""

    adl_by: Literal["contracts", "equity", "profit"] = Field(default="contracts", description="what the share is of")


@kernel
def weight(v, w, by):
    """Weight of a winner row, > 0 where it takes part."""
    if by == EQUITY:
        return equity(v, v.rows[w]["account"])
    if by == PROFIT:
        return max(0.0, v.rows[w]["size"] * v.markets[v.rows[w]["market"]]["mark"] - v.rows[w]["entry_notional"])
    return abs(v.rows[w]["size"])


@kernel
def find_winners(v, m, side):
    """List the rows that may be deleveraged against claims of `side`; return their number, and their contracts."""
    found, contracts = 0, 0.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if is_winner(v, w, side):
            v.lists[WINNERS, found] = w
            contracts += abs(v.rows[w]["size"])
            found += 1
    return found, contracts


@kernel
def keep_winners(v, winners, side):
    """Keep those of the listed rows that may still be deleveraged; return their number."""
    left = 0
    for k in range(winners):
        w = v.lists[WINNERS, k]
        if is_winner(v, w, side):
            v.lists[WINNERS, left] = w
            left += 1
    return left


@kernel
def weigh(v, winners, by):
    """Return the weights of the listed winners together, and the place of the last that takes part; -1 if none does."""
    total, last = 0.0, -1
    for k in range(winners):
        own = weight(v, v.lists[WINNERS, k], by)
        if own > 0.0:
            total += own
            last = k
    return total, last


@kernel
def open_claims(v, t, when, maintenance):
    """Mark the accounts whose claims are open, and the price at which each of their contracts uses up its equity."""
    before = v.venue[0]["claims_less_fees"]
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        claims, value, requirement = is_open_claim(v, a, when, maintenance, t)
        v.accounts[a]["asking"] = 1 if claims else 0
        if not claims:
            continue
        v.venue[0]["claims_less_fees"] -= value  # a fund that would carry the next claim has to carry this one first
        attribute_loss(v, a, maintenance)
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            if v.rows[r]["size"] != 0.0:
                v.rows[r]["asked_bankruptcy"] = bankruptcy_price(v, r, value, requirement, maintenance)
    v.venue[0]["claims_less_fees"] = before


@kernel
def asked(v, m, side):
    """Base units of market `m` that claims of one side have open."""
    total = 0.0
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if v.accounts[a]["asking"] == 1:
            for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                if v.rows[r]["market"] == m:
                    total += max(0.0, side * v.rows[r]["size"])
    return total


@kernel
def close_claims(v, m, side, rest, price_rule, t):
    """Close up to `rest` base units of the claims of one side, in queue order; return USD paid, and USD lost by winners."""
    money, lost = 0.0, 0.0
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if v.accounts[a]["asking"] == 0:
            continue
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            quantity = min(side * v.rows[r]["size"], rest)
            if v.rows[r]["market"] == m and quantity > 0.0:
                bankruptcy = v.rows[r]["asked_bankruptcy"]
                price, age = price_of(v, m, price_rule, bankruptcy, t)
                lost += close_claim(v, r, quantity, price, bankruptcy, age, t)
                money += quantity * price
                rest -= quantity
    return money, lost


@kernel
def close_winners(v, winners, side, quantity, price, lost, by, maintenance):
    """Close `quantity` base units of the listed winners at `price`, in proportion to their weights.

    A close changes only the winner's own account, so that the others stay winners.
    """
    rest = quantity
    while rest > 0.0:
        total, last = weigh(v, winners, by)
        if last < 0 and by != CONTRACTS:
            by = CONTRACTS
            continue
        if last < 0:
            break
        wanted, all_gave = rest, True
        for k in range(winners):
            w = v.lists[WINNERS, k]
            own = weight(v, w, by)
            part = 0.0
            if own > 0.0:
                size, part = abs(v.rows[w]["size"]), wanted * (own / total)
                if k == last and all_gave:
                    part = rest  # takes what rounding left
                all_gave = all_gave and part <= size
                part = min(part, size, rest)
            if part > 0.0:
                close_winner(v, w, part, price, lost * (part / quantity), maintenance)
                rest -= part
        if rest > 0.0:
            winners = keep_winners(v, winners, side)


@kernel
def absorb(v, t, maintenance, initial):
    """Deleverage the open claims of the round; returns whether anything was closed."""
    when, price_rule, by = v.terms[0]["adl_when"], v.terms[0]["adl_price"], v.terms[0]["adl_by"]
    open_claims(v, t, when, maintenance)
    before = v.out[0]["bad_debt"]
    acted = False
    for m in range(v.markets.shape[0]):
        if is_blocked(v, m, t, ADL):
            continue
        for i in range(2):
            side = 1.0 - 2.0 * i
            wanted = asked(v, m, side)
            if wanted <= 0.0:
                continue
            winners, contracts = find_winners(v, m, side)
            quantity = min(wanted, contracts)
            if quantity > 0.0:
                rest = np.inf if quantity == wanted else quantity  # all, to the last bit
                money, lost = close_claims(v, m, side, rest, price_rule, t)
                close_winners(v, winners, side, quantity, money / quantity, lost, by, maintenance)
                acted = True
    if when == WHEN_FUND_EXHAUSTED and v.venue[0]["has_fund"] == 1:
        v.venue[0]["claims_less_fees"] += v.out[0]["bad_debt"] - before  # a larger fund would have carried it
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if v.accounts[a]["asking"] == 0:
            continue
        blocked = refused = 0.0
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            m = v.rows[r]["market"]
            if v.rows[r]["size"] != 0.0:
                loss = v.rows[r]["size"] * (v.rows[r]["asked_bankruptcy"] - v.markets[m]["mark"])
                if is_blocked(v, m, t, ADL):
                    blocked += loss
                else:
                    refused += loss
        record_passed(v, a, TIME, blocked)
        record_passed(v, a, ELIGIBILITY, refused)
    return acted


MECHANISM = Mechanism(
    name="adl_pro_rata",
    stage=Stage.WATERFALL,
    parameters=AdlProRata,
    kernels={"absorb": absorb},
    state=(
        StateField("asking", "account", "i8", "1 = the account has an open claim in this round"),
        StateField("asked_bankruptcy", "row", "f8", "bankruptcy price of a row of an open claim"),
    ),
)
