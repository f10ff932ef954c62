"""Order cap: no order of a liquidation is larger than a notional.

Stage        breakers.
Formula      in every round an order closes at most order_cap / mark base units of a position.
Source       Hyperliquid docs, contract-specifications.md (2026-08-22): market orders up to 30M USD at a highest leverage of 25
             or more, 5M from 20, 2M from 10, else 0.5M.
Invariants   never changes a balance; what is left waits for the next round.
Limits       one cap per market; orders of several accounts add up without a cap.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage

Usd = Annotated[float, Field(gt=0)]


class OrderCap(MechanismParameters):
    """`largest_order` is USD: a number, or one per market."""

    largest_order: Usd | dict[str, Usd] = Field(description="largest notional of one order, USD")


@kernel
def trip(v, path, t):
    """Write the largest order of this step."""
    for m in range(v.markets.shape[0]):
        v.markets[m]["order_cap"] = v.terms[m]["largest_order"]


MECHANISM = Mechanism(name="order_cap", stage=Stage.BREAKERS, parameters=OrderCap, kernels={"trip": trip})
