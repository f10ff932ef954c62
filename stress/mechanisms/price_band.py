"""Price band: no order fills further from the oracle price than a band.

Stage        breakers.
Formula      in every step the marginal price of an order stays within O x (1 -+ band); what lies beyond is not filled.
Source       Paradex docs (2025), price band of 20 % (HYPE); dYdX and Hyperliquid reject far orders in the same way.
Invariants   never changes a balance; takeovers, which name their own price, are not orders.
Limits       binds rules that ask for it (order_book); one band for both sides.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage


class PriceBand(MechanismParameters):
    """`band` is a fraction of the oracle price."""

    band: float = Field(gt=0, lt=1, description="largest distance of a fill from the oracle price, fraction")


@kernel
def trip(v, path, t):
    """Write the prices between which orders of this step may fill."""
    for m in range(v.markets.shape[0]):
        market = v.markets[m]
        market["order_low"] = market["oracle"] * (1.0 - v.terms[m]["band"])
        market["order_high"] = market["oracle"] * (1.0 + v.terms[m]["band"])


MECHANISM = Mechanism(name="price_band", stage=Stage.BREAKERS, parameters=PriceBand, kernels={"trip": trip})
