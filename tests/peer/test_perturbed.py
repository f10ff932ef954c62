"""Cases that no vector has: other markets, signs, sizes and orders, against the venues' arithmetic in fractions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stress.peers.agreement import Vector, differences, hold, read_vectors
from tests.peer.exact import ANSWERS

pytestmark = pytest.mark.interpreted

VECTORS = [v for v in read_vectors(Path(__file__).parent) if (v.protocol, v.mechanism) in ANSWERS]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.id)
def test_the_arithmetic_is_the_venues(vector):
    given_by = ANSWERS[vector.protocol, vector.mechanism](vector.inputs)
    assert list(differences(given_by, vector.expected, vector.relative)) == []


def agrees(protocol: str, mechanism: str, inputs: dict) -> None:
    """Hold the shelf's answer against that in fractions; a field that no venue has changes nothing."""
    expected = ANSWERS[protocol, mechanism](inputs)
    vector = Vector("drawn", json.dumps(inputs), protocol, mechanism, inputs | {"remark": "drawn"}, expected, 2e-6)
    assert hold(vector).differs == ()


def one_of(*values):
    return st.sampled_from(values)


# ------------------------------------------------------------------------------------------------------ dYdX


@st.composite
def subaccounts(draw, first=None, side=None):
    """Return (balance, positions) of one to three markets; equity lies around zero, maintenance or far above."""
    names = draw(st.permutations(["BTC", "ETH", "SOL"]))[: draw(st.integers(1, 3))]
    if first is not None:
        names = [first, *(name for name in names if name != first)]
    prices = {"BTC": 50_000, "ETH": 3_000.5, "SOL": 21.25}
    positions = [
        {
            "market": name,
            "size": draw(one_of(0.5, 1, 2, 3.25)) * (side if name == first and side else draw(one_of(-1, 1))),
            "oracle_price": prices[name],
            "imf": 0.2 if name == first else draw(one_of(0.05, 0.1, 0.2)),
            "maintenance_fraction": draw(one_of(0.5, 0.6)) if name != first else 0.5,
        }
        for name in names
    ]
    value = sum(held["size"] * held["oracle_price"] for held in positions)
    needed = sum(
        abs(held["size"]) * held["oracle_price"] * held["imf"] * held["maintenance_fraction"] for held in positions
    )
    return round(needed * draw(one_of(-1.1, -0.3, 0.0, 0.31, 0.99, 1.0, 1.01, 1.7, 5.0)) - value, 6), positions


@settings(max_examples=60)
@given(subaccounts(), st.data())
def test_dydx_prices_and_fund(account, data):
    balance, positions = account
    held = data.draw(st.sampled_from(positions))
    inputs = {"usdc_balance": balance, "positions": positions}
    agrees("dydx_v4", "is_liquidatable", inputs)
    close = {"market": held["market"], "delta": -held["size"] * data.draw(one_of(1, 0.5, -1, 2))}
    agrees("dydx_v4", "bankruptcy_price", inputs | {"close": close})
    terms = {
        "bankruptcy_adjustment": data.draw(one_of(1, 2)),
        "spread_to_maintenance_margin_ratio": data.draw(one_of(0.1, 1.5)),
    }
    agrees("dydx_v4", "fillable_price", inputs | {"close": close, "config": terms})
    price = round(held["oracle_price"] * data.draw(st.floats(0.8, 1.2)), 2)
    fill = {"market": held["market"], "size": abs(held["size"]), "is_buy": held["size"] < 0, "price": price}
    fee = {"max_liquidation_fee": data.draw(one_of(0.005, 0.015, 1))}
    agrees("dydx_v4", "insurance_fund_delta", inputs | {"fill": fill, "config": fee})


@settings(max_examples=120)
@given(st.data(), one_of(-1, 1), one_of("bankruptcy", "oracle"), one_of(1, 1, 1, 0.5, 2, -1))
def test_dydx_deleveraging(data, side, mode, share):
    closed, other = data.draw(subaccounts("BTC", side)), data.draw(subaccounts("BTC", -side))
    least = min(abs(account[1][0]["size"]) for account in (closed, other))
    sides = {
        name: {"usdc_balance": balance, "positions": positions}
        for name, (balance, positions) in {"liquidated": closed, "offsetting": other}.items()
    }
    # One tier for each market of the venue.
    tiers = {held["market"]: held for held in closed[1]}
    for held in other[1]:
        held |= {key: tiers.get(held["market"], held)[key] for key in ("imf", "maintenance_fraction")}
    agrees("dydx_v4", "deleverage", {"market": "BTC", "delta": -side * least * share, "price_mode": mode, **sides})


@given(
    one_of(-0.1, 0.1, 1.4e-6, 5e-8, 3.0),
    one_of(5e-8, 1e-4, 0.001),
    one_of(1e-6, 1000, 10_000),
    one_of(0.1, 0.5, 1),
    one_of(1e13, 2_500),
)
def test_dydx_sizes(size, step, least, portion, block):
    held = {"market": "BTC", "size": size, "oracle_price": 50_000, "imf": 0.2, "maintenance_fraction": 0.5}
    terms = {
        "min_position_notional_liquidated": least,
        "max_position_portion_liquidated": portion,
        "subaccount_max_notional_liquidated": block,
    }
    agrees("dydx_v4", "liquidation_size", {"position": held, "step_size": step, "config": terms})


@given(
    one_of(-0.7, 0.0013, 12.5, 300.0), one_of(0, 0.123, 5_555, 36_750), one_of(0.0, 0.01, 0.2, 1.0), one_of(0.2, 0.5, 1.0),
    one_of(0, 1_123.456789, 9e5), one_of(0, 1e6, 25e6),
)  # fmt: skip
def test_dydx_margin(size, price, imf, fraction, interest, low):
    inputs = {"size": size, "oracle_price": price, "imf": imf, "maintenance_fraction": fraction}
    agrees(
        "dydx_v4",
        "margin_requirements",
        inputs | {"open_interest": interest, "oi_lower_cap": low, "oi_upper_cap": 2 * low},
    )


# ----------------------------------------------------------------------------------------------------- Drift


@settings(max_examples=150)
@given(st.data(), one_of(-1, 1), one_of(1, 2, 20, 300, 10_000), one_of(100, 23.25), one_of(0, 0, 0.002))
def test_drift_liquidations(data, side, base, price, premium):
    profit = round(data.draw(st.floats(-0.3, 0.3)) * base * price, 6)
    deposit = round(0.05 * base * price * data.draw(one_of(-0.5, 0.2, 0.6, 0.9, 0.999, 1.05)) - profit, 6)
    bids, asks, orders = data.draw(one_of((0, 0, 0), (base / 2, 0, 1), (0, -1, 1), (0, base, 2), (base, -base, 2)))
    slots = sorted(data.draw(st.lists(one_of(0, 1, 26, 76, 101, 151), min_size=1, max_size=4)))
    user = {
        "base": side * base,
        "quote": round(profit - side * base * price, 6),
        "usdc_deposit": deposit,
        "open_bids": bids,
        "open_asks": asks,
        "open_orders": orders,
        "last_active_slot": 0,
    }
    market = {
        "oracle_price": price,
        "margin_ratio_maintenance": 0.05,
        "imf_factor": premium,
        "liquidator_fee": data.draw(one_of(0.01, 0.005)),
        "if_liquidation_fee": data.draw(one_of(0, 0.005, 0.01)),
        "step_size": 0.01,
    }
    state = {
        "liquidation_margin_buffer": data.draw(one_of(0.001, 0.02, 0.0255)),
        "initial_pct_to_liquidate": data.draw(one_of(0.1, 1)),
        "liquidation_duration_slots": 150,
    }
    steps = [{"slot": slot, "max_base": data.draw(one_of(base, 10 * base, base / 4))} for slot in slots]
    agrees("drift_v2", "liquidate_perp", {"user": user, "market": market, "state": state, "steps": steps})


@given(
    one_of(50, 100, 1000),
    one_of(0, 30, 1e6),
    one_of((0, 0), (1000, 0), (1000, 990)),
    one_of(0, 20, 1e5),
    st.permutations([5, -5, 2]),
)
def test_drift_bankruptcies(loss, vault, limit, pool, bases):
    inputs = {
        "loss": -loss,
        "insurance_vault": vault,
        "quote_max_insurance": limit[0],
        "quote_settled_insurance": limit[1],
        "fee_pool": pool,
        "base_long": 9,
        "base_short": -9,
        "affected": [{"base": base, "quote": -101.5 * base} for base in bases[:2]],
    }
    agrees("drift_v2", "resolve_perp_bankruptcy", inputs)


# ------------------------------------------------------------------------------------------------ the others


@given(
    one_of("long", "short"), one_of(3, 10, 25, 50), st.floats(0.01, 1e5), st.floats(1e-3, 1e3), st.floats(1.1, 1.0e2)
)
def test_hyperliquid_liquidation_prices(side, leverage, price, size, own):
    inputs = {
        "symbol": "X",
        "side": side,
        "price": price,
        "size": size,
        "margin": size * price / own,
        "max_leverage": leverage,
    }
    assume(own < leverage and ANSWERS["hyperliquid", "liquidation_price"](inputs)["liquidation_price"] > 0)
    agrees("hyperliquid", "liquidation_price", inputs)


@given(
    one_of(50_000, 100_000, 100_001, 3_000_000),
    one_of(0.0125, 0.05),
    one_of(1.5, 1.0, 0.99, 0.7, 0.66, 0.1, 0.0, -0.1),
    st.booleans(),
)
def test_hyperliquid_stages(notional, rate, own, cooling):
    inputs = {"position_notional": notional, "maintenance_margin": notional * rate, "in_cooldown": cooling}
    agrees("hyperliquid", "liquidation_stage", inputs | {"account_value": own * notional * rate})


@given(
    st.booleans(), one_of(0.1, 0.25, 1, 10), one_of(4_000, 4_050, 5_000, 6_000), one_of(0, -500, 100), one_of(0, 120.5), one_of(0, 0.005, 0.01)
)  # fmt: skip
def test_gmx_liquidatable(long, collateral, price, impact, fees, factor):
    position = {"is_long": long, "size_usd": 200_000, "size_tokens": 40, "index_price": price}
    inputs = position | {"collateral_amount": collateral, "collateral_price": 4_000, "min_collateral_factor": factor}
    agrees(
        "gmx_v2", "is_liquidatable", inputs | {"min_collateral_usd": 1, "price_impact_usd": impact, "fees_usd": fees}
    )


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.permutations(range(2, 8)), one_of(5, 20, 55, 500))
def test_bitmex_allocations(sizes, scores, liquidated):
    accounts = [{"id": i, "size": size, "score": scores[i]} for i, size in enumerate(sizes)]
    agrees("various", "bitmex_adl_allocation", {"liquidated_size": liquidated, "accounts": accounts})


def test_a_mechanism_that_nobody_answers_is_named():
    answer = hold(Vector("f", "x", "dydx_v4", "teleportation", {}, {"arrived": True}, None))
    assert answer.differs == ("no adapter answers teleportation of dydx_v4",)
