"""Fraction with cooldown: a large position is closed in part first, then whole.

Stage        size.
Formula      notional > full_below and no cooldown running: fraction x |size|, and a cooldown starts at
             the fill; else, or while it runs, |size| (or nothing, with during_cooldown: wait).
Source       Hyperliquid docs, liquidations.md (2026-08-22): 20 % above 100,000 USDC, 30 s, then the whole.
Invariants   closes no more than what is open; the cooldown is per account.
Limits       a cooldown shorter than the step is rounded up to one step. A position worth less than the smallest
             amount that venues book (kernels.venue.QUANTUM) is closed whole: parts of parts would never end.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.jit import kernel
from stress.kernels.venue import QUANTUM
from stress.stages import Mechanism, MechanismParameters, RoundedUp, Seconds, Stage, StateField


class FractionWithCooldown(MechanismParameters):
    """`full_below` is USD notional at the mark."""

    fraction: float = Field(gt=0, le=1, description="share closed by the first order")
    full_below: float = Field(ge=0, description="positions up to this notional are closed whole, USD")
    cooldown: RoundedUp = Field(default=Seconds(0.0), description="time after a partial fill")
    during_cooldown: Literal["full", "wait"] = Field(default="full", description="what an order closes meanwhile")


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    running = v.accounts[a]["cooldown_until"] > t
    # Orders of one round go out together: a fill of this round binds only the rounds after it.
    if running and v.accounts[a]["cooldown_round"] != v.venue[0]["round"]:
        return 0.0 if terms["during_cooldown"] == 1 else abs(v.rows[r]["size"])
    if abs(v.rows[r]["size"]) * v.markets[m]["mark"] > max(terms["full_below"], QUANTUM):
        return terms["fraction"] * abs(v.rows[r]["size"])
    return abs(v.rows[r]["size"])


@kernel
def on_fill(v, a, r, filled, price, t):
    """Start the account's cooldown at a fill that left the position open."""
    if a < v.traders and v.rows[r]["size"] != 0.0 and v.accounts[a]["cooldown_until"] <= t:
        v.accounts[a]["cooldown_until"] = t + v.terms[v.rows[r]["market"]]["cooldown_steps"]
        v.accounts[a]["cooldown_round"] = v.venue[0]["round"]


MECHANISM = Mechanism(
    name="fraction_with_cooldown",
    stage=Stage.SIZE,
    parameters=FractionWithCooldown,
    kernels={"quantity": quantity},
    state=(
        StateField("cooldown_until", "account", "i8", "step", reset=-1),
        StateField("cooldown_round", "account", "f8", "round of the path", reset=-1),
    ),
    on_fill=on_fill,
)
