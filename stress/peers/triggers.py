"""Vectors of triggers: which accounts are due for liquidation, and at which stage."""

from __future__ import annotations

from stress.kernels.margin import assess
from stress.mechanisms import (
    backstop_vault,
    fraction_with_cooldown,
    open_interest_margin,
    pool_minimum_collateral,
    remaining_collateral,
    reward_trigger,
    strict_trigger,
    tiered_margin,
)
from stress.peers.agreement import adapter
from stress.peers.prices import dydx_account
from stress.peers.standing import strictly, venue_of


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
    factor = strictly(inputs["min_collateral_factor"])
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


@adapter("hyperliquid", "liquidation_stage")
def hyperliquid_stage(inputs):
    """Whether a market order, the vault or deleveraging comes first, and how much of the position it closes."""
    notional, needed = inputs["position_notional"], inputs["maintenance_margin"]
    vault = {
        "rule": "backstop_vault",
        "vault_equity": 1e12,
        "takeover_below": 2.0 / 3.0,
        "takes_insolvent": False,
    }
    venue = venue_of(
        {"X": 1.0},
        [(inputs["account_value"], {0: (notional, 1.0)})],
        size={"rule": "fraction_with_cooldown", "fraction": 0.2, "full_below": 100_000.0, "cooldown": "30s"},
        execution=[vault],
    )
    value = inputs["account_value"]
    due, _ = strict_trigger.flag(venue, 0, value, needed, 1)
    if not due:
        return {"stage": "none", "fraction": 0.0}
    if value < 0.0:  # what the vault does not take and margin cannot pay goes to deleveraging
        return {"stage": "adl", "fraction": 1.0}
    none = (None,) * 3
    taken, *_ = backstop_vault.execute(venue, 0, 0, notional, 0.0, value, needed, 0.0, 1, *none, None)
    if taken > 0.0:
        return {"stage": "backstop", "fraction": float(taken / notional)}
    if inputs["in_cooldown"]:
        venue.accounts[0]["cooldown_until"], venue.accounts[0]["cooldown_round"] = 30, -2.0
    closed = fraction_with_cooldown.quantity(venue, 0, 0, value, needed, 0.0, 1, None, None)
    return {"stage": "market", "fraction": float(closed / notional)}
