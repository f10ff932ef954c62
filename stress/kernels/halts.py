"""Halts: whether and until when an action is blocked in a market, by a breaker or by the scenario. Legend: m = markets, t = steps.

A step sets oracle, mark and funding before it asks its breakers. The first update of these that a
breaker of step t can stop is therefore that of step t + 1, and it is stopped: only at t + 1, after
it, is the condition looked at again. Liquidation and deleveraging come later and stop in step t.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import ACTIONS, FUND, MARK_UPDATE, ORACLE_UPDATE

N_ACTIONS = len(ACTIONS)
BEFORE_BREAKERS = FUND | MARK_UPDATE | ORACLE_UPDATE


@kernel
def halt(v, m, t, actions, pause):
    """Block `actions` (bits) in market m: the condition holds at step t, and `pause` steps more."""
    for i in range(N_ACTIONS):
        if (actions >> i) & 1 == 1:
            until = t + 1 + pause + ((BEFORE_BREAKERS >> i) & 1)
            v.markets[m]["halted_until"][i] = max(v.markets[m]["halted_until"][i], until)


@inlined
def is_blocked(v, m, t, action):
    """Tell whether an action (one bit of ACTIONS) is stopped in market m at step t."""
    if v.venue[0]["outage"] & action != 0:
        return True
    position = 0
    while action >> position > 1:
        position += 1
    return v.markets[m]["halted_until"][position] > t
