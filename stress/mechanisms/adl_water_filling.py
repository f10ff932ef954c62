"""Water-filling auto-deleveraging: the most levered winners are brought down to one common leverage.

Stage        waterfall.
Formula      for a bankrupt row of Q contracts find the leverage l with sum over winners of (q - l e / M)^+ = Q, q = their
             contracts in the market, e = equity of the account; each gives up its summand. At the bankruptcy price, the
             mark, the previous mark, or the oracle price.
Source       Risk-Based Auto-Deleveraging (2026), arXiv 2603.15963: the reduction that minimises the highest leverage.
Invariants   I1, I2, I5.
Limits       leverage is that of the position on the account's whole equity: hedges in other markets do not count.
"""

from __future__ import annotations

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import kernel
from stress.kernels.ledger import equity
from stress.stages import DeleveragingParameters, Mechanism, Stage, StateField


class AdlWaterFilling(DeleveragingParameters):
    """No parameter of its own."""


@kernel
def drained(v, m, side, level):
    """Base units that winners give up where their leverage is brought down to `level`."""
    total = 0.0
    for k in range(v.markets[m]["rows_start"], v.markets[m]["rows_end"]):
        w = v.market_rows[k]
        if is_winner(v, w, side):
            value = equity(v, v.rows[w]["account"])
            total += max(0.0, abs(v.rows[w]["size"]) - level * value / v.markets[m]["mark"])
    return total


@kernel
def water_level(v, m, side, rest):
    """Leverage at which `rest` base units are drained, 0 where all that winners hold is not more."""
    if drained(v, m, side, 0.0) <= rest:
        return 0.0
    low, high = 0.0, 1.0
    while drained(v, m, side, high) > rest:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        if drained(v, m, side, middle) > rest:
            low = middle
        else:
            high = middle
    return low  # drains at least `rest`: the last winner takes what is left


@kernel
def choose(v, r, side, rest, price, t, maintenance, initial):
    """Return the next winner row not yet asked for this bankrupt row, and what it is above the level."""
    m = v.rows[r]["market"]
    market = v.markets[m]
    if market["drained_for"] != r:
        market["drained_for"] = r
        market["drained_to"] = market["rows_start"]
        market["drained_level"] = water_level(v, m, side, rest)
    for k in range(market["drained_to"], market["rows_end"]):
        market["drained_to"] = k + 1
        w = v.market_rows[k]
        if not is_winner(v, w, side):
            continue
        value = equity(v, v.rows[w]["account"])
        quantity = min(rest, abs(v.rows[w]["size"]) - market["drained_level"] * value / market["mark"])
        if quantity > 0.0:
            if quantity >= rest:
                market["drained_for"] = -1
            return w, quantity
    market["drained_for"] = -1
    if rest > 0.0 and market["drained_level"] > 0.0:  # rounding left something: whoever still holds contracts takes it
        for k in range(market["rows_start"], market["rows_end"]):
            if is_winner(v, v.market_rows[k], side):
                return v.market_rows[k], min(rest, abs(v.rows[v.market_rows[k]]["size"]))
    return -1, 0.0


@kernel
def absorb(v, t, maintenance, initial):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, initial, choose)


MECHANISM = Mechanism(
    name="adl_water_filling",
    stage=Stage.WATERFALL,
    parameters=AdlWaterFilling,
    kernels={"absorb": absorb},
    state=(
        StateField("drained_for", "market", "i8", "bankrupt row being deleveraged, -1 = none", reset=-1),
        StateField("drained_to", "market", "i8", "position in market_rows of the next row to ask"),
        StateField("drained_level", "market", "f8", "leverage to which winners are brought down"),
    ),
)
