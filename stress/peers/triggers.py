"""Vectors of triggers: which accounts are due for liquidation, and at which stage."""

from __future__ import annotations

from stress.kernels.margin import assess
from stress.mechanisms import (
    open_interest_margin,
    pool_minimum_collateral,
    remaining_collateral,
    reward_trigger,
    strict_trigger,
    tiered_margin,
)
from stress.peers.agreement import adapter
from stress.peers.prices import dydx_account
from stress.peers.standing import venue_of


@adapter("dydx_v4", "is_liquidatable")
def dydx_is_liquidatable(inputs):
    """Strict trigger on equity and maintenance of a cross account; the balance is net of entry notional."""
    if not inputs["positions"]:
        venue = venue_of({"X": 1.0}, [(inputs["usdc_balance"], {})])
        equity, requirement = assess(venue, 0, tiered_margin.maintenance)
    else:
        names, prices, margin, account = dydx_account(inputs["usdc_balance"], inputs["positions"])
        venue = venue_of(dict(zip(names, prices, strict=True)), [account], margin=margin)
        equity, requirement = assess(venue, 0, open_interest_margin.maintenance)
    due, _ = strict_trigger.flag(venue, 0, equity, requirement, 1)
    return {"liquidatable": bool(due)}


@adapter("gmx_v2", "is_liquidatable")
def gmx_is_liquidatable(inputs):
    """What remains of the collateral against the size in USD, which is the notional at entry."""
    side = 1.0 if inputs["is_long"] else -1.0
    size, entry = side * inputs["size_tokens"], inputs["size_usd"] / inputs["size_tokens"]
    factor = inputs["min_collateral_factor"]
    fractions = {"minimum_collateral": factor, "minimum_collateral_for_liquidation": factor}
    collateral = inputs["collateral_amount"] * inputs["collateral_price"]
    venue = venue_of(
        {"X": inputs["index_price"]},
        [(collateral + min(0.0, inputs["price_impact_usd"]) - inputs["fees_usd"], {0: (size, entry)})],
        margin={"rule": "pool_minimum_collateral", "markets": {"X": fractions}},
        trigger={"rule": "remaining_collateral", "minimum_collateral_usd": inputs["min_collateral_usd"]},
    )
    equity, _ = assess(venue, 0, pool_minimum_collateral.maintenance)
    requirement = pool_minimum_collateral.maintenance(venue, 0, size, entry)
    due, _ = remaining_collateral.flag(venue, 0, equity, requirement, 1)
    return {"liquidatable": bool(due)}


@adapter("synthetix_perps_v3", "keeper_reward")
def keeper_reward(inputs):
    """Reward for an account with the positions and the collateral of the vector."""
    notional = inputs["notional_by_market"] if "notional_by_market" in inputs else [inputs["notional"]]
    ratio = inputs["flag_reward_ratio_by_market"] if "notional_by_market" in inputs else [inputs["flag_reward_ratio"]]
    names = [f"M{place}" for place in range(len(notional))]
    venue = venue_of(
        dict.fromkeys(names, 1.0),
        [(inputs["seized_collateral"], {m: (size, 1.0) for m, size in enumerate(notional)})],
        trigger={
            "rule": "reward_trigger",
            "flag_reward_ratio": dict(zip(names, ratio, strict=True)),
            "liquidation_cost": inputs["execution_cost"],
            "minimum_keeper_reward": inputs["min_keeper_reward"],
            "minimum_profit_ratio": inputs["min_profit_ratio"],
            "maximum_keeper_reward": inputs["max_keeper_reward"],
            "keeper_reward_scaling": inputs["max_scaling_ratio"],
        },
    )
    return {"reward": float(reward_trigger.reward_of(venue, 0))}
