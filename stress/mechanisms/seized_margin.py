"""Seized margin: what a liquidated position leaves goes to a keeper, up to its reward, and to the venue.

Stage        fees.
Formula      surplus S = filled x side x (price - bankruptcy price), not below 0: the filled contracts' part of the account's
             margin. Keeper: kernels.margin.keeper_reward of flag share x notional, out of S. The rest of S goes to
             seized_to; with seize: whole_only only where the fill closes the position.
Source       Synthetix perps v3, GlobalPerpsMarketConfiguration.sol:146 @ 23585f73 (all collateral to the pool);
             Perpetual Protocol v1 docs (2021): 1.25 % of notional to the liquidator, remaining margin to the insurance fund.
Invariants   I1; reward and fee together never exceed the surplus, so they create no bad debt.
Limits       margin is seized with the contracts it carries, as they close, not at once at the flag.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import keeper_reward
from stress.kernels.venue import INSURANCE_FUND, LIQUIDATORS, POOL, TREASURY, VAULT
from stress.stages import Mechanism, MechanismParameters, Stage

RECIPIENTS = (INSURANCE_FUND, LIQUIDATORS, VAULT, TREASURY, POOL)


class SeizedMargin(MechanismParameters):
    """Rewards are USD, shares are fractions; `keeper_reward_max` of null is no cap."""

    seized_to: Literal["insurance_fund", "liquidators", "vault", "treasury", "pool"] = Field(
        description="who receives what the keeper does not"
    )
    seize: Literal["always", "whole_only"] = Field(default="always", description="which fills seize the margin left")
    flag_reward: float = Field(default=0.0, ge=0, description="keeper's share of the notional")
    keeper_cost: float = Field(default=0.0, ge=0, description="execution cost that the reward covers, USD")
    keeper_reward_min: float = Field(default=0.0, ge=0, description="least reward above the cost, USD")
    keeper_profit_ratio: float = Field(default=0.0, ge=0, description="least reward above the cost, as a share of it")
    keeper_reward_max: Annotated[float, Field(ge=0)] | None = Field(default=None, description="largest reward, USD")
    keeper_reward_share: float = Field(default=1.0, ge=0, le=1, description="largest share of the margin (scaling)")

    def terms(self, market, step):
        """Return the kernel's fields; no cap is an infinite one."""
        if self.keeper_reward_max is not None:
            return MechanismParameters.terms(self, market, step)
        stated = self.model_copy(update={"keeper_reward_max": 0.0})
        return MechanismParameters.terms(stated, market, step) | {"keeper_reward_max": math.inf}


@inlined
def surplus(v, r, filled, price, bankruptcy_price):
    """Margin that the filled contracts leave, USD >= 0."""
    side = 1.0 if v.rows[r]["size"] > 0.0 else -1.0
    return max(0.0, filled * side * (price - bankruptcy_price))


@kernel
def reward(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance):
    """USD that the keeper gets for a fill of `filled` > 0 base units of row `r`."""
    terms = v.terms[v.rows[r]["market"]]
    return keeper_reward(
        terms["flag_reward"] * filled * price,
        terms["keeper_cost"],
        terms["keeper_reward_min"],
        terms["keeper_profit_ratio"],
        terms["keeper_reward_max"],
        terms["keeper_reward_share"],
        surplus(v, r, filled, price, bankruptcy_price),
    )


@kernel
def fee(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance):
    """USD that is seized beside the reward, and the counterparty that gets it."""
    terms = v.terms[v.rows[r]["market"]]
    to = RECIPIENTS[terms["seized_to"]]
    if terms["seize"] == 1 and filled < abs(v.rows[r]["size"]):
        return 0.0, to
    paid = reward(v, r, filled, price, bankruptcy_price, equity, requirement, maintenance)
    return max(0.0, surplus(v, r, filled, price, bankruptcy_price) - paid), to


MECHANISM = Mechanism(
    name="seized_margin", stage=Stage.FEES, parameters=SeizedMargin, kernels={"fee": fee, "reward": reward}
)
