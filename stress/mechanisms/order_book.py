"""Order book: a liquidation is a market order against the outside book at the venue's mid.

Stage        execution.
Formula      a fill of q moves the flow from z0 to z1 = z0 -+ q / depth and pays the mean of the displaced
             mid over [z0, z1]. The order stops where the marginal price reaches impact_max or the
             slippage cap, and, with deficit_fill: covered, where the fill's loss beyond the account's
             margin (kernels.margin.loss_beyond_margin) reaches what the layers before ADL can pay at once.
             No contract is sold below (bought above) order_limit: none; the bankruptcy price; fillable =
             (size x mark - ABR x spread_to_maintenance x maintenance) / size with ABR =
             clamp(bankruptcy_adjustment x (1 - equity / requirement), 0, 1); zero = mark x (1 - side x
             equity / requirement x maintenance / notional), at which equity / requirement stays.
Source       design of this project; market order of Hyperliquid docs, liquidations.md (2026-08-22); fillable:
             dYdX v4-chain, x/clob/keeper/liquidations.go:500 @ 84d4664b; zero price: Lighter docs (2025).
Invariants   I1; I4 (the binding limit is returned).
Limits       one book per market, symmetric, replenished by the decay of own flow only.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from stress.kernels.impact import absorb_flow, displaced, displacement
from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import loss_beyond_margin
from stress.kernels.venue import BALANCE, CAP, NO_LIMIT, OUTSIDE_BOOK
from stress.stages import Mechanism, MechanismParameters, Stage

# The search for a covered quantity ends where this fraction of what may be lost is left.
CLOSE = 1e-13


class OrderBook(MechanismParameters):
    """`deficit_fill` says whether fills below the bankruptcy price need cover, `order_limit` where an order stops."""

    deficit_fill: Literal["covered", "any"] = Field(
        default="covered", description="covered = only as far as the layers before ADL can pay; any = always"
    )
    order_limit: Literal["none", "bankruptcy", "fillable", "zero"] = Field(
        default="none", description="worst marginal price of an order: none = a market order"
    )
    bankruptcy_adjustment: float = Field(
        default=1.0, ge=1, description="fillable: how fast the limit falls to its end as equity falls (BA)"
    )
    spread_to_maintenance: float = Field(
        default=0.1, ge=0, description="fillable: largest distance from the mark over the maintenance fraction (SMMR)"
    )


@inlined
def fillable_price(mark, size, equity, requirement, maintenance, adjustment, spread):
    """Worst price of a liquidation order, USD; `size` signed base units, `maintenance` of this position, USD."""
    ratio = min(max(adjustment * (1.0 - equity / requirement), 0.0), 1.0)
    return (size * mark - ratio * spread * maintenance) / size


@inlined
def zero_price(mark, size, equity, requirement, maintenance):
    """Price at which closing contracts leaves equity / requirement as it is, USD."""
    return mark - equity / requirement * maintenance / size


@kernel
def limit_price(v, r, bankruptcy_price, equity, requirement, maintenance):
    """Worst marginal price of the order for row `r`: its own limit and the venue's price band, USD."""
    m = v.rows[r]["market"]
    size = v.rows[r]["size"]
    mark = v.markets[m]["mark"]
    rule = v.terms[m]["order_limit"]
    limit = 0.0 if size > 0.0 else math.inf
    if rule == 1:
        limit = bankruptcy_price
    elif rule >= 2 and requirement > 0.0:
        own = maintenance(v, m, size, mark)
        if rule == 2:
            limit = fillable_price(
                mark,
                size,
                equity,
                requirement,
                own,
                v.terms[m]["bankruptcy_adjustment"],
                v.terms[m]["spread_to_maintenance"],
            )
        else:
            limit = zero_price(mark, size, equity, requirement, own)
    return max(limit, v.markets[m]["order_low"]) if size > 0.0 else min(limit, v.markets[m]["order_high"])


@kernel
def covered_quantity(v, r, most, price, bankruptcy_price, equity, cover, world, z0, depth, average):
    """Return the largest part of an order of `most` base units (too many, at `price`) whose loss `cover` can pay.

    The loss beyond the margin grows with q once it is positive: false position, the end that stays where it is counted half.
    Where nothing may be lost the loss of one contract is asked, since that of none is zero.
    """
    m = v.rows[r]["market"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    budget = cover + max(0.0, equity)
    each = budget <= 0.0
    low, high = 0.0, most
    spare = side * (displaced(v, m, world, average(v, m, z0, z0)) - bankruptcy_price) if each else budget
    over = (loss_beyond_margin(v, r, most, price, equity, bankruptcy_price) - cover) / (most if each else 1.0)
    if spare <= 0.0:
        return 0.0
    enough = CLOSE * spare
    moved = 0
    for step in range(200):
        straight = step % 8 < 7 and over < math.inf
        middle = low + (high - low) * (spare / (spare + over)) if straight else 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        price = displaced(v, m, world, average(v, m, z0, z0 - side * middle / depth))
        lost = loss_beyond_margin(v, r, middle, price, equity, bankruptcy_price) - cover
        if lost > 0.0:
            high, over = middle, lost / middle if each else lost
            spare *= 0.5 if moved > 0 else 1.0
            moved = 1
        else:
            low, spare = middle, -lost / middle if each else -lost
            if spare <= enough:
                break
            over *= 0.5 if moved < 0 else 1.0
            moved = -1
    return low


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Sell (close a long) or buy back `quantity` > 0 base units of row `r`."""
    m = v.rows[r]["market"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0  # a long is closed by selling: flow falls
    depth = v.markets[m]["depth"]
    if depth <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, CAP
    z0 = displacement(v, m, t)
    g0 = respond(v, m, z0)
    world = v.markets[m]["world"] * v.markets[m]["premium_factor"]

    limit = NO_LIMIT
    reach = v.terms[m]["impact_max"]
    end = -side * reach  # response at which the book ends
    cap = v.terms[m]["slippage_cap"]
    if cap < 1.0:  # 1 stands for none (ImpactParameters.terms)
        if v.terms[m]["additive"] == 0:
            slipped = (1.0 + g0) * (1.0 - side * cap) - 1.0
        else:
            slipped = g0 - side * cap * displaced(v, m, world, g0) / v.markets[m]["initial_price"]
        end = max(end, slipped) if side > 0.0 else min(end, slipped)
    worst = limit_price(v, r, bankruptcy_price, equity, requirement, maintenance)
    if 0.0 < worst < math.inf:
        worst = worst / world - 1.0 if v.terms[m]["additive"] == 0 else (worst - world) / v.markets[m]["initial_price"]
        end = max(end, worst) if side > 0.0 else min(end, worst)
    room = side * (z0 - invert(v, m, end))  # flow; asked before x depth, which may be infinite
    if room <= 0.0:
        return 0.0, 0.0, OUTSIDE_BOOK, CAP
    filled = quantity
    if filled > room * depth:
        filled = room * depth
        limit = CAP

    price = displaced(v, m, world, average(v, m, z0, z0 - side * filled / depth))
    if v.terms[m]["deficit_fill"] == 0 and loss_beyond_margin(v, r, filled, price, equity, bankruptcy_price) > cover:
        filled = covered_quantity(v, r, filled, price, bankruptcy_price, equity, cover, world, z0, depth, average)
        limit = BALANCE
        if filled <= quantity * 1e-12:
            return 0.0, 0.0, OUTSIDE_BOOK, BALANCE
        price = displaced(v, m, world, average(v, m, z0, z0 - side * filled / depth))
    absorb_flow(v, m, t, -side * filled / depth)
    return filled, price, OUTSIDE_BOOK, limit


MECHANISM = Mechanism(name="order_book", stage=Stage.EXECUTION, parameters=OrderBook, kernels={"execute": execute})
