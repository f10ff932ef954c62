"""Vectors of size rules: how much of a position one liquidation closes."""

from __future__ import annotations

from stress.kernels.jit import kernel
from stress.kernels.margin import assess
from stress.mechanisms import (
    cover_to_buffer,
    flat_margin,
    portion_with_caps,
    rolling_window,
    share_multiples,
)
from stress.peers.agreement import adapter
from stress.peers.standing import strictly, venue_of


@kernel
def _no_fee(v, r, filled, price, bankruptcy):
    return 0.0, 0


# ---------------------------------------------------------------------------------------- dYdX


def _dydx_venue(position, config, size_step=0.0):
    limit = config.get("subaccount_max_notional_liquidated", 1e300)
    return venue_of(
        {"X": position["oracle_price"]},
        [(0.0, {0: (position["size"], position["oracle_price"])})],
        size={
            "rule": "portion_with_caps",
            "minimum_notional": strictly(config["min_position_notional_liquidated"]),
            "portion": strictly(config["max_position_portion_liquidated"]),
            "account_block_limit": strictly(limit),
            "size_step": size_step,
        },
    )


@adapter("dydx_v4", "liquidation_size")
def dydx_liquidation_size(inputs):
    """Signed change of the position by one order."""
    position = inputs["position"]
    venue = _dydx_venue(position, inputs["config"], inputs["step_size"])
    closed = portion_with_caps.quantity(venue, 0, 0, 0.0, 0.0, 0.0, 1, None, _no_fee)
    return {"size_delta": float(-closed if position["size"] > 0 else closed)}


@adapter("dydx_v4", "position_block_limits")
def dydx_position_block_limits(inputs):
    """Least and most notional of one order."""
    position = inputs["position"]
    venue = _dydx_venue(position, inputs["config"])
    least, most = portion_with_caps.order_limits(venue, 0, abs(position["size"]) * position["oracle_price"])
    return {"min_notional": float(least), "max_notional": float(most)}


# --------------------------------------------------------------------------------------- Drift


@adapter("drift_v2", "base_to_cover_shortage")
def drift_base_to_cover(inputs):
    """Base units that cure a shortage."""
    base = cover_to_buffer.base_to_cover(
        inputs["margin_shortage"],
        inputs["margin_ratio"],
        inputs["liquidator_fee"],
        inputs["if_fee"],
        inputs["oracle_price"],
        inputs["quote_price"],
    )
    return {"base": float(base)}


@adapter("drift_v2", "max_pct_to_liquidate")
def drift_share_now(inputs):
    """Share of the shortage that may be cured after some slots."""
    share = cover_to_buffer.share_now(
        inputs["margin_shortage"],
        inputs["margin_freed"],
        inputs["slots_elapsed"],
        inputs["liquidation_duration_slots"],
        inputs["initial_pct"],
        50.0,
    )
    return {"pct": float(share)}


# ----------------------------------------------------------------------------------- Synthetix


@adapter("synthetix_perps_v3", "liquidation_window")
def synthetix_window(inputs):
    """What is left of an account after each call; an arbitrageur may hold the other side."""
    names = sorted({*inputs["initial"], *(call["account"] for call in inputs["calls"])})
    sizes = [float(inputs["initial"].get(name, 0.0)) for name in names]
    accounts = [(0.0, {0: (size, 1.0)} if size else {}) for size in sizes]
    accounts.append((0.0, {0: (-1e-12, 1.0)}))  # the arbitrageur, whose size each call states
    other = sum(1 for size in sizes if size)
    venue = venue_of(
        {"X": 1.0},
        accounts,
        size={
            "rule": "rolling_window",
            "maker_fee": inputs["maker_fee"],
            "taker_fee": inputs["taker_fee"],
            "skew_scale_of_window": inputs["skew_scale"],
            "window_multiplier": inputs["multiplier"],
            "window": f"{inputs['window_seconds']}s",
        },
    )
    remaining = []
    for place, call in enumerate(inputs["calls"]):
        active = place >= inputs.get("max_pd_active_from_call", 0)
        venue.terms[0]["calm_skew"] = inputs.get("max_pd", 0.0) if active else 0.0
        venue.rows[other]["size"] = call.get("other_skew", -1e-12)
        a = names.index(call["account"])
        r = venue.accounts[a]["row_start"]
        size = venue.rows[r]["size"]
        closed = rolling_window.quantity(venue, a, r, 0.0, 0.0, 0.0, call["t"], None, _no_fee)
        venue.rows[r]["size"] = size - closed if size > 0 else size + closed
        if closed > 0.0:
            rolling_window.on_fill(venue, a, r, closed, 1.0, call["t"])
        remaining.append(float(abs(venue.rows[r]["size"])))
    return {"remaining": remaining}


# ------------------------------------------------------------------------------------- Paradex


def _paradex_account(inputs):
    """Return (equity, requirement) of the account in a vector."""
    positions = inputs["positions"]
    names = [f"M{place}" for place in range(len(positions))]
    rates = {
        name: {"leverage_cap": 0.5 / held["mmf"], "maintenance_to_initial_ratio": 0.5}
        for name, held in zip(names, positions, strict=True)
    }
    venue = venue_of(
        {name: held["mark"] for name, held in zip(names, positions, strict=True)},
        [(inputs["collateral"], {m: (held["size"], held["entry"]) for m, held in enumerate(positions)})],
        margin={"rule": "flat_margin", "markets": rates},
    )
    return assess(venue, 0, flat_margin.maintenance)


@adapter("various", "paradex_liquidation_share")
def paradex_after_share(inputs):
    """The account after a share of everything was taken over."""
    equity, requirement = _paradex_account(inputs)
    needed, penalty, left = share_multiples.after_share(equity, requirement, inputs["share"], inputs["liquidation_fee"])
    return {
        "new_mmr": float(needed),
        "penalty": float(penalty),
        "new_account_value": float(left),
        "new_margin_ratio": float(needed / left),
    }


@adapter("various", "paradex_optimal_share")
def paradex_smallest_share(inputs):
    """Smallest multiple of the step that comes below the target ratio."""
    equity, requirement = _paradex_account(inputs)
    share = share_multiples.smallest_share(
        equity, requirement, inputs["step"], inputs["target_margin_ratio"], inputs["liquidation_fee"]
    )
    return {"share": float(share)}
