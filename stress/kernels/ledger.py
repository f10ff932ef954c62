"""The ledger: fills, settlements, transfers and the identities I1 and I2.

A row is (size, entry notional, funding index at last settlement); an account is cash plus rows.
Legend: a = accounts, r = rows, m = markets. Money is USD, sizes are signed base units (+ long).
"""

from __future__ import annotations

import math

from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import (
    BOXES,
    CHANGED,
    HOLDERS,
    IS_STALE,
    MARKET_MAKERS,
    OUTDATED,
    POOL,
    STALE,
    UNAUDITED,
    VAULT,
)

# Units of the audit: one is the total of the cell's amounts x AUDIT_RESOLUTION, the precision of a double.
AUDIT_RESOLUTION = 2.0**-53
LARGEST_UNITS = 2.0**62
ALL_BOXES = (1 << BOXES) - 1


@inlined
def index_of(v, m, size):
    """Funding index of the side on which `size` lies, USD per base unit."""
    index = v.markets[m]["funding_index"]
    return index - v.markets[m]["funding_kept"] if size < 0.0 else index


@inlined
def net_value(v, m, size):
    """Value of `size` at the mark less funding since t = 0, USD."""
    return size * (v.markets[m]["short_net_mark"] if size < 0.0 else v.markets[m]["net_mark"])


@inlined
def settle_funding(v, r):
    """Move the row's accrued funding into cash: cash -= size x (index - index at last settlement)."""
    index = index_of(v, v.rows[r]["market"], v.rows[r]["size"])
    paid = v.rows[r]["size"] * (index - v.rows[r]["settled_index"])
    v.accounts[v.rows[r]["account"]]["cash"] -= paid
    v.rows[r]["realised"] -= paid
    v.rows[r]["settled_index"] = index
    v.rows[r]["carry"] = v.rows[r]["entry_notional"] - v.rows[r]["size"] * v.rows[r]["settled_index"]


@inlined
def note_change(v, a):
    """Note that records of the account differ from the start of the path, so that they are put back after it."""
    if v.accounts[a]["changed"] == 0:
        v.accounts[a]["changed"] = 1
        v.lists[CHANGED, v.venue[0]["changed"]] = a
        v.venue[0]["changed"] += 1


@inlined
def touch(v, a):
    """Say that the account's cash or rows change: the one duty of a kernel that writes them."""
    if v.accounts[a]["unaudited"] == 0:
        v.accounts[a]["unaudited"] = 1
        v.lists[UNAUDITED, v.venue[0]["unaudited"]] = a
        v.venue[0]["unaudited"] += 1
        note_change(v, a)
    if v.culling[IS_STALE, a] == 0:
        v.culling[IS_STALE, a] = 1
        v.culling[OUTDATED, a] = ALL_BOXES
        v.lists[STALE, v.venue[0]["stale"]] = a
        v.venue[0]["stale"] += 1
    if a == v.traders + VAULT or a == v.traders + MARKET_MAKERS:
        v.venue[0]["holders_safe"] = 0


@kernel
def trade(v, r, quantity, price):
    """Add `quantity` (signed base units) to row `r` at `price`, realising PnL on what it closes.

    Keeps cash - entry notional falling by exactly quantity x price, so that two opposite trades
    at one price leave the ledger sum of I1 unchanged. A trade beyond the open size closes it,
    then opens the other side.
    """
    settle_funding(v, r)
    a, m = v.rows[r]["account"], v.rows[r]["market"]
    touch(v, a)
    v.markets[m]["trades"] += 1
    size = v.rows[r]["size"]
    if a == v.traders + VAULT:
        v.markets[m]["vault_flow"] -= quantity * price
    if size == 0.0 or (size > 0.0) == (quantity > 0.0):
        v.rows[r]["size"] = size + quantity
        v.rows[r]["entry_notional"] += quantity * price
    elif abs(quantity) < abs(size):
        released = v.rows[r]["entry_notional"] * (quantity / size)  # negative share of the entry notional
        v.accounts[a]["cash"] += -quantity * price + released
        v.rows[r]["realised"] += -quantity * price + released
        v.rows[r]["entry_notional"] += released
        v.rows[r]["size"] = size + quantity
    else:
        v.accounts[a]["cash"] += size * price - v.rows[r]["entry_notional"]
        v.rows[r]["realised"] += size * price - v.rows[r]["entry_notional"]
        rest = quantity + size
        v.rows[r]["size"] = rest
        v.rows[r]["entry_notional"] = rest * price
    v.rows[r]["settled_index"] = index_of(v, m, v.rows[r]["size"])
    v.rows[r]["carry"] = v.rows[r]["entry_notional"] - v.rows[r]["size"] * v.rows[r]["settled_index"]


@inlined
def equity(v, a):
    """Account equity at the marks, USD: cash + sum of size x (mark - funding index) - carry."""
    total = v.accounts[a]["cash"]
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        total += net_value(v, v.rows[r]["market"], v.rows[r]["size"]) - v.rows[r]["carry"]
    return total


@inlined
def equity_at_world(v, a):
    """Account equity at world prices, USD."""
    total = v.accounts[a]["cash"]
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        m, size = v.rows[r]["market"], v.rows[r]["size"]
        total += size * (v.markets[m]["world"] - index_of(v, m, size)) - v.rows[r]["carry"]
    return total


@inlined
def is_flat(v, a):
    """Tell whether the account has no contracts left."""
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        if v.rows[r]["size"] != 0.0:
            return False
    return True


@kernel
def audit(v):
    """Book what touched accounts hold now, and return the residuals of I1 and I2, USD (0 = identities hold).

    I1 is the sum over all rows and balances of cash - entry notional - size x (index - settled index), I2 the
    largest |net size| over markets at the mark. Both are sums of whole units, so that neither the order of
    accounts nor how often they were audited shows, and accounts that nobody touched need no look. An amount
    beyond the range of units gives nan.
    """
    state = v.venue[0]
    for k in range(state["unaudited"]):
        a = v.lists[UNAUDITED, k]
        account = v.accounts[a]
        account["unaudited"] = 0
        booked = account["cash"]
        for r in range(account["row_start"], account["row_end"]):
            booked -= v.rows[r]["carry"]
            market = v.markets[v.rows[r]["market"]]
            units = v.rows[r]["size"] / market["size_unit"]
            if not abs(units) < LARGEST_UNITS:
                return math.nan, math.nan
            whole = math.floor(units + 0.5)
            market["net_units"] += whole - v.rows[r]["booked_size"]
            market["short_units"] += min(whole, 0) - min(v.rows[r]["booked_size"], 0)
            v.rows[r]["booked_size"] = whole
        units = booked / state["audit_unit"]
        if not abs(units) < LARGEST_UNITS:
            return math.nan, math.nan
        whole = math.floor(units + 0.5)
        state["audited"] += whole - account["booked"]
        account["booked"] = whole
    state["unaudited"] = 0
    unbalanced = (state["audited"] - state["opening_units"]) * state["audit_unit"] - state["external_flow"]
    worst = 0.0
    for m in range(v.markets.shape[0]):
        net = v.markets[m]["net_units"] * v.markets[m]["size_unit"]
        short = v.markets[m]["short_units"] * v.markets[m]["size_unit"]
        unbalanced -= net * v.markets[m]["funding_index"] - short * v.markets[m]["funding_kept"]
        worst = max(worst, abs(net) * v.markets[m]["mark"])
    return abs(unbalanced), worst


@inlined
def counterparty_row(v, offset, m):
    """Return the row of a counterparty that holds positions (offset < HOLDERS) in market m."""
    assert offset < HOLDERS
    return v.accounts[v.traders + offset]["row_start"] + m


@inlined
def skew(v, m):
    """Net size of the traders against pool and market makers, signed base units (+ = traders are long)."""
    return -v.rows[counterparty_row(v, POOL, m)]["size"] - v.rows[counterparty_row(v, MARKET_MAKERS, m)]["size"]


@kernel
def open_interest(v, m):
    """Return (long, short) open interest of all rows but pool, market makers and outside book, base units >= 0.

    Kept until somebody trades.
    """
    market = v.markets[m]
    if market["sides_as_of"] != market["trades"] + 1:
        long, short = 0.0, 0.0
        for k in range(market["rows_start"], market["rows_end"]):
            r = v.market_rows[k]
            if is_user(v, v.rows[r]["account"]):
                long += max(0.0, v.rows[r]["size"])
                short += max(0.0, -v.rows[r]["size"])
        market["long_open"], market["short_open"] = long, short
        market["sides_as_of"] = market["trades"] + 1
    return market["long_open"], market["short_open"]


@inlined
def is_user(v, a):
    """Tell whether the account is a trader's or the vault's, not one that stands for the other side of the market."""
    return a < v.traders or a == v.traders + VAULT
