"""Oracle pool: a liquidation closes against the liquidity pool at the oracle price, moved by a formula of the skew.

Stage        execution.
Formula      d0, d1 = |skew| in USD before and after the fill; one side: +-|f d0^e - f d1^e| with (f+, e+) where
             the skew shrinks and (f-, e-) where it grows; crossover: f+ d0^e+ - f- d1^e-; a term of less
             than 1 USD with e != 1 is 0. The impact is kept within [-cost cap, gain cap] x notional. A sale of N
             USD at price P with impact i is made at P / (1 - i / N), a purchase at P / (1 + i / N).
Source       GMX v2, pricing/PricingUtils.sol:61,83 and market/MarketUtils.sol @ a5c0c883; with all factors 0 the
             close at the oracle price of Synthetix perps v3 (PerpsMarket.sol @ 23585f73).
Invariants   I1; the pool is the counterparty of every contract.
Limits       the pool takes every fill, whatever its equity; impact is settled at once, not on a later close; the
             price of an increase also prices a decrease, a difference of second order in i / N.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.ledger import skew
from stress.kernels.venue import NO_LIMIT, POOL
from stress.stages import Mechanism, MechanismParameters, Stage

Factor = Annotated[float, Field(ge=0)]
Exponent = Annotated[float, Field(gt=0)]


class OraclePool(MechanismParameters):
    """Factors are per USD to the power of the exponent; a number, or one per market. Zero factors = no impact."""

    pool_equity: float = Field(ge=0, description="equity of the pool at t = 0, USD")
    impact_factor_positive: Factor | dict[str, Factor] = Field(default=0.0, description="f+, where the skew shrinks")
    impact_factor_negative: Factor | dict[str, Factor] = Field(default=0.0, description="f-, where the skew grows")
    impact_exponent_positive: Exponent | dict[str, Exponent] = Field(default=1.0, description="e+")
    impact_exponent_negative: Exponent | dict[str, Exponent] = Field(default=2.0, description="e-")
    impact_gain_cap: float = Field(default=0.005, ge=0, description="largest gain by impact, fraction of notional")
    impact_cost_cap: float = Field(
        default=0.005, ge=0, lt=1, description="largest cost by impact, fraction of notional"
    )

    def balances(self) -> dict[int, float]:
        """The pool's equity at t = 0."""
        return {POOL: self.pool_equity}


@inlined
def impact_term(difference, factor, exponent):
    """factor x difference^exponent, USD; nothing for less than 1 USD of difference."""
    if difference < 1.0 and exponent != 1.0:
        return 0.0
    return factor * difference**exponent


@inlined
def price_impact(before, after, positive, positive_exponent, negative, negative_exponent):
    """USD that a trade gains (+) or loses (-) by moving the signed skew from `before` to `after`, USD."""
    d0, d1 = abs(before), abs(after)
    if before * after < 0.0:
        return impact_term(d0, positive, positive_exponent) - impact_term(d1, negative, negative_exponent)
    if d1 < d0:
        return abs(impact_term(d0, positive, positive_exponent) - impact_term(d1, positive, positive_exponent))
    return -abs(impact_term(d0, negative, negative_exponent) - impact_term(d1, negative, negative_exponent))


@inlined
def execution_price(price, notional, impact, buys):
    """Price of a fill of `notional` USD with an impact in USD (+ = gain), bought or sold."""
    share = impact / notional
    return price / (1.0 + share) if buys else price / (1.0 - share)


@kernel
def execute(v, a, r, quantity, bankruptcy_price, equity, requirement, cover, t, respond, average, invert, maintenance):
    """Close `quantity` > 0 base units of row `r` against the pool."""
    m = v.rows[r]["market"]
    terms = v.terms[m]
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    price = v.markets[m]["oracle"]
    notional = quantity * price
    before = skew(v, m) * price
    impact = price_impact(
        before,
        before - side * notional,
        terms["impact_factor_positive"],
        terms["impact_exponent_positive"],
        terms["impact_factor_negative"],
        terms["impact_exponent_negative"],
    )
    impact = min(max(impact, -terms["impact_cost_cap"] * notional), terms["impact_gain_cap"] * notional)
    return quantity, execution_price(price, notional, impact, side < 0.0), POOL, NO_LIMIT


MECHANISM = Mechanism(name="oracle_pool", stage=Stage.EXECUTION, parameters=OraclePool, kernels={"execute": execute})
