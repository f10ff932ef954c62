"""Pool-profit deleveraging: winners are closed while what the pool owes one side is too much for it.

Stage        waterfall.
Formula      factor of a side = max(0, its unrealised profit at the oracle price) / pool value, pool value = pool equity + what it
             owes both sides. factor > pnl_factor_max: a keeper closes, row after row in order of profit, at the oracle price
             as much as brings the factor down to pnl_factor_after. Paying out profit_cap x pool value at most: at the horizon
             each winner of a side whose factor is above it gets profit x profit_cap / factor.
Source       GMX v2, adl/AdlUtils.sol:86,133 and market/MarketUtils.sol:429,3191 @ a5c0c883.
Invariants   I1, I2; a close at the mark is no loss, a profit that the cap cuts is (socialized loss of the winners).
Limits       looked at once per step, before liquidations; the keeper's choice is the largest profit; one cap per venue.
             The cap is applied where it bites, on realised profit at the horizon, as if everybody then closed.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from stress.kernels.halts import is_blocked
from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import counterparty_row, equity, touch, trade
from stress.kernels.venue import ADL, POOL
from stress.stages import Mechanism, MechanismParameters, Stage, StateField


class AdlPoolProfit(MechanismParameters):
    """Factors are shares of the pool's value."""

    pnl_factor_max: float = Field(gt=0, description="factor above which a side is deleveraged")
    pnl_factor_after: float = Field(ge=0, description="factor to which deleveraging brings it back")
    profit_cap: float = Field(gt=0, description="most that a side is paid, as a share of the pool's value")

    @model_validator(mode="after")
    def _ordered(self) -> AdlPoolProfit:
        if not self.pnl_factor_after < self.pnl_factor_max <= self.profit_cap:
            raise ValueError("pnl_factor_after < pnl_factor_max <= profit_cap")
        return self


@inlined
def pnl_factor(profit, pool):
    """What a side is owed over the pool's value; 0 where it lost."""
    return max(0.0, profit) / pool


@inlined
def is_excessive(profit, pool, limit):
    """Tell whether a side is owed more than `limit` of the pool's value."""
    return pnl_factor(profit, pool) > limit


@inlined
def paid_share(profit, pool, cap):
    """Share of their profit that the winners of a side are paid."""
    return 1.0 if profit <= cap * pool else cap * pool / profit


@inlined
def paid(profit, share):
    """USD paid of a position's profit where its side is paid a share; a loss is not cut."""
    return profit * share if profit > 0.0 else profit


@inlined
def profit_at(price, size, entry_notional):
    """Unrealised profit at a price, USD, signed; size and entry notional have one sign."""
    return size * price - entry_notional


@inlined
def profit_of(v, r):
    """Unrealised profit of a row at the oracle price, USD, signed."""
    return profit_at(v.markets[v.rows[r]["market"]]["oracle"], v.rows[r]["size"], v.rows[r]["entry_notional"])


@kernel
def sum_sides(v, m):
    """Sum sizes and entry notionals of the traders on each side of a market, where trades have moved them."""
    market = v.markets[m]
    if market["summed_at"] == market["trades"] + 1:
        return
    market["summed_at"] = market["trades"] + 1
    market["long_held"] = market["long_entry"] = market["short_held"] = market["short_entry"] = 0.0
    for k in range(market["rows_start"], market["rows_end"]):
        r = v.market_rows[k]
        size = v.rows[r]["size"]
        if v.rows[r]["account"] < v.traders and size > 0.0:
            market["long_held"] += size
            market["long_entry"] += v.rows[r]["entry_notional"]
        elif v.rows[r]["account"] < v.traders:
            market["short_held"] += size
            market["short_entry"] += v.rows[r]["entry_notional"]


@kernel
def side_profit(v, m, side):
    """Unrealised profit of all traders on one side of a market, USD, signed: linear in the price between fills."""
    sum_sides(v, m)
    market = v.markets[m]
    if side > 0.0:
        return profit_at(market["oracle"], market["long_held"], market["long_entry"])
    return profit_at(market["oracle"], market["short_held"], market["short_entry"])


@kernel
def owed_to_sides(v):
    """What the pool owes the sides that are ahead, USD >= 0."""
    owed = 0.0
    for m in range(v.markets.shape[0]):
        owed += max(0.0, side_profit(v, m, 1.0)) + max(0.0, side_profit(v, m, -1.0))
    return owed


@kernel
def pool_value(v):
    """Equity of the pool before what it owes the sides that are ahead, USD."""
    return equity(v, v.traders + POOL) + owed_to_sides(v)


@inlined
def largest_profit(v, m, side):
    """Row of the largest profit on a side, -1 where nobody is ahead."""
    best, most = -1, 0.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        r = v.market_rows[k]
        if v.rows[r]["account"] < v.traders and v.rows[r]["size"] * side > 0.0 and profit_of(v, r) > most:
            best, most = r, profit_of(v, r)
    return best


@kernel
def close_winners(v, m, side, profit, pool, t):
    """Close winners of a side at the oracle price until its factor is pnl_factor_after."""
    excess = profit - v.terms[m]["pnl_factor_after"] * pool
    price = v.markets[m]["oracle"]
    while excess > 0.0:
        r = largest_profit(v, m, side)
        if r < 0:
            return
        gain = profit_of(v, r)
        size = abs(v.rows[r]["size"])
        quantity = size if gain <= excess else size * excess / gain
        excess -= gain
        trade(v, r, -side * quantity, price)
        trade(v, counterparty_row(v, POOL, m), side * quantity, price)
        notional = quantity * v.markets[m]["mark"]
        v.out[0]["adl_notional"] += notional
        v.out_market[m]["adl_notional"] += notional
        v.out[0]["fills"] += 1
        if v.out[0]["first_adl_step"] < 0:
            v.out[0]["first_adl_step"] = t


@kernel
def review(v, path, t):
    """Deleverage each side whose factor is above the trigger."""
    owed = owed_to_sides(v)
    pool = equity(v, v.traders + POOL) + owed
    if pool <= 0.0 or owed <= v.terms[0]["pnl_factor_max"] * pool:  # then no side is owed too much
        return
    for m in range(v.markets.shape[0]):
        if is_blocked(v, m, t, ADL):
            continue
        for i in range(2):
            side = 1.0 - 2.0 * i
            profit = side_profit(v, m, side)
            if is_excessive(profit, pool, v.terms[m]["pnl_factor_max"]):
                close_winners(v, m, side, profit, pool, t)


@kernel
def absorb(v, t, maintenance, initial):
    """Nothing: the layer acts on the pool's debt, not on claims."""
    return False


@kernel
def horizon(v, t, maintenance):
    """Cut the profits of sides that are owed more than the cap."""
    pool = max(0.0, pool_value(v))
    for m in range(v.markets.shape[0]):
        for i in range(2):
            side = 1.0 - 2.0 * i
            profit = side_profit(v, m, side)
            share = paid_share(profit, pool, v.terms[m]["profit_cap"]) if profit > 0.0 else 1.0
            if share >= 1.0:
                continue
            for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
                r = v.market_rows[k]
                a = v.rows[r]["account"]
                own = profit_of(v, r)
                if a < v.traders and v.rows[r]["size"] * side > 0.0 and own > 0.0:
                    cut = min(own - paid(own, share), max(0.0, equity(v, a)))
                    touch(v, a)
                    touch(v, v.traders + POOL)
                    v.accounts[a]["cash"] -= cut
                    v.accounts[v.traders + POOL]["cash"] += cut
                    v.out[0]["socialized_loss"] += cut
                    v.out_market[m]["socialized_loss"] += cut


MECHANISM = Mechanism(
    name="adl_pool_profit",
    stage=Stage.WATERFALL,
    parameters=AdlPoolProfit,
    kernels={"absorb": absorb, "review": review, "horizon": horizon},
    state=(
        StateField("long_held", "market", "f8", "base units, all longs"),
        StateField("long_entry", "market", "f8", "USD at entry, all longs"),
        StateField("short_held", "market", "f8", "base units, all shorts, <= 0"),
        StateField("short_entry", "market", "f8", "USD at entry, all shorts, <= 0"),
        StateField("summed_at", "market", "i8", "the market's trades so far + 1 when the sides were summed"),
    ),
)
