"""Withdrawal haircut: claims wait, and at the horizon everybody withdraws with a share of what is missing taken off.

Stage        waterfall.
Formula      while the path lasts cash claims stay open. At its end missing D = sum of the cash claims left - fund, not below
             0; every account with positive equity withdraws it less D x equity / sum of positive equities.
             While `withdraw` is blocked at the horizon nobody withdraws and D stays unresolved.
Source       Paradex docs (2025): socialised loss as a haircut of withdrawals by max(0, sum max(0, -account value) - fund).
Invariants   I1; nobody's equity falls below zero by it.
Limits       nobody withdraws before the horizon, so nobody escapes the haircut by being early; outside_book takes no part.
"""

from __future__ import annotations

from stress.kernels.claims import can_share_losses, fund_balance, has_cash_claim, record_bad_debt
from stress.kernels.halts import is_blocked
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity, touch
from stress.kernels.venue import HOLDERS, VAULT, WITHDRAW
from stress.stages import Mechanism, MechanismParameters, Stage


class WithdrawalHaircut(MechanismParameters):
    """No parameters."""


@kernel
def absorb(v, t, maintenance, initial):
    """Nothing: claims wait for the withdrawals."""
    return False


@kernel
def horizon(v, t, maintenance):
    """Share what is missing by all who withdraw."""
    for m in range(v.markets.shape[0]):
        if is_blocked(v, m, t, WITHDRAW):
            return
    claims = 0.0
    wealth = 0.0
    for a in range(v.traders + HOLDERS):
        if has_cash_claim(v, a):
            claims -= v.accounts[a]["cash"]
        elif can_share_losses(v, a):
            wealth += max(0.0, equity(v, a))
    missing = min(max(0.0, claims - fund_balance(v)), wealth)
    if missing <= 0.0:
        return
    for a in range(v.traders + HOLDERS):
        if has_cash_claim(v, a):
            touch(v, a)
            paid = -v.accounts[a]["cash"] * missing / claims
            v.accounts[a]["cash"] += paid
            record_bad_debt(v, a, paid)
            for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                v.out_market[v.rows[r]["market"]]["socialized_loss"] += paid * v.rows[r]["attribution"]
        elif can_share_losses(v, a):
            touch(v, a)
            part = missing * max(0.0, equity(v, a)) / wealth
            v.accounts[a]["cash"] -= part
            if a == v.traders + VAULT:
                v.venue[0]["vault_apart"] += part
    v.out[0]["socialized_loss"] += missing


MECHANISM = Mechanism(
    name="withdrawal_haircut",
    stage=Stage.WATERFALL,
    parameters=WithdrawalHaircut,
    kernels={"absorb": absorb, "horizon": horizon},
)
