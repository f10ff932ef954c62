"""Dutch auction: a position is offered at a price that falls until somebody can sell it on; it can get stuck.

Stage        execution.
Formula      an auction of row r starts when its account is first due, at s = O x (1 +- auction_premium); after the age
             u it asks s x (1 -+ auction_drop x u / auction_length), plus for a short. Bidders take what they can sell on at
             the venue's mid, moved by the resale, at no less than the price + auction_margin. When auction_length is over
             the lot waits auction_reset and is offered anew from the oracle price of then.
Source       MakerDAO, Liquidations 2.0 (clip.sol, abaci.sol LinearDecrease), docs.makerdao.com (2021): tail and reset; on
             2020-03-12 its English auctions found no bidders.
Invariants   I1; no fill above the asking price of its step.
Limits       one auction per row; a break of being due, or of a halt, of more than a step starts it anew; bidders have no
             capital limit; the account stays exposed while the lot is open, and what is open at the horizon is
             unresolved.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.resale import resale_room, sell_on
from stress.kernels.venue import NO_LIMIT, OUTSIDE_BOOK, TIME
from stress.stages import Mechanism, MechanismParameters, RoundedUp, Seconds, Stage, StateField


class DutchAuction(MechanismParameters):
    """Fractions are of the oracle price at the start of the auction."""

    auction_premium: float = Field(default=0.0, ge=0, description="how far above (below for a short) the price starts")
    auction_drop: float = Field(default=0.2, gt=0, lt=1, description="fall of the price over the auction's length")
    auction_length: RoundedUp = Field(
        default=Seconds(1200.0), gt=0, description="time after which the price stands still"
    )
    auction_reset: RoundedUp = Field(default=Seconds(300.0), description="wait after an auction that did not sell all")
    auction_margin: float = Field(default=0.0, ge=0, description="profit that a bidder demands, fraction of price")


@inlined
def asking_price(start, side, drop, age, length):
    """Price asked after `age` of an auction of `length`, in any one unit of time."""
    return start * (1.0 - side * drop * min(age / length, 1.0))


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Offer row `r` at the price of this step; sells what bidders can sell on."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    row = v.rows[r]
    side = 1.0 if row["size"] > 0.0 else -1.0
    over = t - row["auction_since"] > terms["auction_length_steps"] + terms["auction_reset_steps"]
    if row["auction_seen"] < t - 1 or row["auction_side"] != side or over:
        row["auction_since"] = t
        row["auction_side"] = side
        row["auction_start"] = v.markets[m]["oracle"] * (1.0 + side * terms["auction_premium"])
    row["auction_seen"] = t
    age = t - row["auction_since"]
    if age > terms["auction_length_steps"]:
        return 0.0, 0.0, OUTSIDE_BOOK, TIME
    price = asking_price(row["auction_start"], side, terms["auction_drop"], age, terms["auction_length_steps"])
    worst = price * (1.0 + side * terms["auction_margin"])
    filled = min(quantity, resale_room(v, m, t, side, worst, respond, invert))
    if filled <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, TIME
    sell_on(v, m, t, side, filled)
    return filled, price, OUTSIDE_BOOK, NO_LIMIT if filled == quantity else TIME


MECHANISM = Mechanism(
    name="dutch_auction",
    stage=Stage.EXECUTION,
    parameters=DutchAuction,
    kernels={"execute": execute},
    state=(
        StateField("auction_since", "row", "i8", "step in which the auction started"),
        StateField("auction_seen", "row", "i8", "last step in which the row was on offer", reset=-2),
        StateField("auction_side", "row", "f8", "side of the position on offer"),
        StateField("auction_start", "row", "f8", "USD, price at which the auction started"),
    ),
)
