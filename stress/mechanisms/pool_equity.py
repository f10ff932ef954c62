"""Pool equity: cash claims are paid by the depositors of the pool, as long as it has equity.

Stage        waterfall.
Formula      a cash claim is paid up to the pool's positive equity at the marks, in account order; it is part of the
             provider default loss, since depositors carry it.
Source       GMX v2: a shortfall of a liquidated position lowers the pool (position/DecreasePositionUtils.sol @ a5c0c883);
             Synthetix perps v3: bad debt is the pool's debt (PerpsAccount.sol @ 23585f73).
Invariants   I1; the pool's equity does not fall below zero by it.
Limits       depositors do not withdraw within the horizon; what the pool gains or loses as counterparty is apart.
"""

from __future__ import annotations

from stress.kernels.claims import has_cash_claim, record_bad_debt, record_passed
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity, touch
from stress.kernels.venue import BALANCE, POOL
from stress.stages import Mechanism, MechanismParameters, Stage


class PoolEquity(MechanismParameters):
    """No parameters; the pool's equity is stated by the rule that trades against it."""


@kernel
def absorb(v, t, maintenance, initial):
    """Pay cash claims up to the pool's equity; returns whether anything was paid."""
    acted = False
    pool = v.traders + POOL
    for k in range(v.venue[0]["suspects"]):
        a = v.accounts[k]["suspect"]
        if has_cash_claim(v, a):
            claim = -v.accounts[a]["cash"]
            paid = min(claim, max(0.0, equity(v, pool)))
            if paid < claim:
                record_passed(v, a, BALANCE, claim - paid)
            if paid > 0.0:
                touch(v, pool)
                touch(v, a)
                v.accounts[pool]["cash"] -= paid
                v.accounts[a]["cash"] = 0.0 if paid == claim else v.accounts[a]["cash"] + paid
                v.venue[0]["pool_shared"] += paid
                record_bad_debt(v, a, paid)
                for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
                    v.markets[v.rows[r]["market"]]["pool_shared"] += paid * v.rows[r]["attribution"]
                acted = True
    return acted


MECHANISM = Mechanism(name="pool_equity", stage=Stage.WATERFALL, parameters=PoolEquity, kernels={"absorb": absorb})
