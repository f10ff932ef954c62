"""Which accounts need a look: bounds that let the engine skip the others, exactly.

While positions are fixed, equity is linear in prices. Over a coming window of steps a box is laid, one range of
prices per market. An account whose equity at the worst corner of the box clears its highest requirement
in the box cannot be flagged while the marks stay inside: it is left out of the box's list. Boxes are
nested, each list made from that of the box around it, so that the widest, which asks every account, is
laid once a path, and the narrowest, whose list is looked at in every round, has a list of few or
none. Where the list is empty a step costs its markets and no account. The result is that of looking at
every account (I9); only the time differs: marks are held against the box in every round, wherever it was laid. So a
box may be laid where the path's own future says that prices will go.

Legend: a = accounts, r = rows, m = markets, b = boxes, the widest first. `ceiling(v, m, size, low, high)`
is the margin rule's highest requirement over a range of prices, `clear(v, a, equity, requirement)` the
trigger rule's word that it will not flag an account with at least this equity and at most this requirement.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import index_of, note_change
from stress.kernels.venue import (
    BOXED,
    BOXES,
    IS_STALE,
    MARKET_MAKERS,
    QUANTUM,
    SAFE_AT_START,
    SAFE_NOW,
    STALE,
    VAULT,
    WINDOW,
)

# Windows of WINDOW steps that a box looks ahead, beside the present one and the one before it; 0 = to the horizon.
AHEAD = (0, 64, 12, 1)
# The narrowest box is that around it where this leaves so few accounts; else it lies around the present marks, with this
# share of its width to each side.
FEW, NEAR = 30, 0.1
# What own impact and premium may add to the range of world prices: a share of that range, and a fraction of price.
SLACK, FLOOR = 0.1, 0.0002
# Wide boxes that are asked once for all paths, in half widths of the first path's widest box.
LADDER = (0.5, 1.0, 1.4, 2.0, 3.0)
# Rounding of a sum of products is far below this fraction of the amounts in it.
ROUNDING = 1e-9


@kernel
def range_windows(v, path):
    """Find the lowest and highest world price of every window of the path."""
    steps = path.world.shape[0]
    for m in range(v.markets.shape[0]):
        for w in range(v.windows.shape[0]):
            low = high = path.world[w * WINDOW, m]
            for t in range(w * WINDOW + 1, min(steps, (w + 1) * WINDOW)):
                low = min(low, path.world[t, m])
                high = max(high, path.world[t, m])
            v.windows[w, m, 0], v.windows[w, m, 1] = low, high


@inlined
def is_inside(v, b):
    """Tell whether every mark, with and without accrued funding, is inside box b."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["box_low"][b] <= market["mark"] <= market["box_high"][b]):
            return False
        if not (
            market["box_net_low"][b] <= market["net_mark"] and market["short_net_mark"] <= market["box_net_high"][b]
        ):
            return False
    return True


@kernel
def lay_box(v, b, t):
    """Lay box b over the coming windows, the narrowest around the present marks; within the box around it."""
    if b == BOXES - 1:
        share = 1.0 if v.venue[0]["listed"][b - 1] <= FEW else NEAR
        for m in range(v.markets.shape[0]):
            market = v.markets[m]
            reach = share * (market["box_high"][b - 1] - market["box_low"][b - 1])
            set_range(v, m, b, market["mark"] - reach, market["mark"] + reach)
            stay_within(v, m, b)
        return
    first = max(0, t // WINDOW - 1)
    last = v.windows.shape[0] - 1
    if AHEAD[b] > 0:
        last = min(last, t // WINDOW + AHEAD[b])
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        low, high = v.windows[first, m, 0], v.windows[first, m, 1]
        for w in range(first + 1, last + 1):
            low = min(low, v.windows[w, m, 0])
            high = max(high, v.windows[w, m, 1])
        mark, gap = market["mark"], market["mark"] / market["world"]  # the mark may keep its distance
        low = min(low * min(1.0, gap), mark)
        high = max(high * max(1.0, gap), mark)
        slack = SLACK * (high - low) + FLOOR * mark
        set_range(v, m, b, low - slack, high + slack)
        ahead = ((last + 1) * WINDOW - t) / t  # funding may go on as it did
        market["box_net_low"][b] -= max(0.0, index_of(v, m, 1.0) * ahead)
        market["box_net_high"][b] += max(0.0, -index_of(v, m, -1.0) * ahead)
        if b > 0:
            stay_within(v, m, b)


@inlined
def stay_within(v, m, b):
    """Cut box b of market m at the bounds of the box around it."""
    market = v.markets[m]
    market["box_low"][b] = max(market["box_low"][b], market["box_low"][b - 1])
    market["box_high"][b] = min(market["box_high"][b], market["box_high"][b - 1])
    market["box_net_low"][b] = max(market["box_net_low"][b], market["box_net_low"][b - 1])
    market["box_net_high"][b] = min(market["box_net_high"][b], market["box_net_high"][b - 1])


@inlined
def set_range(v, m, b, low, high):
    """Set box b of market m: a range of marks, and of marks less funding the lowest of a long, the highest of a short."""
    market = v.markets[m]
    market["box_low"][b], market["box_high"][b] = low, high
    market["box_net_low"][b] = low - (market["mark"] - market["net_mark"])
    market["box_net_high"][b] = high - (market["mark"] - market["short_net_mark"])


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
def rank(v, t, ceiling, clear, pending):
    """Count for every account, as it stands at t = 0, the boxes of the ladder in which it is safe; for all paths."""
    lay_box(v, 0, t)
    for m in range(v.markets.shape[0]):
        half = 0.5 * (v.markets[m]["box_high"][0] - v.markets[m]["box_low"][0])
        for k in range(BOXES):
            v.opening[m]["ladder"][k] = LADDER[k] * half
            mark = v.opening[m]["mark"]
            market = v.markets[m]
            market["box_low"][k] = market["box_net_low"][k] = mark - LADDER[k] * half  # nothing has accrued
            market["box_high"][k] = market["box_net_high"][k] = mark + LADDER[k] * half
    for a in range(v.traders):
        safe = 0
        if v.accounts[a]["changed"] == 0 and not pending(v, a):
            while safe < BOXES and is_safe(v, a, safe, ceiling, clear):
                safe += 1
        v.culling[SAFE_AT_START, a] = v.culling[SAFE_NOW, a] = safe
    v.opening[0]["ranked"] = 1


@kernel
def rung(v):
    """Return the first box of the ladder around box 0; BOXES if none is wide enough."""
    found = 0
    for m in range(v.markets.shape[0]):
        market, opening = v.markets[m], v.opening[m]
        while found < BOXES and not (
            opening["mark"] - opening["ladder"][found] <= min(market["box_low"][0], market["box_net_low"][0])
            and max(market["box_high"][0], market["box_net_high"][0]) <= opening["mark"] + opening["ladder"][found]
        ):
            found += 1
    return found


@kernel
def ask_again(v, boxes, ceiling, clear, pending):
    """Put accounts that changed since the last selection on the lists of the first `boxes` that no longer clear them."""
    lowest = boxes
    for k in range(v.venue[0]["stale"]):
        a = v.lists[STALE, k]
        v.culling[IS_STALE, a] = 0
        if a >= v.traders:
            continue
        listed = int(v.culling[BOXED, a])
        now = listed
        while now < boxes and (pending(v, a) or not is_safe(v, a, now, ceiling, clear)):
            now += 1
        if now > listed:
            v.culling[BOXED, a] = now
            lowest = min(lowest, listed)
    v.venue[0]["stale"] = 0
    for b in range(lowest, boxes):
        found = 0
        for k in range(v.traders if b == 0 else v.venue[0]["listed"][b - 1]):
            a = k if b == 0 else v.lists[b - 1, k]
            if v.culling[BOXED, a] > b:
                v.lists[b, found] = a
                found += 1
        v.venue[0]["listed"][b] = found


@kernel
def select_candidates(v, t, ceiling, clear, pending, ranked):
    """List the accounts to evaluate on the present marks, in order of account; return their number.

    `ranked` says that requirements depend on nothing but positions and prices, so that what is safe at t = 0 in a box
    is safe in it on every path until the account changes.
    """
    state = v.venue[0]
    inside = state["disturbed"] == 0
    if inside and state["stale"] == 0 and is_inside(v, BOXES - 1):
        return state["listed"][BOXES - 1]
    b = 0
    if inside:
        while b < BOXES and is_inside(v, b):
            b += 1
    state["disturbed"] = 0
    ask_again(v, b, ceiling, clear, pending)
    if b == 0 and ranked and v.opening[0]["ranked"] == 0 and state["risen"] == 0:
        rank(v, t, ceiling, clear, pending)
    while b < BOXES:
        lay_box(v, b, t)
        state["rebuilds"] += 1
        cleared = BOXES
        if b == 0 and ranked and state["risen"] == 0:
            cleared = rung(v)
        found = 0
        for k in range(v.traders if b == 0 else state["listed"][b - 1]):
            a = k if b == 0 else v.lists[b - 1, k]
            v.culling[BOXED, a] = b
            if b == 0 and v.culling[SAFE_NOW, a] > cleared:
                continue
            if pending(v, a) or not is_safe(v, a, b, ceiling, clear):
                v.lists[b, found] = a
                v.culling[BOXED, a] = b + 1
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
def begin_selection(v, path):
    """Before step 1: nothing is known of any account."""
    range_windows(v, path)
    v.venue[0]["disturbed"] = 1


@kernel
def disturb(v):
    """Say that requirements have risen while positions and prices stood still: the next selection starts from all."""
    v.venue[0]["disturbed"] = v.venue[0]["risen"] = 1


@inlined
def _world_inside(v):
    """Tell whether every world price, with and without accrued funding, is inside the widest box."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["box_low"][0] <= market["world"] <= market["box_high"][0]):
            return False
        if not (market["box_net_low"][0] <= market["world"] - index_of(v, m, 1.0)):
            return False
        if not (market["world"] - index_of(v, m, -1.0) <= market["box_net_high"][0]):
            return False
    return True


@kernel
def list_insolvable(v):
    """At the horizon: list in box 0 every trader account whose equity may be negative, at marks or at world prices."""
    known = v.venue[0]["disturbed"] == 0 and is_inside(v, 0) and _world_inside(v)
    found = 0
    for a in range(v.traders):
        if not known or v.culling[BOXED, a] > 0 or v.culling[IS_STALE, a] > 0:
            v.lists[0, found] = a
            found += 1
    return found
