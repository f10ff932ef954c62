"""Socialized loss: what cash remains owed is shared by all accounts with positive equity.

Stage        waterfall.
Formula      share of account i = claims x equity_i / sum of positive equities, at the marks of the round;
             not more than that sum.
Source       percolator (equity haircut ratio, d594e6a); Paradex docs (2025), socialised loss.
Invariants   I1; nobody's equity falls below zero by it.
Limits       outside_book takes no part; a haircut is immediate, not at withdrawal.
"""

from __future__ import annotations

from stress.kernels.claims import can_share_losses, fund_balance, has_cash_claim, record_bad_debt, record_passed
from stress.kernels.culling import disturb
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity, touch
from stress.kernels.venue import BALANCE, HOLDERS, VAULT
from stress.stages import Mechanism, MechanismParameters, Stage

# Wealth below this share of the claims is what rounding left of equities already taken whole.
ROUNDING = 1e-12


class SocializedLoss(MechanismParameters):
    """No parameters."""


@kernel
def absorb(v, t, maintenance):
    """Share all cash claims; returns whether there were any."""
    claims = 0.0
    for k in range(v.venue[0]["suspects"]):
        if has_cash_claim(v, v.accounts[k]["suspect"]):
            claims -= v.accounts[v.accounts[k]["suspect"]]["cash"]
    if claims <= 0.0:
        return False
    wealth = 0.0
    for a in range(v.traders + HOLDERS):
        if can_share_losses(v, a):
            wealth += max(0.0, equity(v, a))
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
            part = haircut * max(0.0, equity(v, a))
            touch(v, a)
            v.accounts[a]["cash"] -= part
            if a == v.traders + VAULT:
                v.venue[0]["vault_apart"] += part
    disturb(v)
    return True


MECHANISM = Mechanism(
    name="socialized_loss", stage=Stage.WATERFALL, parameters=SocializedLoss, kernels={"absorb": absorb}
)
