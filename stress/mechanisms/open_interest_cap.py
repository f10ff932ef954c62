"""Open-interest cap: no position is opened while a side of the market is at its cap.

Stage        breakers.
Formula      max(long, short) open interest x mark >= interest_cap blocks `open` in that market for the step.
Source       GMX v2, config/markets.ts (95M USD for BTC on Arbitrum) @ a5c0c883; Hyperliquid docs, open-interest-caps (2026).
Invariants   never changes a balance.
Limits       traders are static, so that nothing is refused within the horizon but what rules open themselves; a book
             above the cap at t = 0 is carried on, as venues do when a cap is lowered.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.halts import halt
from stress.kernels.jit import kernel
from stress.kernels.ledger import open_interest
from stress.kernels.venue import OPEN
from stress.stages import Mechanism, MechanismParameters, Stage

Usd = Annotated[float, Field(gt=0)]


class OpenInterestCap(MechanismParameters):
    """`interest_cap` is USD: a number, or one per market."""

    interest_cap: Usd | dict[str, Usd] = Field(description="largest open interest of one side, USD")


@kernel
def trip(v, path, t):
    """Block `open` where a side is at the cap."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        if max(open_interest(v, m)) * market["mark"] >= v.terms[m]["interest_cap"]:
            halt(v, m, t, OPEN, 0)


MECHANISM = Mechanism(
    name="open_interest_cap",
    stage=Stage.BREAKERS,
    parameters=OpenInterestCap,
    kernels={"trip": trip},
)
