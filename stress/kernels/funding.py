"""Funding as it is paid: the index that every position settles by, and what of it is recorded.

A rate is USD per USD of position at the oracle price, + = longs pay. Legend: m = markets, t = steps.
"""

from __future__ import annotations

from stress.kernels.jit import inlined, kernel

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
def promise(v, horizon, quote, rates):
    """At t = 0: record what the rate that the venue quotes would come to if it stood until the horizon (seconds)."""
    for m in range(v.markets.shape[0]):
        if v.markets[m]["holding"] == 0:
            v.out_market[m]["funding_promised"] = quote(v, m, rates) * horizon / YEAR
