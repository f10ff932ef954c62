"""Which accounts need a look: bounds that let the engine skip the others, exactly.

While positions are fixed, equity is linear in prices. Around the marks of some step a box is laid, one
range per market. An account whose equity at the worst corner of the box clears its highest requirement
in the box cannot be flagged while the marks stay inside: it is left out of the box's list. Boxes are
nested, each list made from that of the box around it, so that the widest, which asks every account, is
laid a few times a path, and the narrowest, whose list is looked at in every round, has a list of few or
none. Where the list is empty a step costs its markets and no account. The result is that of looking at
every account (I9); only the time differs.

Legend: a = accounts, r = rows, m = markets, b = boxes, the widest first. `ceiling(v, m, size, low, high)`
is the margin rule's highest requirement over a range of prices, `clear(v, a, equity, requirement)` the
trigger rule's word that it will not flag an account with at least this equity and at most this requirement.
"""

from __future__ import annotations

import math

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import note_change
from stress.kernels.venue import BOXES, MARKET_MAKERS, QUANTUM, VAULT

# Half widths of the boxes in typical moves of a step, the narrowest last; a box of width k lasts about k^2 steps.
WIDTHS = (40.0, 12.0, 4.0, 1.5)
# The typical move is learnt from what prices did since the last box was laid; fractions of price.
FIRST_PACE, SLOWEST, FASTEST = 0.0007, 0.00005, 0.01
LEARNING = 0.25
# Rounding of a sum of products is far below this fraction of the amounts in it.
ROUNDING = 1e-9


@inlined
def is_inside(v, b):
    """Tell whether every mark, with and without accrued funding, is inside box b."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["box_low"][b] <= market["mark"] <= market["box_high"][b]):
            return False
        if not (market["box_net_low"][b] <= market["net_mark"] <= market["box_net_high"][b]):
            return False
    return True


@kernel
def learn_pace(v, t):
    """Update each market's typical move of a step, and start counting anew."""
    steps = max(1, t - v.venue[0]["laid_at"])
    v.venue[0]["laid_at"] = t
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        moved = market["mark"] / market["laid_mark"] - 1.0
        square = (1.0 - LEARNING) * market["pace"] ** 2 + LEARNING * moved * moved / steps
        market["pace"] = min(max(math.sqrt(square), SLOWEST), FASTEST)
        market["laid_mark"] = market["mark"]


@kernel
def lay_box(v, b):
    """Centre box b on the present marks, within the box around it."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        reach = WIDTHS[b] * market["pace"] * market["mark"]
        low, high = market["mark"] - reach, market["mark"] + reach
        net_low, net_high = market["net_mark"] - reach, market["net_mark"] + reach
        if b > 0:
            low, high = max(low, market["box_low"][b - 1]), min(high, market["box_high"][b - 1])
            net_low, net_high = max(net_low, market["box_net_low"][b - 1]), min(net_high, market["box_net_high"][b - 1])
        market["box_low"][b], market["box_high"][b] = low, high
        market["box_net_low"][b], market["box_net_high"][b] = net_low, net_high


@inlined
def is_safe(v, a, b, ceiling, clear):
    """Tell whether the account cannot be flagged, nor owe anything, while marks stay in box b."""
    cash = v.accounts[a]["cash"]
    floor = cash
    highest = 0.0
    amounts = abs(cash)
    flat = True
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size = v.rows[r]["size"]
        if size == 0.0:
            continue
        flat = False
        market = v.markets[v.rows[r]["market"]]
        high = market["box_high"][b]
        carry = v.rows[r]["carry"]
        floor += size * (market["box_net_low"][b] if size > 0.0 else market["box_net_high"][b]) - carry
        highest += ceiling(v, v.rows[r]["market"], size, market["box_low"][b], high)
        amounts += abs(size) * high + abs(carry)
    if flat:
        return cash >= -QUANTUM
    floor -= ROUNDING * amounts
    return floor >= 0.0 and clear(v, a, floor, highest + ROUNDING * amounts)


@kernel
def stays_solvent(v, a):
    """Tell whether the account's equity cannot fall below zero while marks stay in the narrowest box."""
    floor = v.accounts[a]["cash"]
    amounts = abs(floor)
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size = v.rows[r]["size"]
        market = v.markets[v.rows[r]["market"]]
        carry = v.rows[r]["carry"]
        floor += size * (market["box_net_low"][BOXES - 1] if size > 0.0 else market["box_net_high"][BOXES - 1]) - carry
        amounts += abs(size) * market["box_high"][BOXES - 1] + abs(carry)
    return floor - ROUNDING * amounts >= 0.0


@kernel
def select_candidates(v, t, ceiling, clear, pending):
    """List the accounts to evaluate on the present marks, in order of account; return their number."""
    state = v.venue[0]
    if state["disturbed"] == 0 and is_inside(v, BOXES - 1):
        return state["listed"][BOXES - 1]
    b = 0
    if state["disturbed"] == 0:
        while is_inside(v, b):
            b += 1
    state["disturbed"] = 0
    learn_pace(v, t)
    while b < BOXES:
        lay_box(v, b)
        state["rebuilds"] += 1
        found = 0
        for k in range(v.traders if b == 0 else state["listed"][b - 1]):
            a = k if b == 0 else v.lists[b - 1, k]
            if pending(v, a) or not is_safe(v, a, b, ceiling, clear):
                v.lists[b, found] = a
                found += 1
                if b == BOXES - 1:
                    note_change(v, a)  # who is looked at may be written
        state["listed"][b] = found
        b += 1
    state["holders_safe"] = (
        1 if stays_solvent(v, v.traders + VAULT) and stays_solvent(v, v.traders + MARKET_MAKERS) else 0
    )
    return state["listed"][BOXES - 1]


@kernel
def begin_selection(v):
    """Before step 1: nothing is known of any account."""
    v.venue[0]["disturbed"] = 1
    v.venue[0]["laid_at"] = 0
    for m in range(v.markets.shape[0]):
        v.markets[m]["pace"] = FIRST_PACE
        v.markets[m]["laid_mark"] = v.markets[m]["mark"]


@kernel
def disturb(v):
    """Say that accounts which nobody looked at have changed: the next selection starts from all."""
    v.venue[0]["disturbed"] = 1


@inlined
def _world_inside(v):
    """Tell whether every world price, with and without accrued funding, is inside the widest box."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["box_low"][0] <= market["world"] <= market["box_high"][0]):
            return False
        if not (market["box_net_low"][0] <= market["world"] - market["funding_index"] <= market["box_net_high"][0]):
            return False
    return True


@kernel
def list_insolvable(v):
    """At the horizon: list in box 0 every trader account whose equity may be negative, at marks or at world prices."""
    if v.venue[0]["disturbed"] == 0 and is_inside(v, 0) and _world_inside(v):
        return v.venue[0]["listed"][0]
    for a in range(v.traders):
        v.lists[0, a] = a
    return v.traders
