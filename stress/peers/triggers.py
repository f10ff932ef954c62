"""Vectors of triggers: which accounts are due for liquidation, and at which stage."""

from __future__ import annotations

from typing import Any

from stress.kernels.margin import assess
from stress.kernels.venue import MARKET_MAKERS, OUTSIDE_BOOK, VAULT
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
from stress.peers.standing import round_of, size_of, strictly, venue_of, whole_quanta


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
    due, _ = strict_trigger.flag(venue, 0, whole_quanta(equity), whole_quanta(requirement, up=True), 1)
    return {"liquidatable": bool(due)}


@adapter("gmx_v2", "is_liquidatable")
def gmx_is_liquidatable(inputs):
    """What remains of the collateral against the size in USD, which is the notional at entry."""
    side = 1.0 if inputs["is_long"] else -1.0
    size, entry = side * inputs["size_tokens"], inputs["size_usd"] / inputs["size_tokens"]
    factor = strictly(inputs["min_collateral_factor"])
    fractions = {"minimum_collateral": factor, "minimum_collateral_for_liquidation": factor}
    venue = venue_of(
        {"X": inputs["index_price"]},
        [(inputs["collateral_amount"] * inputs["collateral_price"], {0: (size, entry)})],
        margin={"rule": "pool_minimum_collateral", "markets": {"X": fractions}},
        trigger={"rule": "remaining_collateral", "minimum_collateral_usd": inputs["min_collateral_usd"]},
    )
    equity, _ = assess(venue, 0, pool_minimum_collateral.maintenance)
    left = remaining_collateral.remaining(equity, inputs.get("price_impact_usd", 0.0), inputs.get("fees_usd", 0.0))
    requirement = pool_minimum_collateral.maintenance(venue, 0, size, entry)
    return {"liquidatable": bool(remaining_collateral.short(venue, left, requirement))}


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
    """Who takes how much of a position in one round: the book, the vault, or a winner that is deleveraged."""
    notional = inputs["position_notional"]
    rules: dict[str, Any] = {
        "margin": {
            "rule": "flat_margin",
            "markets": {
                "X": {"leverage_cap": 1.0, "maintenance_to_initial_ratio": inputs["maintenance_margin"] / notional}
            },
        },
        "size": {"rule": "fraction_with_cooldown", "fraction": 0.2, "full_below": 100_000.0, "cooldown": "30s"},
        "execution": [
            {
                "rule": "backstop_vault",
                "vault_equity": 1e3 * notional,
                "takeover_below": 2 / 3,
                "takes_insolvent": False,
            },
            {"rule": "order_book", "deficit_fill": "covered"},
        ],
        "waterfall": [
            {"rule": "adl_profit_leverage", "adl_price": "previous_mark", "adl_when": "negative_equity"},
        ],
    }
    venue = venue_of({"X": 1.0}, [(inputs["account_value"], {0: (notional, 1.0)})], **rules)
    venue.markets["depth"] = float("inf")
    if inputs.get("in_cooldown", False):
        venue.accounts[0]["cooldown_until"], venue.accounts[0]["cooldown_round"] = 30, -2.0
    round_of(**rules).play(venue, 1, True)
    for stage, closed in (
        ("market", size_of(venue, OUTSIDE_BOOK)),
        ("backstop", size_of(venue, VAULT)),
        ("adl", notional + size_of(venue, MARKET_MAKERS)),
    ):
        if closed > 0.0:
            return {"stage": stage, "fraction": float(closed / notional)}
    return {"stage": "none", "fraction": 0.0}
