"""Vectors of whole liquidations, deleveraging and the allocation of losses, through the stages that the engine composes."""

from __future__ import annotations

from typing import Any

from stress.engine import liquidation
from stress.kernels import deleveraging
from stress.kernels.ledger import equity
from stress.kernels.margin import assess, bankruptcy_price
from stress.kernels.venue import INSURANCE_FUND, OUTSIDE_BOOK, POOL
from stress.mechanisms import (
    adl_profit_leverage,
    adl_random,
    buffered_trigger,
    insurance_fund,
    open_interest_margin,
    pool_equity,
    size_premium_margin,
    socialized_loss,
)
from stress.peers.agreement import Rejected, adapter
from stress.peers.prices import dydx_account
from stress.peers.standing import protocol_of, venue_of

# --------------------------------------------------------------------------------- Hyperliquid


@adapter("hyperliquid", "adl_index")
def hyperliquid_adl_index(inputs):
    """The literal index of the documents, which falls when a short gains."""
    size = inputs["notional"] / inputs["mark_price"]
    size = -size if inputs["side"] == "short" else size
    index = adl_profit_leverage.index_of(
        inputs["mark_price"], inputs["entry_price"], size, inputs["account_value"], literal=True
    )
    return {"index": float(index)}


# ---------------------------------------------------------------------------------------- dYdX


def _account(side):
    return dydx_account(side["usdc_balance"], side["positions"])


@adapter("dydx_v4", "deleverage")
def dydx_deleverage(inputs):
    """USDC of both sides after a close of one against the other."""
    market, delta = inputs["market"], inputs["delta"]
    sides = [inputs["liquidated"], inputs["offsetting"]]
    sizes = [next((p["size"] for p in side["positions"] if p["market"] == market), 0.0) for side in sides]
    closes = (delta, -delta)
    if any(size * close >= 0.0 or abs(close) > abs(size) for size, close in zip(sizes, closes, strict=True)):
        raise Rejected("ErrInvalidPerpetualPositionSizeDelta")
    positions = {p["market"]: p for side in sides for p in side["positions"]}
    names, prices, margin, _ = dydx_account(0.0, list(positions.values()))
    accounts = []
    for side in sides:
        own_names, _, _, (cash, rows) = _account(side)
        accounts.append((cash, {names.index(own_names[place]): row for place, row in rows.items()}))
    layer = {"rule": "adl_random", "adl_price": inputs["price_mode"], "adl_when": "negative_equity"}
    venue = venue_of(dict(zip(names, prices, strict=True)), accounts, margin=margin, waterfall=[layer])
    m = names.index(market)
    r, w = (
        next(
            r
            for r in range(venue.accounts[a]["row_start"], venue.accounts[a]["row_end"])
            if venue.rows[r]["market"] == m
        )
        for a in (0, 1)
    )
    values = [assess(venue, a, open_interest_margin.maintenance) for a in (0, 1)]
    bankruptcy = bankruptcy_price(venue, r, *values[0], open_interest_margin.maintenance)
    price = bankruptcy if inputs["price_mode"] == "bankruptcy" else venue.markets[m]["oracle"]
    long = 1.0 if sizes[0] > 0.0 else -1.0
    mark = venue.markets[m]["mark"]
    if not all(
        adl_random.overlaps(value, abs(delta), side, price, mark)
        for (value, _), side in zip(values, (-long, long), strict=True)
    ):
        raise Rejected("ErrFailedToUpdateSubaccounts")
    deleveraging.deleverage(venue, r, w, abs(delta), price, bankruptcy, 1)
    left = [equity(venue, a) - _worth(venue, a) for a in (0, 1)]
    return {"liquidated_usdc": float(left[0]), "offsetting_usdc": float(left[1])}


def _worth(venue, a):
    """Value of the contracts that an account still holds: the venue's balance is net of it."""
    rows = range(venue.accounts[a]["row_start"], venue.accounts[a]["row_end"])
    return sum(venue.rows[r]["size"] * venue.markets[venue.rows[r]["market"]]["mark"] for r in rows)


# --------------------------------------------------------------------------------------- Drift


@adapter("drift_v2", "liquidate_perp")
def drift_liquidate_perp(inputs):
    """A liquidation over several calls: orders are cancelled first, then contracts are taken over.

    The venue keeps realised profit in the position until it is settled, so each call's is moved back there.
    """
    user, market, state = inputs["user"], inputs["market"], inputs["state"]
    price, buffer = market["oracle_price"], state["liquidation_margin_buffer"]
    fee, most = market["liquidator_fee"], market["if_liquidation_fee"]
    ratio = market["margin_ratio_maintenance"]
    rules: dict[str, Any] = {
        "margin": {
            "rule": "size_premium_margin",
            "markets": {
                "X": {
                    "leverage_cap": 0.5 / ratio,
                    "maintenance_to_initial_ratio": 0.5,
                    "size_premium": market["imf_factor"],
                }
            },
        },
        "trigger": {"rule": "buffered_trigger", "exit_buffer": buffer},
        "size": {
            "rule": "cover_to_buffer",
            "margin_buffer": buffer,
            "expected_discount": fee,
            "size_step": market["step_size"],
            "whole_below": 50.0,
            "first_share": state["initial_pct_to_liquidate"],
            "throttle_duration": f"{state['liquidation_duration_slots']}s",
        },
        "execution": [{"rule": "liquidator_takeover", "takeover_fee": fee, "resale": "none"}],
        "fees": {
            "rule": "shortage_fee",
            "shortage_fee_max": most,
            "shortage_fee_discount": fee,
            "shortage_fee_buffer": buffer,
        },
        "waterfall": [{"rule": "insurance_fund", "insurance_fund": 0.0}],
        "breakers": [{"rule": "order_cap", "largest_order": 1.0}],
    }
    # One slot is one step of a second.
    venue = venue_of({"X": price}, [(user["usdc_deposit"], {0: (user["base"], price)})], **rules)
    chosen = [mechanism for mechanism, _ in protocol_of(**rules).rules()]
    parts, liquidate, _ = liquidation(chosen)
    account, row = venue.accounts[0], venue.rows[0]
    row["entry_notional"] = row["carry"] = -user["quote"]

    def shortage(size):
        held = row["size"]
        value, _ = assess(venue, 0, parts.maintenance)
        row["size"] = size
        asked = size_premium_margin.maintenance(venue, 0, size, price) + 0.01 * orders
        found = buffered_trigger.exit_shortage(venue, 0, value, asked)
        row["size"] = held
        return found, value, asked

    orders = user["open_orders"]
    exposed = max((user["base"] + user["open_bids"], user["base"] - user["open_asks"]), key=abs)
    results, freed = [], 0.0
    for call in inputs["steps"]:
        t = call["slot"]
        before, value, asked = shortage(exposed if orders else row["size"])
        if account["in_liquidation"] == 0 and value < asked:
            account["in_liquidation"] = 1
            account["cure_since"] = t
        if orders and account["in_liquidation"] == 1:
            orders = 0
            after = shortage(row["size"])[0]
            freed += before - max(after, 0.0)
            before = after
        account["cure_seen"], account["freed"] = t, freed
        venue.markets[0]["order_cap"] = call["max_base"] * price
        if liquidate(venue, 0, t):
            buffered_trigger.flag(venue, 0, *assess(venue, 0, parts.maintenance), t)
            realised = account["cash"] - user["usdc_deposit"]
            account["cash"] -= realised
            row["entry_notional"] -= realised
            row["carry"] = row["entry_notional"]
            freed += before - shortage(row["size"])[0]
        being = account["in_liquidation"] == 1
        if not being:
            freed = 0.0
        _, value, asked = shortage(row["size"])
        missing = max(0.0, asked - value + buffer * abs(row["size"]) * price)
        other = venue.rows[venue.accounts[venue.traders + OUTSIDE_BOOK]["row_start"]]
        results.append(
            {
                "user_base": float(row["size"]),
                "user_quote": float(-row["entry_notional"]),
                "liquidator_base": float(other["size"]),
                "liquidator_quote": float(-other["entry_notional"]),
                "if_fee_total": float(venue.accounts[venue.traders + INSURANCE_FUND]["cash"]),
                "margin_freed": float(freed),
                "pct_margin_freed": float(freed / (freed + missing)) if freed else 0.0,
                "being_liquidated": bool(being),
            }
        )
    return {"steps": results}


@adapter("drift_v2", "resolve_perp_bankruptcy")
def drift_resolve_bankruptcy(inputs):
    """A loss through its layers: insurance up to the market's limit, the market's fee pool, then every contract."""
    affected = inputs["affected"]
    others = [
        inputs["base_long"] - sum(max(held["base"], 0.0) for held in affected),
        inputs["base_short"] - sum(min(held["base"], 0.0) for held in affected),
    ]
    accounts = [(inputs["loss"], {0: (1.0, 1.0)})]
    accounts += [(0.0, {0: (held["base"], -held["quote"] / held["base"])}) for held in affected]
    accounts += [(0.0, {0: (base, 1.0)}) for base in others if base]
    venue = venue_of(
        {"X": 100.0},
        accounts,
        execution=[{"rule": "oracle_pool", "pool_equity": inputs["fee_pool"]}],
        waterfall=[
            {
                "rule": "insurance_fund",
                "insurance_fund": inputs["insurance_vault"],
                "fund_cap_per_market": inputs["quote_max_insurance"] - inputs["quote_settled_insurance"],
            },
            {"rule": "pool_equity"},
            {"rule": "socialized_loss", "socialized_by": "contracts"},
        ],
    )
    pool = venue.rows[venue.accounts[venue.traders + POOL]["row_start"]]
    pool["size"] = pool["entry_notional"] = pool["carry"] = 0.0  # the vector states all contracts that share
    venue.rows[0]["size"] = venue.rows[0]["entry_notional"] = venue.rows[0]["carry"] = 0.0  # its contracts are gone
    venue.rows[0]["attribution"] = 1.0
    venue.accounts[0]["suspect"], venue.venue[0]["suspects"] = 0, 1
    cash = venue.accounts["cash"].copy()
    for layer in (insurance_fund, pool_equity, socialized_loss):
        layer.absorb(venue, 1, None)
    changed = venue.accounts["cash"] - cash
    first = affected[0]
    return {
        "if_payment": float(-changed[venue.traders + INSURANCE_FUND]),
        "fee_pool_payment": float(-changed[venue.traders + POOL]),
        "social_loss": float(venue.out[0]["socialized_loss"]),
        "funding_delta_per_base": float(-changed[1] / abs(first["base"])),
        "affected_quote_after": [float(held["quote"] + changed[1 + place]) for place, held in enumerate(affected)],
    }


@adapter("drift_v2", "socialized_loss_funding_delta")
def drift_funding_delta(inputs):
    """Loss per base unit of all contracts."""
    contracts = abs(inputs["base_long"]) + abs(inputs["base_short"])
    return {"cumulative_funding_delta_per_base": float(socialized_loss.index_delta(-inputs["loss"], contracts))}


@adapter("drift_v2", "socialized_loss_deposit_interest")
def drift_deposit_delta(inputs):
    """Fall of the deposit index."""
    loss = inputs["borrow"] * inputs["cumulative_deposit_interest"]
    return {"index_delta": float(socialized_loss.index_delta(loss, inputs["deposits"]))}


# -------------------------------------------------------------------------------------- BitMEX


@adapter("various", "bitmex_adl_allocation")
def bitmex_allocation(inputs):
    """Contracts taken from each account, the highest score first; scores are leverages of positions at the mark."""
    held = inputs["accounts"]
    accounts = [(inputs["liquidated_size"] * 0.5, {0: (-inputs["liquidated_size"], 1.0)})]
    accounts += [(account["size"] / account["score"], {0: (account["size"], 1.0)}) for account in held]
    layer = {"rule": "adl_profit_leverage", "adl_price": "bankruptcy", "adl_when": "negative_equity"}
    venue = venue_of({"X": 1.0}, accounts, waterfall=[layer])
    rest, fills = inputs["liquidated_size"], {}
    while rest > 0:
        row, quantity = adl_profit_leverage.choose(venue, 0, -1.0, rest, 1.0, 1)
        if row < 0:
            break
        fills[str(held[row - 1]["id"])] = float(quantity)
        rest -= quantity
        venue.rows[row]["size"] -= quantity
    return {"fills": fills}
