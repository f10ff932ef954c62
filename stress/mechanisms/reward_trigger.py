"""Trigger plus reward: an account is liquidatable when its equity no longer covers requirement and keeper reward.

Stage        trigger.
Formula      requirement > 0 and equity < requirement + reward; N = notional of a position at the mark;
             reward = kernels.margin.keeper_reward of max(sum of flag_reward_ratio x N, collateral_reward_ratio x collateral),
             collateral = equity less the profit and loss of open positions, not below 0. Queue by account id.
Source       Synthetix v3, perps-market/contracts/storage/PerpsAccount.sol:189 and
             GlobalPerpsMarketConfiguration.sol:146 @ 23585f73.
Invariants   I6 with the reward added: equality does not trigger; a larger reward never triggers later.
Limits       cost is one number; gas that rises in a crash belongs to keepers of the execution stage.
"""

from __future__ import annotations

from pydantic import Field

from stress.kernels.jit import inlined, kernel
from stress.kernels.margin import keeper_reward
from stress.stages import Mechanism, MechanismParameters, NonNegativeByMarket, Stage


class RewardTrigger(MechanismParameters):
    """Money is USD per liquidation of an account."""

    flag_reward_ratio: NonNegativeByMarket = Field(default=0.0, description="reward over a position's notional")
    collateral_reward_ratio: float = Field(default=0.0, ge=0, description="reward over collateral")
    liquidation_cost: float = Field(default=0.0, ge=0, description="cost of executing a liquidation, USD")
    minimum_keeper_reward: float = Field(default=0.0, ge=0, description="added to the cost, USD")
    minimum_profit_ratio: float = Field(default=0.0, ge=0, description="profit over the cost")
    maximum_keeper_reward: float = Field(ge=0, description="highest reward, USD")
    keeper_reward_scaling: float = Field(default=1.0, ge=0, description="highest reward over collateral")


@kernel
def reward(v, by_notional, collateral):
    """Reward of the keeper who liquidates an account, USD; `by_notional` is what its positions alone would give."""
    terms = v.terms[0]
    return keeper_reward(
        max(by_notional, collateral * terms["collateral_reward_ratio"]),
        terms["liquidation_cost"],
        terms["minimum_keeper_reward"],
        terms["minimum_profit_ratio"],
        terms["maximum_keeper_reward"],
        terms["keeper_reward_scaling"],
        collateral,
    )


@kernel
def reward_of(v, a):
    """Reward for the account as it stands, USD."""
    by_notional = 0.0
    collateral = v.accounts[a]["cash"]
    for r in range(v.accounts[a]["row_start"], v.accounts[a]["row_end"]):
        market = v.markets[v.rows[r]["market"]]
        if market["holding"] != 0:
            collateral += v.rows[r]["size"] * market["mark"]
        else:
            ratio = v.terms[v.rows[r]["market"]]["flag_reward_ratio"]
            by_notional += abs(v.rows[r]["size"]) * market["mark"] * ratio
    return reward(v, by_notional, max(0.0, collateral))


@inlined
def bound(v, a, equity, requirement):
    """Tell whether no account with at least this equity and at most this requirement is flagged."""
    return equity >= requirement + v.terms[0]["maximum_keeper_reward"]


@kernel
def flag(v, a, equity, requirement, t):
    """Return (liquidate now?, priority)."""
    if requirement <= 0.0 or bound(v, a, equity, requirement):
        return False, 0.0
    return equity < requirement or equity < requirement + reward_of(v, a), 0.0


MECHANISM = Mechanism(
    name="reward_trigger", stage=Stage.TRIGGER, parameters=RewardTrigger, kernels={"flag": flag}, bound=bound
)
