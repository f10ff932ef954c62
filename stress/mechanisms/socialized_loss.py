"""Socialized loss: what cash remains owed is shared by all accounts with positive equity.

Stage        waterfall.
Formula      share of account i = claims x equity_i / sum of positive equities, at the marks of the round;
             not more than that sum. With socialized_by: deposits by positive cash (a deposit index), no account more than its
             equity. With contracts each market's part of the claims, by attribution, is divided by its open
             contracts, and every position loses that much per base unit (a funding index against both sides).
Source       percolator (equity haircut ratio, d594e6a); Paradex docs (2025), socialised loss; Drift protocol-v2,
             math/liquidation.rs (deposit interest, funding rate deltas of a bankruptcy) @ 0ae3e3b1.
Invariants   I1; nobody's equity falls below zero by it, except by contracts.
Limits       outside_book takes no part; a haircut is immediate, not at withdrawal. By contracts a claim in a market
             without open contracts stays, and an account that cannot carry its part becomes a claim itself.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.claims import can_share_losses, fund_balance, has_cash_claim, record_bad_debt, record_passed
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import equity, touch
from stress.kernels.venue import BALANCE, ELIGIBILITY, HOLDERS, VAULT
from stress.stages import Mechanism, MechanismParameters, Stage

# Wealth below this share of the claims is what rounding left of equities already taken whole.
ROUNDING = 1e-12


class SocializedLoss(MechanismParameters):
    """`socialized_by` is what the share is in proportion to."""

    socialized_by: Literal["equity", "deposits", "contracts"] = Field(
        default="equity", description="what the share of a loss is in proportion to"
    )


@inlined
def index_delta(loss, total):
    """Loss per unit of what carries it (contracts, deposits); 0 where nothing does."""
    return loss / total if total > 0.0 else 0.0


@kernel
def sharing(v, a):
    """USD of the account that share a loss."""
    wealth = max(0.0, equity(v, a))
    if v.terms[0]["socialized_by"] == 1:
        return min(max(0.0, v.accounts[a]["cash"]), wealth)
    return wealth


@kernel
def absorb_by_contracts(v, t):
    """Charge every open position of a market per base unit with the market's part of the cash claims."""
    acted = False
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if not has_cash_claim(v, a):
            continue
        claim = -v.accounts[a]["cash"]
        paid = 0.0
        for w in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            m = v.rows[w]["market"]
            part = claim * v.rows[w]["attribution"]
            contracts = 0.0
            for i in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
                if can_share_losses(v, v.rows[v.market_rows[i]]["account"]):
                    contracts += abs(v.rows[v.market_rows[i]]["size"])
            delta = index_delta(part, contracts)
            if delta <= 0.0:
                continue
            for i in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
                r = v.market_rows[i]
                holder = v.rows[r]["account"]
                if v.rows[r]["size"] != 0.0 and can_share_losses(v, holder):
                    touch(v, holder)
                    v.accounts[holder]["cash"] -= abs(v.rows[r]["size"]) * delta
                    if holder == v.traders + VAULT:
                        v.venue[0]["vault_apart"] += abs(v.rows[r]["size"]) * delta
            v.out_market[m]["socialized_loss"] += part
            paid += part
        if paid > 0.0:
            touch(v, a)
            v.accounts[a]["cash"] = v.accounts[a]["cash"] + paid if paid < claim * (1.0 - ROUNDING) else 0.0
            v.out[0]["socialized_loss"] += paid
            record_bad_debt(v, a, paid)
            acted = True
        if paid < claim * (1.0 - ROUNDING):
            record_passed(v, a, ELIGIBILITY, claim - paid)
    return acted


@kernel
def absorb(v, t, maintenance, initial):
    """Share all cash claims; returns whether there were any."""
    if v.terms[0]["socialized_by"] == 2:
        return absorb_by_contracts(v, t)
    claims = 0.0
    for k in range(v.venue[0]["suspects"]):
        if has_cash_claim(v, v.accounts[k]["suspect"]):
            claims -= v.accounts[v.accounts[k]["suspect"]]["cash"]
    if claims <= 0.0:
        return False
    wealth = 0.0
    for a in range(v.traders + HOLDERS):
        if can_share_losses(v, a):
            wealth += sharing(v, a)
    if wealth <= claims * ROUNDING:
        for k in range(v.venue[0]["suspects"]):
            a = v.accounts[k]["suspect"]
            if has_cash_claim(v, a):
                record_passed(v, a, BALANCE, -v.accounts[a]["cash"])
        return False
    shared = min(claims, wealth)
    haircut = shared / wealth
    relief = shared / claims
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if has_cash_claim(v, a):
            paid = -v.accounts[a]["cash"] * relief
            touch(v, a)
            v.accounts[a]["cash"] = v.accounts[a]["cash"] + paid if relief < 1.0 else 0.0
            record_passed(v, a, BALANCE, -v.accounts[a]["cash"])
            record_bad_debt(v, a, paid)
            v.out[0]["socialized_loss"] += paid
            for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                v.out_market[v.rows[r]["market"]]["socialized_loss"] += paid * v.rows[r]["attribution"]
    if v.venue[0]["has_fund"] == 1 and fund_balance(v) <= 0.0:
        v.venue[0]["claims_less_fees"] += shared  # a larger fund would have carried it
    for a in range(v.traders + HOLDERS):
        if can_share_losses(v, a):
            part = haircut * sharing(v, a)
            touch(v, a)
            v.accounts[a]["cash"] -= part
            if a == v.traders + VAULT:
                v.venue[0]["vault_apart"] += part
    return True


MECHANISM = Mechanism(
    name="socialized_loss", stage=Stage.WATERFALL, parameters=SocializedLoss, kernels={"absorb": absorb}
)
