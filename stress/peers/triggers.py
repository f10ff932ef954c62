"""Vectors of triggers: which accounts are due for liquidation, and at which stage."""

from __future__ import annotations

from stress.kernels.margin import assess
from stress.mechanisms import strict_trigger, tiered_margin
from stress.peers.agreement import adapter
from stress.peers.standing import venue_of


@adapter("dydx_v4", "is_liquidatable")
def dydx_is_liquidatable(inputs):
    """Strict trigger on equity and maintenance of a cross account; `usdc_balance` is net of entry notional."""
    positions = inputs["positions"]
    prices = {held["market"]: held["oracle_price"] for held in positions} or {"X": 1.0}
    tiers = {
        held["market"]: [
            {"leverage_cap": 1.0 / held["imf"], "maintenance_to_initial_ratio": held["maintenance_fraction"]}
        ]
        for held in positions
    }
    rows = {place: (held["size"], held["oracle_price"]) for place, held in enumerate(positions)}
    cash = inputs["usdc_balance"] + sum(held["size"] * held["oracle_price"] for held in positions)
    tiers = tiers or {"X": [{"leverage_cap": 1.0, "maintenance_to_initial_ratio": 0.5}]}
    margin = {"rule": "tiered_margin", "markets": tiers}
    venue = venue_of(prices, [(cash, rows)], margin=margin)
    equity, requirement = assess(venue, 0, tiered_margin.maintenance)
    due, _ = strict_trigger.flag(venue, 0, equity, requirement, 1)
    return {"liquidatable": bool(due)}
