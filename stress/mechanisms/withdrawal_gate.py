"""Withdrawal gate: nobody may withdraw while an account with negative equity was seen of late.

Stage        breakers.
Formula      a cash claim or an open account below zero after a round of step t blocks `withdraw` in every market from
             step t + 1 until `gate_pause` after the last step in which one was seen (kernels.halts).
Source       dYdX v4-chain, x/subaccounts/types/update.go:157 @ 84d4664b: 50 blocks after a negative account was seen.
Invariants   never changes a balance.
Limits       traders do not withdraw by choice; what a gate stops are the withdrawals of rules: of an adaptive fund's
             providers, and those in which a withdrawal haircut is paid.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.halts import halt
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity
from stress.kernels.venue import QUANTUM, WITHDRAW
from stress.stages import Mechanism, MechanismParameters, RoundedUp, Stage


class WithdrawalGate(MechanismParameters):
    """`gate_pause` counts from the last step with a negative account."""

    gate_pause: RoundedUp = Field(description="time without withdrawals after a negative account was seen")


@kernel
def trip(v, path, t):
    """Close the gate where the last round left an account below zero."""
    for k in range(v.venue[0]["suspects"]):
        if equity(v, v.accounts[k]["suspect"]) < -QUANTUM:
            for m in range(v.markets.shape[0]):
                halt(v, m, t, WITHDRAW, v.terms[m]["gate_pause_steps"])
            return


MECHANISM = Mechanism(name="withdrawal_gate", stage=Stage.BREAKERS, parameters=WithdrawalGate, kernels={"trip": trip})
