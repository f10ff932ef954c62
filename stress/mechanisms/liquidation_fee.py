"""Liquidation fee: a fraction of the fill, never more than what the account has left of it.

Stage        fees.
Formula      min(rate x filled x price, filled x side x (price - bankruptcy price)), not below 0.
Source       dYdX v4-chain, insurance-fund delta (x/clob/keeper/liquidations.go:641 @ 84d4664b).
Invariants   I1; a fee never creates bad debt.
Limits       one rate and one recipient.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.venue import INSURANCE_FUND, LIQUIDATORS, POOL, TREASURY, VAULT
from stress.stages import Mechanism, MechanismParameters, Stage

RECIPIENTS = (INSURANCE_FUND, LIQUIDATORS, VAULT, TREASURY, POOL)


class LiquidationFee(MechanismParameters):
    """`liquidation_fee` is a fraction of the fill's notional."""

    liquidation_fee: float = Field(ge=0, lt=1, description="fraction of the fill's notional")
    fee_to: Literal["insurance_fund", "liquidators", "vault", "treasury", "pool"] = Field(
        default="insurance_fund", description="who receives it"
    )


@inlined
def surplus(v, r, filled, price, bankruptcy_price):
    """What a fill leaves above (below for a short) the bankruptcy price, USD, signed."""
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    return filled * side * (price - bankruptcy_price)


@kernel
def fee(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance):
    """Fee of a fill of `filled` > 0 base units of row `r`, USD, and the counterparty that gets it."""
    terms = v.terms[v.rows[r]["market"]]
    left = surplus(v, r, filled, price, bankruptcy_price)
    return max(0.0, min(terms["liquidation_fee"] * filled * price, left)), RECIPIENTS[terms["fee_to"]]


MECHANISM = Mechanism(name="liquidation_fee", stage=Stage.FEES, parameters=LiquidationFee, kernels={"fee": fee})
