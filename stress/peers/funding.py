"""Vectors of funding: rates, indices, payments, borrowing."""

from __future__ import annotations

from stress.kernels.ledger import counterparty_row, settle_funding
from stress.kernels.venue import MARKET_MAKERS
from stress.mechanisms import (
    adaptive_funding,
    fair_price_mark,
    premium_clamp_funding,
    twap_spread_funding,
    velocity_funding,
)
from stress.peers.agreement import adapter
from stress.peers.standing import venue_of

DAY = 86_400.0
YEAR = 365.0 * DAY


# --------------------------------------------------------------------------------- Hyperliquid


@adapter("hyperliquid", "funding_rate")
def hyperliquid_funding_rate(inputs):
    """Premium from impact prices, and the rates that follow."""
    premium = premium_clamp_funding.impact_premium(inputs["impact_bid"], inputs["impact_ask"], inputs["oracle_price"])
    rate = premium_clamp_funding.pulled_rate(premium, inputs["interest_8h"], 0.0005)
    hourly = premium_clamp_funding.interval_rate(rate, 3600.0, 28_800.0, 0.04)
    return {"premium": float(premium), "rate_8h": float(rate), "rate_1h": float(hourly)}


@adapter("hyperliquid", "funding_payment")
def hyperliquid_funding_payment(inputs):
    """What a position pays for an hour."""
    venue = venue_of({"X": inputs["oracle_price"]}, [(0.0, {0: (inputs["size"], inputs["oracle_price"])})])
    venue.markets[0]["funding_index"] += inputs["rate_1h"] * venue.markets[0]["oracle"]
    settle_funding(venue, 0)
    return {"payment_by_long": float(-venue.accounts[0]["cash"])}


# ---------------------------------------------------------------------------------------- dYdX


@adapter("dydx_v4", "funding_clamp")
def dydx_funding_clamp(inputs):
    """Largest rate of eight hours; fractions of the venue are whole millionths."""
    most = premium_clamp_funding.margin_clamp(inputs["clamp_factor"], inputs["imf"], inputs["maintenance_fraction"])
    return {"max_abs_8h_rate": _whole(most, 1e-6)}


@adapter("dydx_v4", "funding_index_delta")
def dydx_funding_index_delta(inputs):
    """Change of the index, in millionths of quote quanta per base quantum, whole."""
    rate = premium_clamp_funding.interval_rate(inputs["rate_8h"], inputs["dt_seconds"], 28_800.0, 1e300)
    per_base = rate * inputs["price"]
    return {"index_delta_native": int(_whole(per_base * 1e6 * 1e6 * 10.0 ** inputs["base_atomic_resolution"], 1.0))}


@adapter("dydx_v4", "funding_settlement")
def dydx_funding_settlement(inputs):
    """What a position receives for the move of the index, in millionths of quote quanta."""
    size = float(inputs["base_quantums"])
    venue = venue_of({"X": 1.0}, [(0.0, {0: (size, 1.0)})])
    venue.rows[0]["settled_index"] = inputs["funding_index_position"]
    venue.markets[0]["funding_index"] = inputs["funding_index_now"]
    settle_funding(venue, 0)
    return {"net_settlement_ppm": int(venue.accounts[0]["cash"])}


@adapter("dydx_v4", "premium_tail_removal")
def dydx_tail_removal(inputs):
    """Samples that count, in order; where nothing is removed the venue leaves them as they came."""
    samples = list(inputs["samples"])
    lowest, highest = premium_clamp_funding.samples_removed(len(samples), inputs["removal_rate"])
    return {"kept": sorted(samples)[lowest : len(samples) - highest] if highest else samples}


def _whole(value, unit):
    """Return a value in whole units, towards zero."""
    return int(value / unit + (1e-6 if value >= 0 else -1e-6)) * unit


# --------------------------------------------------------------------------------------- Drift


@adapter("drift_v2", "funding_max_spread")
def drift_max_spread(inputs):
    """Largest spread that counts."""
    return {"max_spread": float(twap_spread_funding.largest_spread(inputs["oracle_twap"], inputs["divisor"]))}


@adapter("drift_v2", "funding_rate")
def drift_funding_rate(inputs):
    """Payment per base unit for a period."""
    rate = twap_spread_funding.spread_rate(
        inputs["mark_twap"],
        inputs["oracle_twap"],
        inputs["clamp_divisor"],
        inputs.get("offset_divisor") or float("inf"),
        inputs["period_seconds"] / DAY,
    )
    return {"rate_per_base": float(rate)}


@adapter("drift_v2", "funding_long_short_capped")
def drift_capped_rates(inputs):
    """Rates of both sides where the market maker pays at most a third of its fees."""
    for_long, for_short, received = twap_spread_funding.capped_rates(
        inputs["rate_per_base"], inputs["base_long"], -inputs["base_short"], inputs["fee_pool"] / 3.0
    )
    return {
        "rate_long": float(for_long),
        "rate_short": float(for_short),
        "total_fee_minus_distributions": float(inputs["total_fee_minus_distributions"] + received),
    }


@adapter("drift_v2", "last_funding_basis")
def drift_last_funding_basis(inputs):
    """Distance from the oracle price that the last rate implies, fading over the period."""
    basis = fair_price_mark.implied_basis(
        inputs["oracle_price"],
        inputs["last_funding_rate_per_base"],
        inputs["last_funding_oracle_twap"],
        1.0 / 5000.0,
        inputs["funding_period"] / DAY,
        inputs["seconds_since_funding"] / inputs["funding_period"],
    )
    return {"basis": float(basis)}


# ----------------------------------------------------------------------------------------- GMX


@adapter("gmx_v2", "adaptive_funding")
def gmx_adaptive_funding(inputs):
    """Saved rate after some time, and who pays."""
    rate = adaptive_funding.next_rate(
        inputs["saved_factor_per_second"],
        inputs["long_oi"],
        inputs["short_oi"],
        inputs["dt_seconds"],
        inputs["increase_factor"],
        inputs["decrease_factor"],
        inputs["threshold_stable"],
        inputs["threshold_decrease"],
        inputs["max_factor"],
        inputs.get("exponent", 1.0),
    )
    return {"next_saved_factor_per_second": float(rate), "longs_pay_shorts": bool(rate > 0.0)}


@adapter("gmx_v2", "usage_factor")
def gmx_usage(inputs):
    """Use of the pool."""
    used = adaptive_funding.usage(inputs["reserved_usd"], inputs["pool_usd"], inputs["open_interest_reserve_factor"])
    return {"usage_factor": float(used)}


@adapter("gmx_v2", "borrowing_fee")
def gmx_borrowing_fee(inputs):
    """What a position pays for the pool that it reserves."""
    rate = adaptive_funding.power_rate(
        inputs["reserved_usd"], inputs["pool_usd"], inputs["borrowing_factor"], inputs["exponent"]
    )
    return {"fee_usd": float(rate * inputs["dt_seconds"] * inputs["size_usd"])}


# ----------------------------------------------------------------------------------- Synthetix


@adapter("synthetix_perps_v3", "funding_velocity")
def synthetix_velocity(inputs):
    """What one trader has paid (-) or received after each step; the skew changes at the end of a step."""
    rule = {
        "rule": "velocity_funding",
        "funding_skew_scale": inputs["skew_scale"],
        "velocity_max": inputs["max_funding_velocity"],
    }
    venue = venue_of({"X": inputs["price"]}, [(0.0, {0: (inputs["trader_size"], inputs["price"])})], funding=rule)
    other_side = venue.rows[counterparty_row(venue, MARKET_MAKERS, 0)]
    other_side["size"] = -inputs["initial_skew"]
    results = []
    for place, step in enumerate(inputs["steps"], start=1):
        velocity_funding.accrue(venue._replace(step_seconds=step["days"] * DAY), None, place, None)
        other_side["size"] -= step["skew_delta"]
        settle_funding(venue, 0)
        results.append(float(venue.accounts[0]["cash"]))
    return {"accrued_funding": results}
