"""Keepers: bots that liquidate for a share of the position, after a latency, if it pays for their gas.

Stage        execution.
Formula      a keeper takes contracts at O x (1 -+ f) and sells them on at the venue's mid, moved by the resale. It acts
             keeper_reaction after the account was first due, only if f x notional >= gas x (1 + keeper_profit), and never
             for more than it can sell on at f or better. f = keeper_discount x (1 + extraction_share) with extraction:
             sandwich (the keeper moves the price against the account first) and wait (it holds back keeper_patience
             longer for the larger discount); x (1 - extraction_share) with compete (rivals bid the share back to the
             account); x 1 with none. Each liquidation burns its gas: `outside_book`, where keepers sell on, pays it out of the
             ledger (keeper_gas).
Source       Qin, Zhou, Gamito, Jovanovic, Gervais (2021), An empirical study of DeFi liquidations, arXiv 2106.06389 (fixed
             spread, gas competition); Daian et al. (2020), Flash Boys 2.0, arXiv 1904.05234 (priority auctions).
Invariants   I1, gas being a named external flow; no fill worse than the discount; a position too small for the gas is not touched.
Limits       a keeper's profit stands with `outside_book`, through which he sells on; one kind of keeper per venue; latency runs from the step in which the account was first due without a break.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import touch
from stress.kernels.resale import resale_room, sell_on
from stress.kernels.venue import CAP, ELIGIBILITY, NO_LIMIT, OUTSIDE_BOOK, TIME
from stress.stages import Mechanism, MechanismParameters, RoundedUp, Seconds, Stage, StateField

NONE, WAIT, COMPETE, SANDWICH = range(4)


class Keepers(MechanismParameters):
    """`gas` is USD per liquidation; discounts are fractions of the oracle price."""

    keeper_discount: float = Field(gt=0, lt=1, description="discount of the venue's rule, fraction of the oracle price")
    keeper_reaction: RoundedUp = Field(default=Seconds(0.0), description="time from being due to the keeper's action")
    gas: float = Field(default=0.0, ge=0, description="cost of one liquidation, USD")
    keeper_profit: float = Field(default=0.0, ge=0, description="profit demanded over the gas, as a share of it")
    extraction: Literal["none", "wait", "compete", "sandwich"] = Field(
        default="none", description="what the keeper does with its advantage"
    )
    extraction_share: float = Field(default=0.0, ge=0, le=1, description="share of the discount that this moves")
    keeper_patience: RoundedUp = Field(default=Seconds(0.0), description="how much longer a waiting keeper holds back")


@inlined
def effective_discount(discount, extraction, share):
    """Discount that the account pays, fraction of the oracle price, below 1."""
    if extraction == COMPETE:
        return discount * (1.0 - share)
    return min(discount * (1.0 + share), 0.999999) if extraction != NONE else discount


@kernel
def pay_gas(v, gas):
    """Let who sells on pay `gas` (USD >= 0) to the chain: it leaves the ledger by name (I1)."""
    if gas > 0.0:
        touch(v, v.traders + OUTSIDE_BOOK)
        v.accounts[v.traders + OUTSIDE_BOOK]["cash"] -= gas
        v.venue[0]["external_flow"] -= gas
        v.out[0]["keeper_gas"] += gas


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Let a keeper take `quantity` > 0 base units of row `r`, or what it can sell on, once it is time and pays."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    row = v.rows[r]
    if row["keeper_seen"] < t - 1:
        row["keeper_since"] = t
    row["keeper_seen"] = t
    wait = terms["keeper_reaction_steps"]
    if terms["extraction"] == WAIT:
        wait += terms["keeper_patience_steps"]
    if t - row["keeper_since"] < wait:
        return 0.0, 0.0, OUTSIDE_BOOK, TIME
    side = 1.0 if row["size"] > 0.0 else -1.0
    share = effective_discount(terms["keeper_discount"], terms["extraction"], terms["extraction_share"])
    price = v.markets[m]["oracle"] * (1.0 - side * share)
    filled = min(quantity, resale_room(v, m, t, side, price, respond, invert))
    if filled <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, ELIGIBILITY
    if share * filled * v.markets[m]["oracle"] < terms["gas"] * (1.0 + terms["keeper_profit"]):
        return 0.0, 0.0, OUTSIDE_BOOK, CAP
    sell_on(v, m, t, side, filled)
    pay_gas(v, terms["gas"])
    return filled, price, OUTSIDE_BOOK, NO_LIMIT if filled == quantity else ELIGIBILITY


MECHANISM = Mechanism(
    name="keepers",
    stage=Stage.EXECUTION,
    parameters=Keepers,
    kernels={"execute": execute},
    state=(
        StateField("keeper_since", "row", "i8", "step in which the row's account was first due"),
        StateField("keeper_seen", "row", "i8", "last step in which it was due", reset=-2),
    ),
)
