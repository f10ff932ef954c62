"""Backstop vault: takes over what the venues before it left, and unwinds it through the book.

Stage        execution.
Formula      an account with equity < takeover_below x requirement (or below the third level of a margin rule that
             has one, kernel `close_out`) is taken row by row at its bankruptcy
             price, so that its whole equity, positive or (with takes_insolvent) negative, moves to the
             vault. The vault accepts while its own equity is positive and its gross notional, the new
             row included, stays within takeover_limit x its equity; with loss_limit no more in a market in which it has
             lost that share of vault_equity. It sells unwind_share of depth per
             step, through the book.
Source       Hyperliquid docs, liquidations.md and auto-deleveraging.md (2026-08-22): backstop below 2/3 of
             maintenance margin, all positions and all margin go to the liquidator vault; an account
             value below zero is deleveraged instead (takes_insolvent: false). Lighter docs (2025): strategies of its pool
             bound what one market can cost (loss_limit).
Invariants   I1; the vault's negative equity is a claim on the next layer.
Limits       unwinding takes no view on prices; depositors do not withdraw within the horizon.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from stress.kernels.jit import kernel
from stress.kernels.ledger import counterparty_row
from stress.kernels.ledger import equity as account_equity
from stress.kernels.venue import BALANCE, CAP, ELIGIBILITY, NO_LIMIT, QUANTUM, VAULT
from stress.stages import Mechanism, MechanismParameters, Stage


class BackstopVault(MechanismParameters):
    """`vault_equity` is USD at t = 0."""

    vault_equity: float = Field(ge=0, description="equity of the vault at t = 0, USD")
    takeover_below: float = Field(gt=0, description="takes accounts with equity below this x requirement")
    takeover_limit: float = Field(default=5.0, gt=0, description="largest gross notional over the vault's equity")
    loss_limit: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="largest loss in one market, share of vault_equity, before it stops there; null = any"
    )
    takes_insolvent: bool = Field(default=True, description="also takes accounts with negative equity")
    unwind_share: float = Field(default=0.1, ge=0, description="share of one side's depth sold per step")

    def terms(self, market, step):
        """Return the kernel's fields; the limit of losses in USD, infinite where there is none."""
        found = MechanismParameters.terms(self.model_copy(update={"loss_limit": 1.0}), market, step)
        return found | {"loss_limit": math.inf if self.loss_limit is None else self.loss_limit * self.vault_equity}

    def balances(self) -> dict[int, float]:
        """The vault's equity at t = 0."""
        return {VAULT: self.vault_equity}


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Take over the whole row `r` at its bankruptcy price, if the vault may."""
    m = v.rows[r]["market"]
    vault = v.traders + VAULT
    level = v.accounts[a]["close_out"]  # of a margin rule with three levels
    if a == vault or equity >= (level if level > 0.0 else v.terms[m]["takeover_below"] * requirement):
        return 0.0, 0.0, VAULT, ELIGIBILITY
    if equity < -QUANTUM and v.terms[m]["takes_insolvent"] == 0:
        return 0.0, 0.0, VAULT, ELIGIBILITY
    own = account_equity(v, vault)
    if own <= 0.0:
        return 0.0, 0.0, VAULT, BALANCE
    held = v.rows[counterparty_row(v, VAULT, m)]["size"]
    lost = -(v.markets[m]["vault_flow"] + held * v.markets[m]["mark"])
    if lost > v.terms[m]["loss_limit"]:
        return 0.0, 0.0, VAULT, CAP
    gross = abs(v.rows[r]["size"]) * v.markets[m]["mark"]
    for w in range(v.accounts[vault]["row_start"], v.accounts[vault]["row_end"]):
        gross += abs(v.rows[w]["size"]) * v.markets[v.rows[w]["market"]]["mark"]
    if gross > v.terms[m]["takeover_limit"] * own:
        return 0.0, 0.0, VAULT, CAP
    return abs(v.rows[r]["size"]), bankruptcy_price, VAULT, NO_LIMIT


@kernel
def unwind(v, r, t):
    """Base units of the vault's row `r` to close in this step."""
    m = v.rows[r]["market"]
    share = v.terms[m]["unwind_share"]
    return min(abs(v.rows[r]["size"]), share * v.markets[m]["depth"]) if share > 0.0 else 0.0  # not 0 x infinity


MECHANISM = Mechanism(
    name="backstop_vault",
    stage=Stage.EXECUTION,
    parameters=BackstopVault,
    kernels={"execute": execute, "unwind": unwind},
)
