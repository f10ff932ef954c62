"""Which accounts need a look: bounds that let the engine skip the others, exactly.

While positions are fixed, equity is linear in prices. Over a coming window of steps a box is laid, one range of
prices per market. An account whose equity at the worst corner of the box clears its highest requirement
in the box cannot be flagged while the marks stay inside: it is left out of the box's list. Boxes are
nested, each list made from that of the box around it, so that the widest, which asks every account, is
laid once a path, and the narrowest, the marks themselves, asks few or none. Where the list around it is empty a step costs
its markets and no account. The result is that of looking at every account (I9); only the time differs: marks are held
against the boxes in every round, wherever they were laid. So a box may be laid where the path's own future says that
prices will go.

Whom a box asks is entered for it in columns (`Venue.entries`), so that asking is vector code.

Legend: a = accounts, r = rows, m = markets, b = boxes, the widest first. `ceiling(v, m, size, low, high)`
is the margin rule's highest requirement over a range of prices, `clear(v, a, equity, requirement)` the
trigger rule's word that it will not flag an account with at least this equity and at most this requirement.
"""

from __future__ import annotations

import numpy as np

from stress.kernels.jit import entry, inlined, kernel
from stress.kernels.ledger import ALL_BOXES, index_of, note_change
from stress.kernels.venue import (
    BOXED,
    BOXES,
    ERROR,
    EVERYBODY,
    FIXED,
    HIGHEST,
    IS_STALE,
    MARKET_MAKERS,
    OUTDATED,
    PLACES,
    QUANTUM,
    SIZES,
    STALE,
    VAULT,
    WAITS,
    WINDOW,
    WORST,
)

# Windows of WINDOW steps that a box looks ahead, beside the present one and the one before it; 0 = to the horizon.
AHEAD = (0, 64, 12, 1)
# The narrowest box is the marks themselves.
MARKS = BOXES - 1
# So few accounts are evaluated rather than held against the marks first.
FEW = 6
# What own impact and premium may add to the range of world prices: a share of that range, and a fraction of price.
SLACK, FLOOR = 0.1, 0.0002
# Accounts are entered once for all paths that stay in so many widths of the first path's widest box.
OPENING = 3.0
# Rounding of a sum of products is far below this fraction of the amounts in it.
ROUNDING = 1e-9


@entry
def range_windows(world, windows):
    """Find the lowest and highest world price of every window of every path."""
    steps = world.shape[1]
    for p in range(world.shape[0]):
        for m in range(world.shape[2]):
            for w in range(windows.shape[1]):
                low = high = world[p, w * WINDOW, m]
                for t in range(w * WINDOW + 1, min(steps, (w + 1) * WINDOW)):
                    low = min(low, world[p, t, m])
                    high = max(high, world[p, t, m])
                windows[p, w, m, 0], windows[p, w, m, 1] = low, high


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
    """Lay box b over the coming windows, within the box around it; the last on the marks themselves."""
    if b == MARKS:
        for m in range(v.markets.shape[0]):
            set_range(v, m, b, v.markets[m]["mark"], v.markets[m]["mark"])
        return
    first = max(0, t // WINDOW - 1)
    windows = v.windows[v.venue[0]["position"]]
    last = windows.shape[0] - 1
    if AHEAD[b] > 0:
        last = min(last, t // WINDOW + AHEAD[b])
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        low, high = windows[first, m, 0], windows[first, m, 1]
        for w in range(first + 1, last + 1):
            low = min(low, windows[w, m, 0])
            high = max(high, windows[w, m, 1])
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


@kernel
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
    """Tell whether the account's equity cannot fall below zero while marks stay in the box around them."""
    floor = v.accounts[a]["cash"]
    amounts = abs(floor)
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size = v.rows[r]["size"]
        market = v.markets[v.rows[r]["market"]]
        carry = v.rows[r]["carry"]
        floor += size * (market["box_net_low"][MARKS - 1] if size > 0.0 else market["box_net_high"][MARKS - 1]) - carry
        amounts += abs(size) * market["box_high"][MARKS - 1] + abs(carry)
    return floor - ROUNDING * amounts >= 0.0


@kernel
def enter(v, b, k, a, ceiling):
    """Enter account `a`, as it stands, at place k of what box b is asked from."""
    fixed = v.accounts[a]["cash"]
    amounts = abs(fixed)
    highest = 0.0
    flat = True
    for m in range(v.markets.shape[0]):
        v.entries[b, SIZES + m, k] = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size, m, carry = v.rows[r]["size"], v.rows[r]["market"], v.rows[r]["carry"]
        if size != 0.0:
            low, high = range_around(v, b, m)
            flat = False
            v.entries[b, SIZES + m, k] = size
            fixed -= carry
            highest += ceiling(v, m, size, low, high)
            amounts += abs(size) * high + abs(carry)
    if flat and fixed >= -QUANTUM:
        fixed = np.inf
    if v.culling[WAITS, a] != 0:  # no box clears it
        fixed = -np.inf
    v.entries[b, FIXED, k] = fixed - ROUNDING * amounts
    v.entries[b, ERROR, k] = ROUNDING * amounts
    v.entries[b, HIGHEST, k] = highest + ROUNDING * amounts
    v.culling[OUTDATED, a] &= ~(1 << b)


@inlined
def range_around(v, b, m):
    """Prices of market m for which accounts are entered for box b: the box around it, or what is near the opening."""
    if b == 0:
        return v.opening[m]["low"], v.opening[m]["high"]
    return v.markets[m]["box_low"][b - 1], v.markets[m]["box_high"][b - 1]


@kernel
def enter_all(v, b, ceiling):
    """Enter all accounts as they stand at t = 0, for box b = 0 of every path whose prices stay near those of this one."""
    for m in range(v.markets.shape[0]):
        reach = OPENING * (v.markets[m]["box_high"][0] - v.markets[m]["box_low"][0])
        v.opening[m]["low"] = max(v.opening[m]["mark"] - reach, 0.01 * v.opening[m]["mark"])
        v.opening[m]["high"] = v.opening[m]["mark"] + reach
    for a in range(v.traders):
        v.lists[EVERYBODY, a] = a
        enter(v, b, a, a, ceiling)
    v.opening[0]["entered"] = 1


@kernel
def is_near_opening(v):
    """Tell whether box 0 lies in the range of prices for which all accounts are entered."""
    for m in range(v.markets.shape[0]):
        if v.markets[m]["box_low"][0] < v.opening[m]["low"] or v.markets[m]["box_high"][0] > v.opening[m]["high"]:
            return False
    return True


# Loops over one column of the entries, apart so that they become vector code.


@kernel
def _copy(target, source, count):
    for k in range(count):
        target[k] = source[k]


@kernel
def _add_worst(worst, sizes, low, high, count):
    for k in range(count):
        worst[k] += sizes[k] * (low if sizes[k] > 0.0 else high)


@kernel
def _pick(target, source, places, count):
    for k in range(count):
        target[k] = source[places[k]]


@kernel
def _add_highest(v, highest, sizes, m, b, ceiling, count):
    low, high = v.markets[m]["box_low"][b], v.markets[m]["box_high"][b]
    for k in range(count):
        held = sizes[k] != 0.0  # not a branch: half of them are 0, and nobody can guess which
        asked = ceiling(v, m, sizes[k] if held else 1.0, low, high)
        highest[k] += asked if held else 0.0


@kernel
def _list_unsafe(v, b, around, count, clear):
    """List in box b those entered for it, `around` in order, whom it does not clear, and their places; return their number."""
    listed, places = v.lists[b], v.lists[PLACES]
    worst, highest = v.entries[b, WORST], v.entries[b, HIGHEST]
    found = 0
    for k in range(count):  # without a branch: every account is written, and stays if it is not safe
        safe = (worst[k] >= 0.0) & clear(v, around[k], worst[k], highest[k])
        listed[found], places[found] = around[k], k
        found += 0 if safe else 1
    return found


@kernel
def sum_worst(v, b, count):
    """Equity of what is entered for box b at the worst corner of the box, less rounding."""
    worst = v.entries[b, WORST]
    _copy(worst, v.entries[b, FIXED], count)
    for m in range(v.markets.shape[0]):
        _add_worst(
            worst, v.entries[b, SIZES + m], v.markets[m]["box_net_low"][b], v.markets[m]["box_net_high"][b], count
        )


@kernel
def pass_on(v, b, found, ceiling):
    """Enter for the box within box b those whom box b lists."""
    places, highest = v.lists[PLACES], v.entries[b + 1, HIGHEST]
    _pick(v.entries[b + 1, FIXED], v.entries[b, FIXED], places, found)
    _pick(v.entries[b + 1, ERROR], v.entries[b, ERROR], places, found)
    _copy(highest, v.entries[b + 1, ERROR], found)
    for m in range(v.markets.shape[0]):
        sizes = v.entries[b + 1, SIZES + m]
        _pick(sizes, v.entries[b, SIZES + m], places, found)
        _add_highest(v, highest, sizes, m, b, ceiling, found)


@kernel
def ask_all(v, b, exact, ceiling, clear, pending):
    """List in box b = 0 those of all accounts that it does not clear; `exact`: from their records, not as entered at t = 0."""
    boxed, outdated = v.culling[BOXED], v.culling[OUTDATED]
    listed, places = v.lists[0], v.lists[PLACES]
    worst, highest = v.entries[0, WORST], v.entries[0, HIGHEST]
    if not exact:
        sum_worst(v, b, v.traders)
        if v.venue[0]["outdated"][b] == 0:  # nobody changed yet
            for a in range(v.traders):
                boxed[a] = 0
            found = _list_unsafe(v, b, v.lists[EVERYBODY], v.traders, clear)
            for k in range(found):
                boxed[listed[k]] = 1
            pass_on(v, b, found, ceiling)
            return found
    found = 0
    for a in range(v.traders):
        anew = exact or outdated[a] & 1 == 1
        if anew:
            safe = not pending(v, a) and is_safe(v, a, b, ceiling, clear)
        else:
            safe = worst[a] >= 0.0 and clear(v, a, worst[a], highest[a])
        boxed[a] = 0 if safe else 1
        if not safe:
            listed[found] = places[found] = a
            outdated[a] = (outdated[a] | 2) if anew else (outdated[a] & ~2)
            found += 1
    v.venue[0]["outdated"][1] = 1
    if not exact:
        pass_on(v, b, found, ceiling)
    return found


@kernel
def ask(v, b, around_is_new, ceiling, clear):
    """List in box b > 0 those on the list of the box around it that it does not clear.

    `around_is_new`: that list was made in this selection, so that nobody is marked as listed in box b.
    """
    count = v.venue[0]["listed"][b - 1]
    around, listed = v.lists[b - 1], v.lists[b]
    boxed, outdated = v.culling[BOXED], v.culling[OUTDATED]
    if b == MARKS and count <= FEW:
        for k in range(count):
            listed[k] = around[k]
        return count
    if v.venue[0]["outdated"][b] == 1:
        for k in range(count):
            if (outdated[around[k]] >> b) & 1 == 1:
                enter(v, b, k, around[k], ceiling)
        v.venue[0]["outdated"][b] = 0
    sum_worst(v, b, count)
    if b == MARKS:
        return _list_unsafe(v, b, around, count, clear)
    if not around_is_new:
        for k in range(v.venue[0]["listed"][b]):
            boxed[listed[k]] = b
    found = _list_unsafe(v, b, around, count, clear)
    for k in range(found):
        boxed[listed[k]] = b + 1
        outdated[listed[k]] &= ~(2 << b)
    pass_on(v, b, found, ceiling)
    return found


@inlined
def note_pending(v, a, pending):
    """Note whether the account is pending, which its entries say too; return that."""
    waits = pending(v, a)
    if waits != (v.culling[WAITS, a] != 0):
        v.culling[WAITS, a] = 1 if waits else 0
        v.culling[OUTDATED, a] = ALL_BOXES
        v.venue[0]["outdated"][:] = 1
    return waits


@kernel
def ask_again(v, boxes, ceiling, clear, pending):
    """Put accounts that changed since the last selection on the lists of the first `boxes` that no longer clear them."""
    lowest = boxes
    if v.venue[0]["stale"] > 0:
        v.venue[0]["outdated"][:] = 1
    for k in range(v.venue[0]["stale"]):
        a = v.lists[STALE, k]
        v.culling[IS_STALE, a] = 0
        if a >= v.traders:
            continue
        waits = note_pending(v, a, pending)
        listed = int(v.culling[BOXED, a])
        now = listed
        while now < boxes and (waits or not is_safe(v, a, now, ceiling, clear)):
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
                enter(v, b + 1, found, a, ceiling)
                found += 1
        v.venue[0]["listed"][b] = found


@kernel
def select_candidates(v, t, ceiling, clear, pending, lasting):
    """List the accounts to evaluate on the present marks, in order of account; return their number.

    `lasting` says that requirements depend on nothing but positions and prices, so that what is entered for box 0 at
    t = 0 holds on every path until the account changes.
    """
    state = v.venue[0]
    b = 0 if state["disturbed"] == 1 else MARKS
    while b > 0 and not is_inside(v, b - 1):  # from the narrowest on: inside it, inside all around it
        b -= 1
    if b == MARKS and state["stale"] == 0 and state["listed"][MARKS - 1] == 0:
        return 0
    for k in range(state["listed"][MARKS]):  # who was looked at may have become pending
        note_pending(v, v.lists[MARKS, k], pending)
    moved = b < MARKS or state["holders_safe"] == 0
    ask_again(v, b, ceiling, clear, pending)
    state["disturbed"] = 0
    first = b
    while b < BOXES:  # not called with a literal number: each would compile anew
        lay_box(v, b, t)
        if b == 0:
            exact = not lasting or state["risen"] == 1
            if not exact and v.opening[0]["entered"] == 0 and state["changed"] == v.accounts.shape[0] - v.traders:
                enter_all(v, b, ceiling)
            exact = exact or v.opening[0]["entered"] == 0 or not is_near_opening(v)
            state["listed"][b] = ask_all(v, b, exact, ceiling, clear, pending)
        else:
            state["listed"][b] = ask(v, b, b > first, ceiling, clear)
        state["rebuilds"] += 1 if b < MARKS else 0
        b += 1
    if moved:
        solvent = stays_solvent(v, v.traders + VAULT) and stays_solvent(v, v.traders + MARKET_MAKERS)
        state["holders_safe"] = 1 if solvent else 0
    for k in range(state["listed"][MARKS]):
        note_change(v, v.lists[MARKS, k])  # who is looked at may be written
    return state["listed"][MARKS]


@kernel
def begin_selection(v):
    """Before step 1: nothing is known of any account."""
    v.venue[0]["disturbed"] = 1


@kernel
def disturb(v):
    """Say that requirements have risen while positions and prices stood still: the next selection starts from all."""
    v.venue[0]["disturbed"] = v.venue[0]["risen"] = 1


@inlined
def _world_inside(v, b):
    """Tell whether every world price, with and without accrued funding, is inside box b."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["box_low"][b] <= market["world"] <= market["box_high"][b]):
            return False
        if not (market["box_net_low"][b] <= market["world"] - index_of(v, m, 1.0)):
            return False
        if not (market["world"] - index_of(v, m, -1.0) <= market["box_net_high"][b]):
            return False
    return True


@kernel
def list_insolvable(v):
    """At the horizon: list in box 0 every trader account whose equity may be negative, at marks or at world prices."""
    narrowest = -1  # box that holds marks and world prices
    while v.venue[0]["disturbed"] == 0 and narrowest + 1 < MARKS:
        if not (is_inside(v, narrowest + 1) and _world_inside(v, narrowest + 1)):
            break
        narrowest += 1
    boxed, stale, listed = v.culling[BOXED], v.culling[IS_STALE], v.lists[0]
    found = 0
    for a in range(v.traders):
        if boxed[a] > narrowest or stale[a] > 0:
            listed[found] = a
            found += 1
    return found
