"""Vectors of collateral: weights, discounts, what may be borrowed against a holding."""

from __future__ import annotations

from stress.kernels.margin import assess
from stress.mechanisms import collateral_skew_discount, collateral_takeover, collateral_weights, strict_trigger
from stress.peers.agreement import adapter
from stress.peers.margin import MARGIN_STEP
from stress.peers.standing import venue_of

# ----------------------------------------------------------------------------------- Synthetix


@adapter("synthetix_perps_v3", "collateral_haircut")
def synthetix_haircut(inputs):
    """Value of some holdings, and what of it counts."""
    undiscounted = discounted = 0.0
    for held in inputs["collaterals"]:
        asset = {
            "collateral_skew_scale": held["skew_scale"],
            "discount_scalar": held["discount_scalar"],
            "lowest_discount": held["lower"],
            "highest_discount": held["upper"],
        }
        venue = venue_of(
            {"C": held["price"]}, [], collateral=[{"rule": "collateral_skew_discount", "markets": {"C": asset}}]
        )
        value = held["amount"] * held["price"]
        undiscounted += value
        discounted += value - float(collateral_skew_discount.haircut(venue, 0, held["amount"], held["price"]))
    return {"undiscounted": undiscounted, "discounted": discounted}


# --------------------------------------------------------------------------------------- Drift


def _drift_venue(weight=1.0, liability_weight=1.0, size_discount=0.0, scale_start=None, price=1.0):
    """Return a venue with one asset; vectors also state weights that no protocol file may."""
    asset = {
        "initial_weight": 0.0,
        "maintenance_weight": 0.0,
        "size_discount": size_discount,
        "scale_start": scale_start,
    }
    rule = {"rule": "collateral_weights", "weight_step": MARGIN_STEP, "markets": {"C": asset}}
    venue = venue_of({"C": price}, [], collateral=[rule])
    terms = venue.terms[0]
    terms["initial_weight"] = terms["maintenance_weight"] = weight
    terms["initial_liability_weight"] = terms["maintenance_liability_weight"] = liability_weight
    return venue


@adapter("drift_v2", "spot_asset_weight")
def drift_asset_weight(inputs):
    """Weight of a holding: what of a unit of its value counts."""
    venue = _drift_venue(inputs["asset_weight"], size_discount=inputs["imf_factor"])
    size = inputs["size"]
    return {"weight": 1.0 - float(collateral_weights.maintenance(venue, 0, size, 1.0)) / size}


@adapter("drift_v2", "spot_liability_weight")
def drift_liability_weight(inputs):
    """Weight of a borrowed asset."""
    venue = _drift_venue(liability_weight=inputs["liability_weight"], size_discount=inputs["imf_factor"])
    size = inputs["size"]
    return {"weight": 1.0 + float(collateral_weights.maintenance(venue, 0, -size, 1.0)) / size}


@adapter("drift_v2", "scaled_initial_asset_weight")
def drift_scaled_weight(inputs):
    """Weight to open of a small holding, at some deposits of all users."""
    venue = _drift_venue(inputs["initial_asset_weight"], scale_start=inputs["scale_start_usd"])
    venue.markets[0]["open_interest"] = inputs["deposits"] * inputs["oracle_price"]
    return {"weight": float(collateral_weights.scaled_weight(venue, 0))}


COMPONENT_STEP = 1e-5  # Drift's weight of the asset in units of the liability


def _component(inputs):
    return collateral_takeover.component(
        inputs["asset_weight"], inputs["asset_liq_multiplier"], inputs["liability_liq_multiplier"], COMPONENT_STEP
    )


@adapter("drift_v2", "spot_liability_to_cover_shortage")
def drift_liability_to_cover(inputs):
    """Units of the liability whose repayment cures a shortage."""
    needed = collateral_takeover.liability_to_cover(
        inputs["margin_shortage"],
        inputs["liability_weight"],
        _component(inputs),
        inputs["if_fee"],
        inputs["liability_price"],
    )
    return {"liability": float(needed)}


@adapter("drift_v2", "spot_if_fee")
def drift_fund_fee(inputs):
    """Fee to the fund, of the liability repaid."""
    fee = collateral_takeover.fund_fee(
        inputs["margin_shortage"],
        inputs["token_amount"] * inputs["liability_price"],
        inputs["liability_weight"],
        _component(inputs),
        inputs["max_if_fee"],
    )
    return {"if_fee": float(fee)}


@adapter("drift_v2", "spot_asset_for_liability")
def drift_asset_for_liability(inputs):
    """Units of the asset taken for a transfer of the liability."""
    taken = collateral_takeover.asset_for_liability(
        inputs["asset_amount"],
        inputs["liability_transfer"],
        inputs["liability_price"],
        inputs["asset_price"],
        inputs["asset_liq_multiplier"],
        inputs["liability_liq_multiplier"],
        1.0,
    )
    return {"asset": float(taken)}


@adapter("drift_v2", "spot_liability_implied_by_asset")
def drift_liability_for_asset(inputs):
    """Units of the liability that a transfer of the asset implies."""
    implied = collateral_takeover.liability_for_asset(
        inputs["asset_amount"],
        inputs["asset_price"],
        inputs["liability_price"],
        inputs["asset_liq_multiplier"],
        inputs["liability_liq_multiplier"],
    )
    return {"liability": float(implied)}


@adapter("drift_v2", "swap_worst_price")
def drift_swap_worst_price(inputs):
    """Whether a swap takes no more of the asset than its liability may."""
    most = collateral_takeover.asset_for_liability(
        0.0,
        inputs["liability_transfer"],
        inputs["liability_price"],
        inputs["asset_price"],
        inputs["asset_liq_multiplier"],
        inputs["liability_liq_multiplier"],
        0.0,
    )
    return {"ok": bool(inputs["asset_transfer"] <= most)}


# --------------------------------------------------------------------------------- Hyperliquid


@adapter("hyperliquid", "borrow_rate")
def borrow_rate(inputs):
    """Interest per year at a utilisation."""
    asset = {"initial_weight": 0.5, "maintenance_weight": 0.75}
    rule = {
        "rule": "collateral_weights",
        "borrow_base_rate": 0.05,
        "borrow_slope": 4.75,
        "borrow_kink": 0.8,
        "markets": {"C": asset},
    }
    venue = venue_of({"X": 1.0, "C": 1.0}, [], collateral=[rule])
    return {"apy": float(collateral_weights.borrow_rate(venue, inputs["utilization"]))}


def _loan_venue(assets, borrowed=0.0):
    """Return a venue with one account that holds `assets` (balance, price, LTV) and owes `borrowed` USD."""
    weights = {
        f"C{place}": {
            "initial_weight": ltv,
            "maintenance_weight": 0.5 + 0.5 * ltv,
            "sale_share": 0.2,
            "whole_sale_weight": ltv + (1.0 - ltv) * 2.0 / 3.0,
        }
        for place, (_, _, ltv) in enumerate(assets)
    }
    holdings = {place: (balance, 0.0) for place, (balance, _, _) in enumerate(assets)}
    prices = {f"C{place}": price for place, (_, price, _) in enumerate(assets)}
    return venue_of(prices, [(-borrowed, holdings)], collateral=[{"rule": "collateral_weights", "markets": weights}])


def _credit(venue, place, size, price):
    return size * price - float(collateral_weights.initial(venue, place, size, price))


@adapter("hyperliquid", "pm_borrowable")
def borrowable(inputs):
    """What may be borrowed against a balance."""
    venue = _loan_venue([(inputs["balance"], inputs["price"], inputs["ltv"])])
    return {"borrowable": _credit(venue, 0, inputs["balance"], inputs["price"])}


@adapter("hyperliquid", "pm_min_collateral")
def smallest_balance(inputs):
    """Balance against which a sum may just be borrowed; credit is linear in it."""
    venue = _loan_venue([(1.0, inputs["price"], inputs["ltv"])])
    return {"min_balance": inputs["borrowed"] / _credit(venue, 0, 1.0, inputs["price"])}


@adapter("hyperliquid", "pm_health_factor")
def health_factor(inputs):
    """Weighted holdings over debt."""
    assets = [(held["balance"], held["price"], held["ltv"]) for held in inputs["assets"]]
    venue = _loan_venue(assets)
    weighted = sum(_credit(venue, place, held[0], held[1]) for place, held in enumerate(assets))
    return {"weighted": weighted, "health_factor": weighted / inputs["borrowed"]}


@adapter("hyperliquid", "pm_borrow_liquidation")
def borrow_liquidation(inputs):
    """Whether a borrowing account is due, and whether its holding is sold in part or whole."""
    size, price = inputs["size"], inputs["price"]
    venue = _loan_venue([(size, price, inputs["ltv"])], inputs["borrowed"])
    equity, requirement = assess(venue, 0, collateral_weights.maintenance)
    due, _ = strict_trigger.flag(venue, 0, equity, requirement, 1)
    sold = collateral_weights.sale(venue, 0, 0, equity, requirement, 1)
    state = "healthy" if not due else "full" if sold == size else "partial"
    return {"full_threshold": float(venue.terms[0]["whole_sale_weight"] * size * price), "state": state}
