"""Vectors of margin requirements: rates, tiers, scaling by open interest, size and skew."""

from __future__ import annotations

from stress.mechanisms import tiered_margin
from stress.peers.agreement import adapter
from stress.peers.standing import venue_of


def _tiers(caps):
    """Return tiers as Hyperliquid states them: maintenance is half of initial margin at the highest leverage."""
    return [{"above": above, "leverage_cap": cap, "maintenance_to_initial_ratio": 0.5} for above, cap in caps]


def _tiered_maintenance(caps, notional):
    venue = venue_of({"X": 1.0}, [], margin={"rule": "tiered_margin", "markets": {"X": _tiers(caps)}})
    return float(tiered_margin.maintenance(venue, 0, notional, 1.0))


@adapter("hyperliquid", "maintenance_rate")
def maintenance_rate(inputs):
    """Maintenance as a fraction of notional for one highest leverage."""
    return {"maintenance_margin_rate": _tiered_maintenance([(0, inputs["max_leverage"])], 1.0)}


@adapter("hyperliquid", "tiered_maintenance_margin")
def tiered_maintenance_margin(inputs):
    """Maintenance of a notional under the tiers of a market."""
    caps = [(tier["lower_bound"], tier["max_leverage"]) for tier in inputs["tiers"]]
    return {"maintenance_margin": _tiered_maintenance(caps, inputs["notional"])}
