"""Funding as it is paid: the index that every position settles by, and what of it is recorded.

A rate is USD per USD of position at the oracle price, + = longs pay. Legend: m = markets, t = steps.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import counterparty_row, open_interest, touch
from stress.kernels.venue import MARKET_MAKERS, OUTSIDE_BOOK, POOL

YEAR = 365.0 * 86_400.0


@kernel
def note_payment(v, m, t, amount):
    """Record that the paying side pays `amount` (USD per base unit, + = longs pay) at step t: sum, and turns of its sign."""
    market, out = v.markets[m], v.out_market[m]
    out["funding_paid"] += amount / market["oracle"]
    market["last_payment"] = amount
    market["last_payment_step"] = t
    sign = 1.0 if amount > 0.0 else -1.0 if amount < 0.0 else 0.0
    if sign * market["funding_sign"] < 0.0:
        out["funding_flips"] += 1
    if sign != 0.0:
        market["funding_sign"] = sign


@inlined
def pay(v, m, t, amount):
    """Let longs pay `amount` (USD per base unit, signed) to shorts."""
    v.markets[m]["funding_index"] += amount
    note_payment(v, m, t, amount)


@kernel
def pay_sides(v, m, by_longs, to_shorts, payee):
    """Let longs pay `by_longs` and shorts receive `to_shorts` (USD per base unit, signed); `payee` gets the difference.

    `payee` is a counterparty's offset. Every row pays or receives, the payee's own too; nothing is recorded.
    """
    v.markets[m]["funding_index"] += by_longs
    kept = by_longs - to_shorts
    if kept != 0.0:
        long, _ = open_interest(v, m)
        for offset in (POOL, MARKET_MAKERS, OUTSIDE_BOOK):
            long += max(0.0, v.rows[counterparty_row(v, offset, m)]["size"])
        v.markets[m]["funding_kept"] += kept
        touch(v, v.traders + payee)
        v.accounts[v.traders + payee]["cash"] += kept * long  # shorts are as many: the market nets to zero


@kernel
def promise(v, horizon, quote, rates):
    """At t = 0: record what the rate that the venue quotes would come to if it stood until the horizon (seconds)."""
    for m in range(v.markets.shape[0]):
        if v.markets[m]["holding"] == 0:
            v.out_market[m]["funding_promised"] = quote(v, m, rates) * horizon / YEAR
