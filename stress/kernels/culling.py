"""Which accounts need a look: bounds that let the engine skip the others, exactly.

While positions are fixed, equity is linear in prices. Around the prices of some step a box is laid, one
range per market. An account whose equity at the worst corner of the box still clears its highest
requirement in the box cannot be flagged while prices stay inside: it is left out of the list of
candidates until a price leaves the box. Two boxes are nested: the wide one selects from all accounts, the
narrow one from those the wide one kept. The result is that of looking at every account (I9); only the
time differs.

Legend: a = accounts, r = rows, m = markets. `ceiling(v, m, size, low, high)` is the margin rule's highest
requirement over a range of prices, `clear(v, a, equity, requirement)` the trigger rule's word that it will
not flag an account with at least this equity and at most this requirement.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel

# Half width of a box as a fraction of the price. A narrow box is adapted to the pace of prices: one that
# breaks within FEW steps is doubled, one that lasts MANY is halved. Any width gives the same result.
WIDE = 0.04
NARROW, NARROWEST, WIDEST = 0.004, 0.0005, 0.02
FEW, MANY = 6, 60
# Rounding of a sum of products is far below this fraction of the amounts in it.
ROUNDING = 1e-9


@inlined
def in_wide_box(v):
    """Tell whether every mark, with and without accrued funding, is inside the wide box."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["wide_low"] <= market["mark"] <= market["wide_high"]):
            return False
        if not (market["wide_net_low"] <= market["net_mark"] <= market["wide_net_high"]):
            return False
    return True


@inlined
def in_narrow_box(v):
    """Tell whether every mark, with and without accrued funding, is inside the narrow box."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if not (market["low"] <= market["mark"] <= market["high"]):
            return False
        if not (market["net_low"] <= market["net_mark"] <= market["net_high"]):
            return False
    return True


@kernel
def lay_wide_box(v):
    """Centre the wide box on the present marks."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        reach = WIDE * market["mark"]
        market["wide_low"] = market["mark"] - reach
        market["wide_high"] = market["mark"] + reach
        market["wide_net_low"] = market["net_mark"] - reach
        market["wide_net_high"] = market["net_mark"] + reach


@kernel
def lay_narrow_box(v, width):
    """Centre the narrow box on the present marks, within the wide one."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        reach = width * market["mark"]
        market["low"] = max(market["mark"] - reach, market["wide_low"])
        market["high"] = min(market["mark"] + reach, market["wide_high"])
        market["net_low"] = max(market["net_mark"] - reach, market["wide_net_low"])
        market["net_high"] = min(market["net_mark"] + reach, market["wide_net_high"])


@inlined
def is_safe(v, a, wide, ceiling, clear):
    """Tell whether the account cannot be flagged, nor owe anything, while prices stay in the box."""
    floor = v.accounts[a]["cash"]
    highest = 0.0
    amounts = abs(floor)
    flat = True
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size = v.rows[r]["size"]
        if size == 0.0:
            continue
        flat = False
        market = v.markets[v.rows[r]["market"]]
        if wide:
            low, high = market["wide_low"], market["wide_high"]
            net = market["wide_net_low"] if size > 0.0 else market["wide_net_high"]
        else:
            low, high = market["low"], market["high"]
            net = market["net_low"] if size > 0.0 else market["net_high"]
        carry = v.rows[r]["carry"]
        floor += size * net - carry
        highest += ceiling(v, v.rows[r]["market"], size, low, high)
        amounts += abs(size) * high + abs(carry)
    if flat:
        return v.accounts[a]["cash"] >= 0.0
    return clear(v, a, floor - ROUNDING * amounts, highest + ROUNDING * amounts)


@kernel
def select_candidates(v, t, ceiling, clear, pending):
    """List the accounts to evaluate on the present marks, in order of account; return their number."""
    state = v.venue[0]
    if state["disturbed"] == 1 or not in_wide_box(v):
        state["disturbed"] = 0
        lay_wide_box(v)
        kept = 0
        for a in range(v.traders):
            if pending(v, a) or not is_safe(v, a, True, ceiling, clear):
                v.accounts[kept]["kept"] = a
                kept += 1
        state["kept"] = kept
    elif in_narrow_box(v):
        return state["candidates"]
    lasted = t - state["narrow_since"]
    if lasted < FEW:
        state["narrow_width"] = min(2.0 * state["narrow_width"], WIDEST)
    elif lasted > MANY:
        state["narrow_width"] = max(0.5 * state["narrow_width"], NARROWEST)
    state["narrow_since"] = t
    lay_narrow_box(v, state["narrow_width"])
    found = 0
    for k in range(state["kept"]):
        a = v.accounts[k]["kept"]
        if pending(v, a) or not is_safe(v, a, False, ceiling, clear):
            v.accounts[found]["candidate"] = a
            found += 1
    state["candidates"] = found
    return found


@kernel
def begin_selection(v):
    """At t = 0 every trader account is a candidate; the first selection starts from all."""
    for a in range(v.traders):
        v.accounts[a]["candidate"] = a
    v.venue[0]["candidates"] = v.traders
    v.venue[0]["narrow_width"] = NARROW
    v.venue[0]["disturbed"] = 1


@kernel
def disturb(v):
    """Say that accounts which nobody looked at have changed: the next selection starts from all."""
    v.venue[0]["disturbed"] = 1
