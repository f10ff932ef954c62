"""Vectors of whole accounts: profit and loss, margin that is left, and whether it suffices."""

from __future__ import annotations

from stress.kernels.margin import assess
from stress.mechanisms import reward_trigger, skew_linear_margin, skew_pool
from stress.peers.agreement import adapter
from stress.peers.standing import venue_of, whole_quanta


@adapter("synthetix_perps_v3", "account_margin")
def synthetix_account(inputs):
    """An account whose positions were opened at the skew of their time."""
    rates, rows, prices = {}, {}, {}
    for place, held in enumerate(inputs["positions"]):
        rates[held["market"]] = {
            "skew_scale": held["skew_scale"],
            "initial_margin_ratio": held["initial_margin_ratio"],
            "minimum_initial_margin_ratio": held["min_initial_margin_ratio"],
            "maintenance_to_initial_ratio": held["maintenance_scalar"],
            "minimum_position_margin": held["minimum_position_margin"],
        }
        entry = skew_pool.fill_price(held["open_price"], held["open_skew"], held["size"], held["skew_scale"])
        rows[place] = (held["size"], entry)
        prices[held["market"]] = held["price"]
    reward = inputs["keeper_reward_usd"]
    venue = venue_of(
        prices,
        [(inputs["collateral_usd"], rows)],
        margin={"rule": "skew_linear_margin", "markets": rates},
        trigger={
            "rule": "reward_trigger",
            "minimum_keeper_reward": reward,
            "maximum_keeper_reward": reward,
            "keeper_reward_scaling": 1e300,  # the vector's reward is final
        },
    )
    equity, requirement = assess(venue, 0, skew_linear_margin.maintenance)
    due, _ = reward_trigger.flag(venue, 0, whole_quanta(equity), whole_quanta(requirement), 1)
    own = venue.rows[: len(rows)]
    profit = own["size"] * venue.markets["mark"][own["market"]] - own["entry_notional"]
    return {"pnl": profit.tolist(), "available_margin": float(equity), "liquidatable": bool(due)}
