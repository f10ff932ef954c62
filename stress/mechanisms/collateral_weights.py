"""Collateral weights: a holding counts at a weight below one, a borrowed asset above one; a share may be frozen.

Stage        collateral.
Formula      N = |size| x price, n = |size|. Held: weight = min(w, 1.1 / (1 + size_discount x sqrt(n))), w itself
             where size_discount = 0; to open, w is scaled by scale_start / deposits once deposits exceed it. Borrowed:
             weight = max(w, 0.8 w + size_discount x sqrt(n)). Weights are rounded down to multiples of weight_step.
             requirement = N x (1 - weight x (1 - frozen)) held, N x (weight - 1) borrowed.
             A due account's holding is sold by sale_share every sale_interval (all that fit in a step at once), and
             whole once its debt reaches whole_sale_weight x N; what is frozen cannot be sold.
             Debts in cash pay interest to the treasury every interest_interval, at a rate per year of
             borrow_base_rate + borrow_slope x max(0, u - borrow_kink), u = debts / credit balances of the traders.
Source       Drift protocol-v2, math/margin.rs:47 and state/spot_market.rs @ 0ae3e3b1 (weights, imf_factor, scale);
             Hyperliquid docs, portfolio-margin.md (2026-08-22): weight LTV to borrow, 0.5 + 0.5 LTV to keep, 20 % every
             3 s, whole at LTV + (1 - LTV) x 2 / 3.
Invariants   0 <= requirement of a holding <= its value; a freeze never lowers a requirement.
Limits       interest is not compounded between two payments. A frozen share is lost to the account while it lasts, and whole again afterwards; of what a sale leaves, the same share counts out as before.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from stress.kernels.culling import disturb
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import note_change, touch
from stress.kernels.venue import TREASURY
from stress.stages import (
    CollateralParameters,
    Mechanism,
    MechanismParameters,
    PerStep,
    RoundedUp,
    Seconds,
    Stage,
    StateField,
    format_duration,
)

YEAR = 365.0 * 86400.0


class AssetWeights(MechanismParameters):
    """Weights of one asset, as fractions of its price."""

    initial_weight: float = Field(ge=0, le=1, description="share of a holding's value that counts, to open or borrow")
    maintenance_weight: float = Field(ge=0, le=1, description="the same, to keep")
    initial_liability_weight: float = Field(default=1.0, ge=1, description="multiple of a borrowed value, to open")
    maintenance_liability_weight: float = Field(default=1.0, ge=1, description="the same, to keep")
    size_discount: float = Field(default=0.0, ge=0, description="discount per square root of a base unit")
    scale_start: float | None = Field(
        default=None, gt=0, description="deposits from which weights shrink, USD; null = never"
    )
    sale_share: float = Field(default=1.0, gt=0, le=1, description="share of a holding that one sale takes")
    sale_interval: PerStep = Field(default=Seconds(3.0), gt=0, description="time between two sales")
    whole_sale_weight: float = Field(default=1.0, gt=0, description="debt over value at which all is sold at once")
    frozen_share: float = Field(default=0.0, ge=0, le=1, description="share of every holding that is frozen")
    frozen_from: RoundedUp = Field(default=Seconds(0.0), description="time on the path at which the freeze begins")
    frozen_for: RoundedUp = Field(default=Seconds(0.0), description="how long it lasts; 0s = to the horizon")

    @model_validator(mode="after")
    def _ordered(self) -> AssetWeights:
        if self.initial_weight > self.maintenance_weight:
            raise ValueError("a holding counts no more to open than to keep")
        if self.initial_liability_weight < self.maintenance_liability_weight:
            raise ValueError("a borrowed asset counts no less to open than to keep")
        return self

    def terms(self, market, step):
        """Return the kernel's fields; never scaled is scaled from an amount that nobody holds."""
        stated = self if self.scale_start is not None else self.model_copy(update={"scale_start": 1e300})
        return MechanismParameters.terms(stated, market, step)


class CollateralWeights(CollateralParameters):
    """`markets` maps an asset to its weights."""

    markets: dict[str, AssetWeights] = Field(min_length=1, description="weights of each asset")
    weight_step: float = Field(default=0.0, ge=0, lt=0.1, description="weights are rounded down to multiples of it")
    borrow_base_rate: float = Field(default=0.0, ge=0, description="interest on debts in cash, per year")
    borrow_slope: float = Field(default=0.0, ge=0, description="added per unit of utilisation above the kink, per year")
    borrow_kink: float = Field(default=0.8, ge=0, le=1, description="utilisation above which the slope is added")
    interest_interval: RoundedUp = Field(default=Seconds(3600.0), gt=0, description="time between two payments")

    def notes(self) -> tuple[str, ...]:
        """Say which holdings are frozen, and when."""
        return tuple(
            f"{asset.frozen_share:.0%} of every holding of {name} is frozen from {format_duration(asset.frozen_from)} "
            + (f"for {format_duration(asset.frozen_for)}." if asset.frozen_for > 0 else "to the horizon.")
            for name, asset in self.markets.items()
            if asset.frozen_share > 0
        )


@inlined
def _down(value, step):
    """Round down to a multiple of `step`; a hair above, so that a multiple in binary stays what it is."""
    return math.floor(value / step + 1e-9) * step if step > 0.0 else value


@inlined
def held_weight(v, m, size, weight):
    """Return the weight of a holding of `size` base units whose weight is `weight` when small."""
    terms = v.terms[m]
    discount = terms["size_discount"]
    if discount > 0.0:
        weight = min(weight, 1.1 / (1.0 + discount * math.sqrt(abs(size))))
    return _down(weight, terms["weight_step"])


@inlined
def scaled_weight(v, m):
    """Return the weight to open of a small holding: it shrinks once all deposits exceed scale_start."""
    terms = v.terms[m]
    weight = terms["initial_weight"]
    deposits = v.markets[m]["open_interest"]
    if deposits > terms["scale_start"]:
        weight *= terms["scale_start"] / deposits
    return _down(weight, terms["weight_step"])


@inlined
def borrowed_weight(v, m, size, weight):
    """Return the weight of a borrowed `size` whose weight is `weight` when small."""
    terms = v.terms[m]
    premium = terms["size_discount"] * math.sqrt(abs(size))
    if premium == 0.0:
        return _down(weight, terms["weight_step"])
    return _down(max(weight, 0.8 * weight + premium), terms["weight_step"])


@inlined
def maintenance(v, m, size, price):
    """Part of a holding's value that does not count for maintenance, or what a borrowed asset adds, USD."""
    terms = v.terms[m]
    value = abs(size) * price
    if size < 0.0:
        return value * (borrowed_weight(v, m, size, terms["maintenance_liability_weight"]) - 1.0)
    counts = 1.0 - v.markets[m]["frozen"]
    return value * (1.0 - held_weight(v, m, size, terms["maintenance_weight"]) * counts)


@kernel
def initial(v, m, size, price):
    """The same, to open a position or to borrow, USD."""
    value = abs(size) * price
    if size < 0.0:
        return value * (borrowed_weight(v, m, size, v.terms[m]["initial_liability_weight"]) - 1.0)
    counts = 1.0 - v.markets[m]["frozen"]
    return value * (1.0 - held_weight(v, m, size, scaled_weight(v, m)) * counts)


@inlined
def bound(v, m, size, low, high):
    """Highest requirement over prices in [low, high], USD; a freeze is announced by `disturb`."""
    return maintenance(v, m, size, high)


@inlined
def borrow_rate(v, utilisation):
    """Interest on debts per year at a utilisation."""
    terms = v.terms[0]
    return terms["borrow_base_rate"] + terms["borrow_slope"] * max(0.0, utilisation - terms["borrow_kink"])


@kernel
def charge_interest(v):
    """Let every trader who owes cash pay one interval's interest to the treasury."""
    debts = 0.0
    credits = 0.0
    for a in range(v.traders):
        debts -= min(0.0, v.accounts[a]["cash"])
        credits += max(0.0, v.accounts[a]["cash"])
    if debts == 0.0:
        return
    rate = borrow_rate(v, debts / credits if credits > 0.0 else 1.0)
    due = rate * v.terms[0]["interest_interval_steps"] * v.step_seconds / YEAR
    paid = 0.0
    for a in range(v.traders):
        if v.accounts[a]["cash"] < 0.0:
            interest = -v.accounts[a]["cash"] * due
            touch(v, a)
            v.accounts[a]["cash"] -= interest
            paid += interest
    touch(v, v.traders + TREASURY)
    v.accounts[v.traders + TREASURY]["cash"] += paid


@kernel
def update(v, path, t):
    """Begin and end the freeze; charge interest at its intervals."""
    terms = v.terms[0]
    charges = terms["borrow_base_rate"] > 0.0 or terms["borrow_slope"] > 0.0
    if charges and t > 0 and t % terms["interest_interval_steps"] == 0:
        charge_interest(v)
    for m in range(v.markets.shape[0]):
        terms = v.terms[m]
        begin, lasts = terms["frozen_from_steps"], terms["frozen_for_steps"]
        frozen = terms["frozen_share"] if t >= begin and (lasts == 0 or t < begin + lasts) else 0.0
        if frozen != v.markets[m]["frozen"]:
            v.markets[m]["frozen"] = frozen
            for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
                r = v.market_rows[k]
                note_change(v, v.rows[r]["account"])
                v.rows[r]["frozen_units"] = frozen * max(0.0, v.rows[r]["size"])
            disturb(v)


@kernel
def sale(v, a, r, equity, requirement, t):
    """Base units of the holding in row `r` that a due account sells in one order, >= 0."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    size = v.rows[r]["size"]
    free = max(0.0, size - v.rows[r]["frozen_units"])
    debt = -v.accounts[a]["cash"]
    if debt >= terms["whole_sale_weight"] * size * v.markets[m]["mark"]:
        return free
    if v.rows[r]["sold_step"] == t:
        return 0.0
    v.rows[r]["sold_step"] = t
    sales = max(1.0, v.step_seconds / terms["sale_interval"])
    return free * (1.0 - (1.0 - terms["sale_share"]) ** sales)


MECHANISM = Mechanism(
    name="collateral_weights",
    stage=Stage.COLLATERAL,
    parameters=CollateralWeights,
    kernels={"maintenance": maintenance, "initial": initial, "update": update, "sale": sale},
    bound=bound,
    state=(
        StateField("frozen", "market", "f8", "fraction"),
        StateField("frozen_units", "row", "f8", "base units"),
        StateField("sold_step", "row", "i8", "step", reset=-1),
    ),
)
