"""Equity and requirement of accounts at the marks, and the prices that follow from them.

Legend: a = accounts, r = rows, m = markets. As an argument, `maintenance` is the kernel of the margin stage; the function of
that name is the plainest such kernel, for rules at a fraction of notional (stages.LeverageRates).
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import net_value


@inlined
def maintenance(v, m, size, price):
    """Maintenance requirement of one position at a fraction of its notional, USD."""
    return abs(size) * price * v.terms[m]["maintenance_fraction"]


@inlined
def initial(v, m, size, price):
    """Initial requirement of one position at a fraction of its notional, USD."""
    return abs(size) * price * v.terms[m]["initial_fraction"]


@inlined
def highest_maintenance(v, m, size, low, high):
    """Highest maintenance requirement over prices in [low, high], USD."""
    return maintenance(v, m, size, high)


@inlined
def assess(v, a, maintenance):
    """Return (equity, maintenance requirement) of an account at the marks, USD."""
    equity = v.accounts[a]["cash"]
    requirement = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        size = v.rows[r]["size"]
        m = v.rows[r]["market"]
        equity += net_value(v, m, size) - v.rows[r]["carry"]
        if size != 0.0:
            requirement += maintenance(v, m, size, v.markets[m]["mark"])
    return equity, requirement


@kernel
def bankruptcy_price(v, r, equity, requirement, maintenance):
    """Price at which closing row `r` uses up exactly its share of the account's equity.

    The share is the row's part of the maintenance requirement (dYdX v4-chain,
    x/clob/keeper/liquidations.go @ 84d4664b); for a single position it is all of the equity.
    mark - side x equity x share / |size|.
    """
    m = v.rows[r]["market"]
    size = v.rows[r]["size"]
    share = 1.0
    if requirement > 0.0:
        share = maintenance(v, m, size, v.markets[m]["mark"]) / requirement
    return v.markets[m]["mark"] - equity * share / size


@kernel
def loss_beyond_margin(v, r, filled, price, equity, bankruptcy):
    """Loss of a fill that the account's own margin does not carry, USD (<= 0 where it does).

    While equity is positive, all of it stands for the fill: filled x side x (mark - price) - equity.
    Once it is negative, every contract is charged from its bankruptcy price:
    filled x side x (bankruptcy - price).
    """
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    if equity >= 0.0:
        return filled * side * (v.markets[v.rows[r]["market"]]["mark"] - price) - equity
    return filled * side * (bankruptcy - price)


@kernel
def shortage_to_buffer(v, a, equity, requirement, buffer):
    """USD by which the account misses its requirement and a buffer above it; <= 0 where it does not.

    requirement - equity + buffer x (gross notional of its positions + their losses). A position's loss counts what
    was realised since t = 0: a venue that asks for such a buffer settles profits apart.
    """
    exposed = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        market = v.markets[v.rows[r]["market"]]
        if market["holding"] == 0:
            value = v.rows[r]["size"] * market["mark"]
            exposed += abs(value) + max(0.0, v.rows[r]["entry_notional"] - value - v.rows[r]["realised"])
    return requirement - equity + buffer * exposed


@inlined
def keeper_reward(flagged, cost, least, profit_ratio, most, scaling, collateral):
    """Reward of whoever liquidates an account, USD: its cost and a profit, no more than a share of the collateral or `most`.

    min(max(cost + least, cost x (1 + profit_ratio), flagged + cost), collateral x scaling, most), as in Synthetix v3,
    perps-market/contracts/storage/GlobalPerpsMarketConfiguration.sol:146 @ 23585f73; `flagged` is a share of the notional.
    """
    wanted = max(max(cost + least, cost * (1.0 + profit_ratio)), flagged + cost)
    return min(wanted, min(collateral * scaling, most))


@kernel
def restart_attribution(v, a):
    """Count the account's losses by market from the present marks on: it was filled."""
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        v.rows[r]["reference_price"] = v.markets[v.rows[r]["market"]]["mark"]


@kernel
def attribute_loss(v, a, maintenance, at_world=False):
    """Set the share of each row's market in the account's loss (vocabulary.ATTRIBUTION_RULE).

    The loss is that at the marks, or at world prices.
    """
    total = 0.0
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        m = v.rows[r]["market"]
        price = v.markets[m]["world"] if at_world else v.markets[m]["mark"]
        reference = v.rows[r]["reference_price"]
        if reference == 0.0:
            reference = v.markets[m]["opening_mark"]
        lost = max(0.0, v.rows[r]["size"] * (reference - price))
        v.rows[r]["attribution"] = lost
        total += lost
    if total <= 0.0:
        total = 0.0
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            m = v.rows[r]["market"]
            needed = maintenance(v, m, v.rows[r]["size"], v.markets[m]["mark"]) if v.rows[r]["size"] != 0.0 else 0.0
            v.rows[r]["attribution"] = needed
            total += needed
    if total > 0.0:
        for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
            v.rows[r]["attribution"] /= total
