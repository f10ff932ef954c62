"""The ledger: fills, settlements, transfers and the identities I1 and I2.

A row is (size, entry notional, funding index at last settlement); an account is cash plus rows.
Legend: a = accounts, r = rows, m = markets. Money is USD, sizes are signed base units (+ long).
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import HOLDERS, VAULT


@inlined
def settle_funding(v, r):
    """Move the row's accrued funding into cash: cash -= size x (index - index at last settlement)."""
    m = v.rows[r]["market"]
    v.accounts[v.rows[r]["account"]]["cash"] -= v.rows[r]["size"] * (
        v.markets[m]["funding_index"] - v.rows[r]["settled_index"]
    )
    v.rows[r]["settled_index"] = v.markets[m]["funding_index"]
    v.rows[r]["carry"] = v.rows[r]["entry_notional"] - v.rows[r]["size"] * v.rows[r]["settled_index"]


@kernel
def trade(v, r, quantity, price):
    """Add `quantity` (signed base units) to row `r` at `price`, realising PnL on what it closes.

    Keeps cash - entry notional falling by exactly quantity x price, so that two opposite trades
    at one price leave the ledger sum of I1 unchanged. A trade beyond the open size closes it,
    then opens the other side.
    """
    settle_funding(v, r)
    a = v.rows[r]["account"]
    size = v.rows[r]["size"]
    if a == v.traders + VAULT:
        v.markets[v.rows[r]["market"]]["vault_flow"] -= quantity * price
    if size == 0.0 or (size > 0.0) == (quantity > 0.0):
        v.rows[r]["size"] = size + quantity
        v.rows[r]["entry_notional"] += quantity * price
    elif abs(quantity) < abs(size):
        released = v.rows[r]["entry_notional"] * (quantity / size)  # negative share of the entry notional
        v.accounts[a]["cash"] += -quantity * price + released
        v.rows[r]["entry_notional"] += released
        v.rows[r]["size"] = size + quantity
    else:
        v.accounts[a]["cash"] += size * price - v.rows[r]["entry_notional"]
        rest = quantity + size
        v.rows[r]["size"] = rest
        v.rows[r]["entry_notional"] = rest * price
    v.rows[r]["carry"] = v.rows[r]["entry_notional"] - v.rows[r]["size"] * v.rows[r]["settled_index"]


@inlined
def equity(v, a):
    """Account equity at the marks, USD: cash + sum of size x (mark - funding index) - carry."""
    total = v.accounts[a]["cash"]
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        total += v.rows[r]["size"] * v.markets[v.rows[r]["market"]]["net_mark"] - v.rows[r]["carry"]
    return total


@inlined
def equity_at_world(v, a):
    """Account equity at world prices, USD."""
    total = v.accounts[a]["cash"]
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        m = v.rows[r]["market"]
        total += v.rows[r]["size"] * (v.markets[m]["world"] - v.markets[m]["funding_index"]) - v.rows[r]["carry"]
    return total


@inlined
def is_flat(v, a):
    """Tell whether the account has no contracts left."""
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        if v.rows[r]["size"] != 0.0:
            return False
    return True


@kernel
def ledger_sum(v):
    """I1: sum over all rows and balances of cash - entry notional - size x (index - settled index), USD."""
    total = 0.0
    for a in range(v.accounts.shape[0]):
        total += v.accounts[a]["cash"]
    for r in range(v.rows.shape[0]):
        total -= v.rows[r]["carry"] + v.rows[r]["size"] * v.markets[v.rows[r]["market"]]["funding_index"]
    return total


@kernel
def largest_net_position(v):
    """I2: largest |net size| over markets, valued at the mark, USD (0 = every market nets to zero)."""
    worst = 0.0
    for m in range(v.markets.shape[0]):
        net = 0.0
        for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
            net += v.rows[v.market_rows[k]]["size"]
        worst = max(worst, abs(net) * v.markets[m]["mark"])
    return worst


@inlined
def counterparty_row(v, offset, m):
    """Return the row of a counterparty that holds positions (offset < HOLDERS) in market m."""
    assert offset < HOLDERS
    return v.accounts[v.traders + offset]["row_start"] + m
