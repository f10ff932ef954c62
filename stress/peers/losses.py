"""Vectors of whole liquidations, deleveraging and the allocation of losses, through the stages that the engine composes."""

from __future__ import annotations

from typing import Any

from stress.kernels import deleveraging
from stress.kernels.margin import assess, bankruptcy_price
from stress.kernels.venue import INSURANCE_FUND, MARKET_MAKERS, OUTSIDE_BOOK, POOL
from stress.mechanisms import (
    adl_profit_leverage,
    adl_random,
    open_interest_margin,
    size_premium_margin,
    socialized_loss,
)
from stress.peers.agreement import Rejected, adapter
from stress.peers.margin import drift_margin
from stress.peers.prices import dydx_account
from stress.peers.standing import QUANTUM, round_of, venue_of, whole_quanta

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
    rules: dict[str, Any] = {"margin": margin, "waterfall": [layer]}
    venue = venue_of(dict(zip(names, prices, strict=True)), accounts, **rules)
    venue.accounts[venue.traders + MARKET_MAKERS]["cash"] = 0.0  # nobody beside the two
    m = names.index(market)
    r, w = (_row(venue, a, m) for a in (0, 1))
    before = [assess(venue, a, open_interest_margin.maintenance) for a in (0, 1)]
    bankruptcy = bankruptcy_price(venue, r, *before[0], open_interest_margin.maintenance)
    price = bankruptcy if inputs["price_mode"] == "bankruptcy" else venue.markets[m]["oracle"]
    margins = open_interest_margin.maintenance, open_interest_margin.initial
    if not all(adl_random.may_close(venue, row, abs(delta), price, *margins) for row in (r, w)):
        raise Rejected("ErrFailedToUpdateSubaccounts")
    # The engine deleverages who is below zero, all that both have in common; vectors also take other pairs, and less.
    common = set.intersection(*({p["market"] for p in side["positions"]} for side in sides)) == {market}
    bankrupt = before[0][0] < 0.0 < before[1][0] and inputs["price_mode"] == "bankruptcy"
    if bankrupt and common and abs(delta) == min(map(abs, sizes)):
        round_of(**rules).play(venue, 1, True)  # the book has no depth: the order finds no taker
    else:
        lost = deleveraging.close_claim(venue, r, abs(delta), price, bankruptcy, 0.0, 1)
        deleveraging.close_winner(venue, w, abs(delta), price, lost, open_interest_margin.maintenance)
    left = [assess(venue, a, open_interest_margin.maintenance)[0] - _worth(venue, a) for a in (0, 1)]
    return {"liquidated_usdc": float(left[0]), "offsetting_usdc": float(left[1])}


def _row(venue, a, m):
    rows = range(venue.accounts[a]["row_start"], venue.accounts[a]["row_end"])
    return next(r for r in rows if venue.rows[r]["market"] == m)


def _worth(venue, a):
    """Value of the contracts that an account still holds: the venue's balance is net of it."""
    rows = range(venue.accounts[a]["row_start"], venue.accounts[a]["row_end"])
    return sum(venue.rows[r]["size"] * venue.markets[venue.rows[r]["market"]]["mark"] for r in rows)


# --------------------------------------------------------------------------------------- Drift


@adapter("drift_v2", "liquidate_perp")
def drift_liquidate_perp(inputs):
    """A liquidation over several calls: orders are cancelled first, then contracts are taken over.

    What a call may take at most is the cap of an order; between calls it is none.
    """
    user, market, state = inputs["user"], inputs["market"], inputs["state"]
    price, buffer = market["oracle_price"], state["liquidation_margin_buffer"]
    fee, most = market["liquidator_fee"], market.get("if_liquidation_fee", 0.0)
    rules: dict[str, Any] = {
        "margin": drift_margin(market["margin_ratio_maintenance"], None, market.get("imf_factor", 0.0)),
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
    # One slot is one step of a second. What positions realised so far is in the vector's quote.
    venue = venue_of({"X": price}, [(user["usdc_deposit"], {0: (user["base"], price)})], **rules)
    parts, _, play = round_of(**rules)
    account, row, held = venue.accounts[0], venue.rows[0], venue.markets[0]
    row["entry_notional"] = row["carry"] = -user["quote"]
    bids, asks, orders = (abs(user.get(name, 0)) for name in ("open_bids", "open_asks", "open_orders"))
    asked, notional = size_premium_margin.with_orders(venue, 0, row["size"], price, bids, asks, orders)
    account["order_requirement"] = asked - parts.maintenance(venue, 0, row["size"], price)
    account["order_notional"] = notional - abs(row["size"]) * price

    results, slot = [], inputs["steps"][0]["slot"]
    for call in inputs["steps"]:
        held["order_cap"] = 0.0
        while slot < call["slot"]:  # nobody calls
            play(venue, slot, True)
            slot += 1
        held["order_cap"] = call["max_base"] * price
        play(venue, slot, True)
        value, needed = assess(venue, 0, parts.maintenance)
        being = account["in_liquidation"]
        missing = max(0.0, needed + buffer * abs(row["size"]) * price - value)
        freed = account["freed"] if being else 0.0
        liquidator = venue.rows[venue.accounts[venue.traders + OUTSIDE_BOOK]["row_start"]]
        results.append(
            {
                "user_base": float(row["size"]),
                "user_quote": float(row["realised"] - row["entry_notional"]),
                "liquidator_base": float(liquidator["size"]),
                "liquidator_quote": float(liquidator["realised"] - liquidator["entry_notional"]),
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
    sizes = [held["base"] for held in affected] + [base for base in others if base]
    owed = -inputs["loss"]
    # Everybody else is rich enough to be left alone.
    accounts = [(-owed, {0: (1.0, 1.0)})] + [(10.0 * (abs(base) + owed), {0: (base, 1.0)}) for base in sizes]
    rules: dict[str, Any] = {
        "execution": [{"rule": "oracle_pool", "pool_equity": inputs["fee_pool"]}],
        "waterfall": [
            {
                "rule": "insurance_fund",
                "insurance_fund": max(0.0, inputs["insurance_vault"] - QUANTUM),  # one quantum stays in the vault
                "fund_cap_per_market": max(0.0, inputs["quote_max_insurance"] - inputs["quote_settled_insurance"]),
            },
            {"rule": "pool_equity"},
            {"rule": "socialized_loss", "socialized_by": "contracts"},
        ],
    }
    venue = venue_of({"X": 1.0}, accounts, **rules)
    for row in (venue.rows[0], venue.rows[venue.accounts[venue.traders + POOL]["row_start"]]):
        row["size"] = row["entry_notional"] = row["carry"] = 0.0  # closed, and no market maker among those who share
    venue.rows[0]["attribution"] = 1.0
    cash = venue.accounts["cash"].copy()
    round_of(**rules).play(venue, 1, True)
    changed = venue.accounts["cash"] - cash
    per_base = whole_quanta(-changed[1] / abs(sizes[0]), up=True) if affected else 0.0  # the venue rounds it up
    return {
        "if_payment": float(-changed[venue.traders + INSURANCE_FUND]),
        "fee_pool_payment": float(-changed[venue.traders + POOL]),
        "social_loss": float(venue.out[0]["socialized_loss"]),
        "funding_delta_per_base": per_base,
        "affected_quote_after": [float(held["quote"] - abs(held["base"]) * per_base) for held in affected],
    }


@adapter("drift_v2", "socialized_loss_funding_delta")
def drift_funding_delta(inputs):
    """Loss per base unit of all contracts."""
    contracts = abs(inputs["base_long"]) + abs(inputs["base_short"])
    delta = float(socialized_loss.index_delta(-inputs["loss"], contracts))
    return {"cumulative_funding_delta_per_base": whole_quanta(delta, up=True)}  # the venue rounds it up


@adapter("drift_v2", "socialized_loss_deposit_interest")
def drift_deposit_delta(inputs):
    """Fall of the deposit index."""
    loss = inputs["borrow"] * inputs["cumulative_deposit_interest"]
    return {"index_delta": float(socialized_loss.index_delta(loss, inputs["deposits"]))}


# -------------------------------------------------------------------------------------- BitMEX


@adapter("various", "bitmex_adl_allocation")
def bitmex_allocation(inputs):
    """Contracts taken from each account, the highest score first; scores are leverages of positions at the mark."""
    held, size = inputs["accounts"], inputs["liquidated_size"]
    accounts = [(-1.0, {0: (-size, 1.0)})]
    accounts += [(account["size"] / account["score"], {0: (account["size"], 1.0)}) for account in held]
    rules: dict[str, Any] = {
        "waterfall": [{"rule": "adl_profit_leverage", "adl_price": "bankruptcy", "adl_when": "negative_equity"}],
    }
    venue = venue_of({"X": 1.0}, accounts, **rules)
    venue.accounts[venue.traders + MARKET_MAKERS]["cash"] = 0.0  # nobody beside the accounts of the vector
    round_of(**rules).play(venue, 1, True)
    closed = [account["size"] - float(venue.rows[1 + place]["size"]) for place, account in enumerate(held)]
    return {"fills": {str(account["id"]): taken for account, taken in zip(held, closed, strict=True) if taken > 0.0}}
