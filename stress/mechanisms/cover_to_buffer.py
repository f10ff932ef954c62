"""Cover to a buffer, throttled in time: close what cures the shortage, a growing share of it while time passes.

Stage        size.
Formula      b = margin_buffer, f = expected_discount, MR = maintenance / notional of the row, P = mark,
             g = fund fee per USD of notional; shortage = requirement - equity + b x (gross notional + losses);
             base = shortage / (P (MR + b - f) - P g), then up to a multiple of size_step and at most |size|; all where
             the divisor is not positive, or where the position is worth no more than whole_below. A fill of the base
             that covers the shortage ends the liquidation, as does a shortage that is gone.
             Open orders are cancelled first; what they asked for counts as freed. Throttle: with shortage >= throttle_above the share (min(1, elapsed / throttle_duration + first_share)
             x (shortage + freed) - freed) / shortage of the base is closed; freed = margin that earlier fills of the
             same liquidation released; elapsed counts from its first step.
Source       Drift protocol-v2, math/liquidation.rs and controller/liquidation.rs:78 @ 0ae3e3b1.
Invariants   closes no more than what is open; without throttle one fill at the expected price ends the shortage
             (to a size step); the share lies in [0, 1].
Limits       the price that the venue of execution gives is assumed to be mark x (1 -+ expected_discount). Rows are
             reduced in market order, each against the shortage then left.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import shortage_to_buffer
from stress.stages import Exact, Mechanism, MechanismParameters, NonNegativeByMarket, Seconds, Stage, StateField

# The venue counts shares of a shortage in whole steps of this size.
SHARE_STEP = 1e-4


class CoverToBuffer(MechanismParameters):
    """`expected_discount` is the discount at which liquidators take over, where a venue states one."""

    margin_buffer: float = Field(
        default=0.0, ge=0, lt=1, description="margin to restore above maintenance, of notional"
    )
    expected_discount: NonNegativeByMarket = Field(default=0.0, description="discount of the fill from the mark")
    size_step: NonNegativeByMarket = Field(default=0.0, description="smallest unit of size, base units; 0 = none")
    whole_below: float = Field(default=0.0, ge=0, description="a position worth no more is closed whole, USD")
    first_share: float = Field(default=1.0, ge=0, le=1, description="share of the shortage cured at once")
    throttle_duration: Exact = Field(default=Seconds(60.0), gt=0, description="time until all of it may be cured")
    throttle_above: float = Field(default=50.0, ge=0, description="smaller shortages are cured at once, USD")


@inlined
def base_to_cover(shortage, margin_ratio, discount, fund_fee, price, quote_price):
    """Base units whose close at `price` cures a shortage (USD); infinite where closing cures nothing.

    `margin_ratio` includes the buffer; the others are fractions of notional; `quote_price` is USD per unit of the
    money that positions settle in.
    """
    freed = price * quote_price * (margin_ratio - discount) - price * fund_fee
    return shortage / freed if freed > 0.0 else math.inf


@inlined
def share_now(shortage, freed, elapsed, duration, first_share, throttle_above):
    """Share of the shortage that may be cured now, in [0, 1]; `elapsed` and `duration` in one unit."""
    if shortage < throttle_above:
        return 1.0
    allowed = min(1.0, elapsed / duration + first_share)
    share = min(1.0, max(0.0, allowed * (shortage + freed) - freed) / shortage)
    return math.floor(share / SHARE_STEP + 1e-6) * SHARE_STEP


@inlined
def up_to(base, step):
    """Round base units up to a multiple of `step` > 0; a hair below, so that a multiple in binary stays what it is."""
    return math.ceil(base / step - 1e-9) * step if step > 0.0 and base < math.inf else base


@kernel
def quantity(v, a, r, equity, requirement, bankruptcy_price, t, maintenance, fee):
    """Base units of row `r` to close."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    size = abs(v.rows[r]["size"])
    price = v.markets[m]["mark"]
    account = v.accounts[a]
    if account["cure_seen"] < t - 1:  # it was cured in between: a new liquidation
        account["cure_since"] = t
        account["freed"] = 0.0
    account["cure_seen"] = t
    buffer = terms["margin_buffer"]
    shortage = shortage_to_buffer(v, a, equity, requirement, buffer)
    if account["order_requirement"] > 0.0:
        ordered = account["order_requirement"] + buffer * account["order_notional"]
        account["freed"] += max(0.0, shortage + ordered) - max(0.0, shortage)
        account["order_requirement"] = account["order_notional"] = 0.0
    if shortage <= 0.0:
        account["in_liquidation"] = 0
        return 0.0
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    own = maintenance(v, m, side * size, price)
    ratio = own / (size * price) + buffer
    charged, _ = fee(v, r, size, price, bankruptcy_price, equity, requirement, maintenance)
    rate = charged / (size * price)
    base = base_to_cover(shortage, ratio, terms["expected_discount"], rate, price, 1.0)
    step = terms["size_step"]
    v.rows[r]["cured_by"] = up_to(base, step)
    elapsed = (t - account["cure_since"]) * v.step_seconds
    share = share_now(
        shortage,
        account["freed"],
        elapsed,
        terms["throttle_duration"],
        terms["first_share"],
        terms["throttle_above"],
    )
    base = v.rows[r]["cured_by"] * share if share > 0.0 else 0.0  # not infinity x 0
    base = size if size * price <= terms["whole_below"] else min(up_to(base, step), size)
    closed = min(base, v.markets[m]["order_cap"] / price)
    if closed > 0.0:
        cost = closed * price * (terms["expected_discount"] + rate)
        left = maintenance(v, m, side * (size - closed), price) if closed < size else 0.0
        profit = side * size * price - v.rows[r]["entry_notional"] + v.rows[r]["realised"]
        lost = max(0.0, cost - max(0.0, profit))
        v.rows[r]["freed_per_unit"] = (own - left - cost + buffer * (closed * price - lost)) / closed
    return base


@kernel
def on_fill(v, a, r, filled, price, t):
    """Count the margin that a fill released; one that covers the shortage ends the liquidation."""
    if a < v.traders:
        v.accounts[a]["freed"] += filled * v.rows[r]["freed_per_unit"]
        if filled >= v.rows[r]["cured_by"] * (1.0 - 1e-12):
            v.accounts[a]["in_liquidation"] = 0


MECHANISM = Mechanism(
    name="cover_to_buffer",
    stage=Stage.SIZE,
    parameters=CoverToBuffer,
    kernels={"quantity": quantity},
    on_fill=on_fill,
    state=(
        StateField("cure_since", "account", "i8", "step"),
        StateField("cure_seen", "account", "i8", "step", reset=-2),
        StateField("freed", "account", "f8", "USD"),
        StateField("freed_per_unit", "row", "f8", "USD per base unit"),
        StateField("cured_by", "row", "f8", "base units whose close covers the shortage"),
        StateField("in_liquidation", "account", "i8", "flag"),
        StateField("order_requirement", "account", "f8", "USD that open orders add to the requirement"),
        StateField("order_notional", "account", "f8", "USD that open orders add to gross notional"),
    ),
)
