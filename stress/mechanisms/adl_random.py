"""Random auto-deleveraging: winners are asked in the order of the market's rows from a random place.

Stage        waterfall.
Formula      start = floor(u x rows of the market), u addressed by (adl_seed, path, step, bankrupt row); from there round once,
             every eligible winner gives up to all of its contracts, until the bankrupt row is closed. At the bankruptcy price,
             the mark, the previous mark, or the oracle price. With adl_overlap: required a winner is passed over unless
             the close leaves it at its initial requirement or no riskier than before (`may_close`).
Source       dYdX v4-chain, x/clob/keeper/deleveraging.go:138,254,461 @ 84d4664b: offsets from a pseudo-random start, not
             ranked (the documents say ranked); a pair is skipped where "bankruptcy prices do not overlap".
Invariants   I1, I2, I5.
Limits       the bankrupt account is not asked: at its bankruptcy price its ratio stays, so it always may. The venue walks
             subaccounts of its store in their order; here rows stand in order of account. Attempts per block are a breaker's.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stress.kernels.deleveraging import close_open_claims, is_winner
from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import assess
from stress.kernels.rng import DELEVERAGING, philox, round_keys, stream_of, unit
from stress.kernels.venue import QUANTUM
from stress.stages import DeleveragingParameters, Mechanism, Stage, StateField


class AdlRandom(DeleveragingParameters):
    """`adl_seed` is the key of the random starts, the same for every cell and study."""

    adl_overlap: Literal["required", "ignored"] = Field(
        default="required",
        description="whether the close must leave a winner no riskier, or at its initial requirement",
    )
    adl_seed: int = Field(default=20261126, ge=0, lt=2**63, description="key of the random starts")


@inlined
def may_update(equity, requirement, equity_after, requirement_after, initial_after):
    """Tell whether an account may be left so: at its initial requirement, or no riskier than it was.

    No riskier: maintenance does not rise, and equity / maintenance does not fall; without contracts, equity >= 0.
    """
    if equity_after >= initial_after - QUANTUM:
        return True
    if requirement_after > requirement:
        return False
    if requirement_after == 0.0:
        return equity_after >= -QUANTUM
    return equity_after * requirement >= (equity - QUANTUM) * requirement_after


@kernel
def may_close(v, r, quantity, price, maintenance, initial):
    """Tell whether the account of row `r` may close `quantity` (> 0) of it at `price`."""
    a, mark = v.rows[r]["account"], v.markets[v.rows[r]["market"]]["mark"]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    value, requirement = assess(v, a, maintenance)
    needed = needed_to_open = 0.0
    for k in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        m = v.rows[k]["market"]
        size = v.rows[k]["size"] - side * quantity if k == r else v.rows[k]["size"]
        if size != 0.0:
            needed += maintenance(v, m, size, v.markets[m]["mark"])
            needed_to_open += initial(v, m, size, v.markets[m]["mark"])
    return may_update(value, requirement, value + side * quantity * (price - mark), needed, needed_to_open)


KEYS = round_keys(20261126, stream_of("adl_random"))


@kernel
def choose(v, r, side, rest, price, t, maintenance, initial):
    """Return the next winner row from the random start, and the quantity it takes."""
    m = v.rows[r]["market"]
    market = v.markets[m]
    count = market["rows_end"] - market["rows_start"]
    if market["walk_for"] != r:
        market["walk_for"] = r
        market["walked"] = 0
        seed = np.uint64(v.terms[0]["adl_seed"])
        words = philox(KEYS, seed, np.uint64(v.venue[0]["path"]), DELEVERAGING, np.uint64(t * v.rows.shape[0] + r))
        market["walk_start"] = min(int(unit(words[0]) * count), count - 1)
    while market["walked"] < count:
        k = market["rows_start"] + (market["walk_start"] + market["walked"]) % count
        market["walked"] += 1
        w = v.market_rows[k]
        if not is_winner(v, w, side):
            continue
        quantity = min(rest, abs(v.rows[w]["size"]))
        if v.terms[m]["adl_overlap"] == 0 and not may_close(v, w, quantity, price, maintenance, initial):
            continue
        if quantity >= rest:
            market["walk_for"] = -1
        return w, quantity
    market["walk_for"] = -1
    return -1, 0.0


@kernel
def absorb(v, t, maintenance, initial):
    """Deleverage open claims; returns whether anything was closed."""
    return close_open_claims(v, t, v.terms[0]["adl_when"], v.terms[0]["adl_price"], maintenance, initial, choose)


MECHANISM = Mechanism(
    name="adl_random",
    stage=Stage.WATERFALL,
    parameters=AdlRandom,
    kernels={"absorb": absorb},
    state=(
        StateField("walk_for", "market", "i8", "bankrupt row being deleveraged, -1 = none", reset=-1),
        StateField("walk_start", "market", "i8", "where the walk over the market's rows began"),
        StateField("walked", "market", "i8", "rows walked so far"),
    ),
)
