"""Vectors of margin requirements: rates, tiers, scaling by open interest, size and skew."""

from __future__ import annotations

from stress.mechanisms import initial_floor, open_interest_margin, size_premium_margin, tiered_margin
from stress.peers.agreement import adapter
from stress.peers.standing import strictly, venue_of, whole_quanta


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


@adapter("hyperliquid", "transfer_margin")
def transfer_margin(inputs):
    """What must stand behind the positions after a transfer."""
    venue = venue_of({"X": 1.0}, [], margin_modifiers=[{"rule": "initial_floor", "initial_floor_share": 0.1}])
    needed = initial_floor.initial(venue, 0, inputs["total_position_value"], 1.0, inputs["initial_margin_required"])
    return {"transfer_margin_required": float(needed)}


# ---------------------------------------------------------------------------------------- dYdX


def _dydx_venue(imf, maintenance_fraction=0.5, interest=0.0, lower=0.0, upper=0.0):
    """Return a venue with dYdX's rates of a tier; vectors also state rates that no protocol file may (0, 100 %)."""
    rates = {"leverage_cap": 1.0, "maintenance_to_initial_ratio": 0.5}
    rule = {"rule": "open_interest_margin", "fraction_step": 1e-6, "markets": {"X": rates}}
    venue = venue_of({"X": 1.0}, [], margin=rule)
    terms = venue.terms[0]
    terms["initial_fraction"], terms["maintenance_fraction"] = imf, imf * maintenance_fraction
    terms["open_interest_lower"], terms["open_interest_upper"] = lower, upper
    venue.markets[0]["open_interest"] = interest
    return venue


@adapter("dydx_v4", "maintenance_margin_fraction")
def dydx_maintenance_fraction(inputs):
    """Maintenance as a fraction of notional."""
    venue = _dydx_venue(inputs["imf"], inputs["maintenance_fraction"])
    return {"mmf": float(open_interest_margin.maintenance(venue, 0, 1.0, 1.0))}


def _dydx_initial(inputs, interest, notional):
    venue = _dydx_venue(inputs["imf"], 0.5, interest, inputs["oi_lower_cap"], inputs["oi_upper_cap"])
    return float(open_interest_margin.initial(venue, 0, notional, 1.0))


@adapter("dydx_v4", "oimf")
def dydx_scaled_fraction(inputs):
    """Initial margin fraction at an open interest."""
    return {"effective_imf": _dydx_initial(inputs, inputs["open_interest_notional"], 1.0)}


@adapter("dydx_v4", "initial_margin_oimf")
def dydx_scaled_initial_margin(inputs):
    """Initial margin at an open interest."""
    return {"initial_margin": _dydx_initial(inputs, inputs["open_interest_notional"], inputs["notional"])}


@adapter("dydx_v4", "margin_requirements")
def dydx_margin_requirements(inputs):
    """Initial and maintenance requirement of one position; open interest is in base units."""
    price = inputs["oracle_price"]
    venue = _dydx_venue(
        inputs["imf"],
        inputs["maintenance_fraction"],
        inputs["open_interest"] * price,
        inputs["oi_lower_cap"],
        inputs["oi_upper_cap"],
    )
    notional = whole_quanta(abs(inputs["size"]) * price)
    return {
        "initial_margin": whole_quanta(open_interest_margin.initial(venue, 0, notional, 1.0), up=True),
        "maintenance_margin": whole_quanta(open_interest_margin.maintenance(venue, 0, notional, 1.0), up=True),
    }


# --------------------------------------------------------------------------------------- Drift

MARGIN_STEP = 1e-4  # Drift's ratios and weights are integers of this


def drift_margin(maintenance, initial=None, size_premium=0.0, mode_initial=0.0, mode_maintenance=0.0):
    """Return the margin part of a protocol with Drift's ratios of one market X."""
    initial = 2.0 * maintenance if initial is None else initial
    rates = {"leverage_cap": 1.0 / initial, "maintenance_to_initial_ratio": strictly(maintenance / initial, 0.0, 1.0)}
    if mode_initial:
        ratio = strictly(mode_maintenance / mode_initial, 0.0, 1.0)
        rates |= {"high_leverage_cap": 1.0 / mode_initial, "high_leverage_ratio": ratio}
    rates["size_premium"] = size_premium
    return {"rule": "size_premium_margin", "fraction_step": MARGIN_STEP, "markets": {"X": rates}}


@adapter("drift_v2", "perp_margin_ratio")
def drift_margin_ratio(inputs):
    """Margin ratio of a size, to open, to fill (weights midway) or to keep."""
    size, mode = inputs["size"], inputs.get("high_leverage", False)
    venue = venue_of(
        {"X": 1.0},
        [],
        margin=drift_margin(
            inputs["margin_ratio_maintenance"],
            inputs["margin_ratio_initial"],
            inputs["imf_factor"],
            inputs["hlm_initial"] if mode else 0.0,
            inputs["hlm_maintenance"] if mode else 0.0,
        ),
    )
    rules = {
        "maintenance": size_premium_margin.maintenance,
        "initial": size_premium_margin.initial,
        "fill": size_premium_margin.fill,
    }
    return {"margin_ratio": float(rules[inputs["margin_type"]](venue, 0, size, 1.0) / abs(size))}


@adapter("drift_v2", "perp_margin_requirement")
def drift_margin_requirement(inputs):
    """Maintenance of a position and its open orders; asks are stated with either sign."""
    bids, asks = inputs.get("open_bids", 0.0), abs(inputs.get("open_asks", 0.0))
    price, orders = inputs["oracle_price"], inputs.get("open_orders", 0)
    venue = venue_of(
        {"X": 1.0}, [], margin=drift_margin(inputs["margin_ratio_maintenance"], None, inputs["imf_factor"])
    )
    needed, _ = size_premium_margin.with_orders(venue, 0, inputs["base"], price, bids, asks, orders)
    return {"margin_requirement": float(needed)}
