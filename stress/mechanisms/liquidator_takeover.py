"""Liquidator takeover: a liquidator takes contracts at the oracle price less a discount and sells them on.

Stage        execution.
Formula      price = O x (1 -+ f); f = takeover_fee, or discount_of_maintenance x maintenance / notional where that is
             stated; where the account was inactive for ramp_after or longer, f + ramp_rate x all the inactive time,
             up to takeover_fee_max. Inactive = since its last fill, or t = 0. With resale: book a liquidator takes no
             more than what it can sell on at the venue's mid, moved by the resale, for
             price x (1 +- resale_margin); with resale: none it takes everything and the mid does not move.
Source       Drift protocol-v2, controller/liquidation.rs:78 and math/liquidation.rs (get_liquidation_fee) @ 0ae3e3b1: 1e-6
             per slot of 0.4 s after 1,500 slots; Vertex docs (2024): half of the maintenance weight.
Invariants   I1; the account pays the discount, the outside book gets it.
Limits       liquidators have no capital limit of their own; they hold what they take to the horizon in the outside book.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.resale import resale_room, sell_on
from stress.kernels.venue import ELIGIBILITY, NO_LIMIT, OUTSIDE_BOOK
from stress.stages import Exact, Mechanism, MechanismParameters, Seconds, Stage, StateField

Share = Annotated[float, Field(ge=0, lt=1)]


class LiquidatorTakeover(MechanismParameters):
    """Discounts are fractions of the oracle price: a number, or one per market."""

    takeover_fee: Share | dict[str, Share] = Field(
        default=0.0, description="discount f_L, fraction of the oracle price"
    )
    takeover_fee_max: Share | dict[str, Share] | None = Field(
        default=None, description="largest discount that the ramp reaches; null = no ramp"
    )
    ramp_after: Exact = Field(default=Seconds(600.0), description="inactive time after which the discount grows")
    ramp_rate: float = Field(default=2.5e-6, ge=0, description="growth of the discount per second of inactivity")
    discount_of_maintenance: float = Field(
        default=0.0, ge=0, le=1, description="discount as a share of the maintenance fraction; 0 = takeover_fee holds"
    )
    resale: Literal["book", "none"] = Field(default="book", description="whether contracts are sold on at once")
    resale_margin: float = Field(default=0.0, ge=0, description="profit that a liquidator demands, fraction of price")

    def terms(self, market, step):
        """Return the kernel's fields; no ramp is a ramp that ends where it starts."""
        stated = (
            self
            if self.takeover_fee_max is not None
            else self.model_copy(update={"takeover_fee_max": self.takeover_fee})
        )
        return MechanismParameters.terms(stated, market, step)


@inlined
def ramped(fee, highest, inactive, after, rate):
    """Discount after `inactive` seconds (or slots, with `rate` per slot)."""
    return min(highest, fee + rate * inactive) if inactive >= after else fee


@kernel
def discount(v, a, r, t, maintenance):
    """Discount at which contracts of row `r` are taken over in step t, fraction of the oracle price."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    fee = terms["takeover_fee"]
    if terms["discount_of_maintenance"] > 0.0:
        price = v.markets[m]["mark"]
        size = v.rows[r]["size"]
        fee = terms["discount_of_maintenance"] * maintenance(v, m, size, price) / (abs(size) * price)
    inactive = (t - v.accounts[a]["last_fill_step"]) * v.step_seconds
    return ramped(fee, max(fee, terms["takeover_fee_max"]), inactive, terms["ramp_after"], terms["ramp_rate"])


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Hand `quantity` > 0 base units of row `r`, or what can be sold on, to liquidators."""
    m = v.rows[r]["market"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    price = v.markets[m]["oracle"] * (1.0 - side * discount(v, a, r, t, maintenance))
    if v.terms[m]["resale"] == 1:
        return quantity, price, OUTSIDE_BOOK, NO_LIMIT
    worst = price * (1.0 + side * v.terms[m]["resale_margin"])
    filled = min(quantity, resale_room(v, m, t, side, worst, respond, invert))
    if filled <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, ELIGIBILITY
    sell_on(v, m, t, side, filled)
    return filled, price, OUTSIDE_BOOK, NO_LIMIT if filled == quantity else ELIGIBILITY


@kernel
def on_fill(v, a, r, filled, price, t):
    """The account was active in this step."""
    v.accounts[a]["last_fill_step"] = t


MECHANISM = Mechanism(
    name="liquidator_takeover",
    stage=Stage.EXECUTION,
    parameters=LiquidatorTakeover,
    kernels={"execute": execute},
    state=(StateField("last_fill_step", "account", "i8", "step"),),
    on_fill=on_fill,
)
