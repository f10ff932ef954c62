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


# ----------------------------------------------------------------------------------- one formula, every mechanism


def inputs_of(**fields):
    """Return a strategy of a vector's inputs; what is no strategy is the only value."""
    strategies = {
        key: value if isinstance(value, st.SearchStrategy) else st.just(value) for key, value in fields.items()
    }
    return st.fixed_dictionaries(strategies)


def impacts(**own):
    return inputs_of(factor_positive=one_of(0, 5e-9, 2e-7), factor_negative=one_of(1e-8, 2e-7), **own)


OPEN_INTEREST = {"oi_lower_cap": 25_000_000, "oi_upper_cap": 50_000_000}
INTERESTS = one_of(0, 25_000_000, 25_000_001, 37_500_000.123456, 49_999_999, 50_000_000, 9e9)
DOLLARS = one_of(0, 0.5, 0.999999, 1, 1.000001, 50, 10_000, 3_000_000.25)
TIERS = (
    [{"lower_bound": 0, "max_leverage": 40}, {"lower_bound": 150_000_000, "max_leverage": 20}],
    [{"lower_bound": 0, "max_leverage": 3}],
    [{"lower_bound": 0, "max_leverage": 25}, {"lower_bound": 1_000, "max_leverage": 10}, {"lower_bound": 2_000, "max_leverage": 5}],
)  # fmt: skip
MARKET_OF_ACCOUNT = inputs_of(
    market=one_of("BTC", "ETH", "SOL"), size=one_of(-20, -1, 0.5, 7), open_price=one_of(900, 1_000), open_skew=one_of(0, -30, 12.5),
    skew_scale=one_of(100, 1_000), price=one_of(880.5, 1_000, 1_100), initial_margin_ratio=one_of(0, 2), min_initial_margin_ratio=one_of(0.01, 0.05),
    maintenance_scalar=0.5, minimum_position_margin=one_of(0, 50),
)  # fmt: skip
PARADEX = {
    "collateral": one_of(100, 600, 1_000, 5_000),
    "positions": st.lists(
        inputs_of(size=one_of(0.1, -1), entry=one_of(3_000, 6_000), mark=one_of(2_800, 3_400, 5_480), mmf=one_of(0.01, 0.025)),
        min_size=1, max_size=3,
    ),
    "liquidation_fee": one_of(0, 0.5, 0.7),
}  # fmt: skip

DRAWN = {
    ("dydx_v4", "maintenance_margin_fraction"): inputs_of(imf=one_of(0, 0.02, 0.333333, 1), maintenance_fraction=one_of(0, 0.6, 0.289284, 1)),
    ("dydx_v4", "oimf"): inputs_of(imf=one_of(0.02, 0.1, 0.333333, 1), open_interest_notional=INTERESTS, **OPEN_INTEREST),
    ("dydx_v4", "initial_margin_oimf"): inputs_of(
        imf=one_of(0.02, 0.1, 1), notional=one_of(0, 0.5, 1_000_000), open_interest_notional=INTERESTS, **OPEN_INTEREST
    ),
    ("dydx_v4", "insurance_fund_delta_valid"): inputs_of(balance=one_of(0, 100, 9_998), delta=one_of(-9_999, -9_998, -100, -1e-6, 0, 5)),
    ("dydx_v4", "position_block_limits"): inputs_of(
        position=inputs_of(market="BTC", size=one_of(-1, 0.00002, 3.3), oracle_price=50_000, imf=0.2, maintenance_fraction=0.5),
        config=inputs_of(
            min_position_notional_liquidated=one_of(0.0001, 1, 1_000, 50_000, 1e6), max_position_portion_liquidated=one_of(0.001, 0.1, 1)
        ),
    ),
    ("dydx_v4", "funding_clamp"): inputs_of(clamp_factor=one_of(0.5, 6, 60), imf=one_of(0.02, 0.15, 1), maintenance_fraction=one_of(0, 0.6, 1)),
    ("dydx_v4", "funding_index_delta"): inputs_of(
        price=one_of(0.00005, 1_000, 60_000.5), base_atomic_resolution=one_of(-5, -8, -12), rate_8h=one_of(-1.001999, 0, 0.000125, 0.048),
        dt_seconds=one_of(1, 3_600, 28_800),
    ),
    ("dydx_v4", "funding_settlement"): inputs_of(
        funding_index_now=one_of(-123_456, 0, 200, 4_000_000_000), funding_index_position=one_of(-100, 0, 200), base_quantums=one_of(-7, 0, 1, 1_000_000)
    ),
    ("dydx_v4", "premium_tail_removal"): inputs_of(
        removal_rate=one_of(0, 0.1, 0.25, 0.5), samples=st.lists(st.integers(-9, 9), max_size=9)
    ),
    ("drift_v2", "perp_margin_ratio"): inputs_of(
        size=one_of(-300_000, 0.1, 1, 10_000, 1_000_000, 30_000_000), margin_type=one_of("initial", "maintenance", "fill"), margin_ratio_initial=0.1,
        margin_ratio_maintenance=0.05, imf_factor=one_of(0, 5e-5, 0.001), high_leverage=st.booleans(), hlm_initial=0.02, hlm_maintenance=0.01,
    ),
    ("drift_v2", "perp_margin_requirement"): inputs_of(
        base=one_of(-10_000, 0.001, 7), open_bids=one_of(0, 1, 20_000), open_asks=one_of(0, -1, 20_000), open_orders=one_of(0, 1, 32),
        oracle_price=one_of(0.5, 100), margin_ratio_maintenance=0.05, imf_factor=one_of(0, 0.01),
    ),
    ("drift_v2", "base_to_cover_shortage"): inputs_of(
        margin_shortage=one_of(0, 0.01, 10, 5_000), margin_ratio=one_of(0.1, 0.07), liquidator_fee=one_of(0, 0.01, 0.07, 0.1), if_fee=one_of(0, 0.01),
        oracle_price=one_of(100, 23.25), quote_price=1,
    ),
    ("drift_v2", "max_pct_to_liquidate"): inputs_of(
        margin_shortage=one_of(49.999999, 50, 1_000), margin_freed=one_of(0, 300, 5_000), slots_elapsed=one_of(0, 75, 150, 9_999),
        initial_pct=one_of(0, 0.1, 1), liquidation_duration_slots=150,
    ),
    ("drift_v2", "liquidation_fee_ramp"): inputs_of(
        base_fee=one_of(0.0075, 0.02), max_fee=one_of(0.02, 0.0225, 0.05), slots_since_active=one_of(0, 1_499, 1_500, 1_501, 12_500, 10**6)
    ),
    ("drift_v2", "perp_if_fee"): inputs_of(
        margin_shortage=one_of(0, 1, 20, 40, 1_000), base=one_of(10, 0.5), margin_ratio=one_of(0.05, 0.07), liquidator_fee=one_of(0, 0.01, 0.1),
        oracle_price=100, quote_price=1, max_if_fee=one_of(0, 0.0075, 0.05),
    ),
    ("drift_v2", "funding_max_spread"): inputs_of(oracle_twap=one_of(0.5, 49, 60_000), divisor=one_of(10, 20, 33)),
    ("drift_v2", "funding_rate"): inputs_of(
        mark_twap=one_of(30, 32.481415, 32.6, 40), oracle_twap=one_of(32.546442, 33), period_seconds=one_of(3_600, 7_200), clamp_divisor=one_of(10, 33),
        offset_divisor=one_of(None, 5_000),
    ),
    ("drift_v2", "funding_long_short_capped"): inputs_of(
        rate_per_base=one_of(-0.04, 0.04, 0.5), base_with_amm=0, base_long=one_of(5, 24.5), base_short=one_of(-5, -12.25, -60), fee_pool=one_of(0, 0.25, 9),
        total_fee_minus_distributions=0.5,
    ),
    ("drift_v2", "scaled_initial_asset_weight"): inputs_of(
        initial_asset_weight=one_of(0.5, 0.9), scale_start_usd=500_000, deposits=one_of(19_999, 20_000, 20_001, 60_000), oracle_price=25
    ),
    ("drift_v2", "spot_liability_weight"): inputs_of(size=one_of(1, 1_000, 10**6), liability_weight=one_of(1, 1.1, 1.2), imf_factor=one_of(0, 1e-5, 0.01)),
    ("drift_v2", "socialized_loss_funding_delta"): inputs_of(loss=one_of(-100, -0.000001), base_long=one_of(7, 0), base_short=one_of(-4, -0.5)),
    ("drift_v2", "socialized_loss_deposit_interest"): inputs_of(
        borrow=one_of(0, 100), deposits=one_of(0, 3, 1e6), cumulative_deposit_interest=one_of(1, 1.111)
    ),
    ("hyperliquid", "maintenance_rate"): inputs_of(max_leverage=one_of(1, 3, 10, 40, 50)),
    ("hyperliquid", "tiered_maintenance_margin"): inputs_of(
        tiers=one_of(*TIERS), notional=one_of(0, 999.5, 1_000, 1_000.5, 2_000, 149_999_999, 150_000_000, 150_000_001, 9e8)
    ),
    ("hyperliquid", "transfer_margin"): inputs_of(initial_margin_required=one_of(0, 9_999, 10_000, 10_001), total_position_value=100_000),
    ("hyperliquid", "funding_rate"): inputs_of(
        interest_8h=one_of(0, 0.0001), impact_bid=one_of(9_000, 9_996, 10_000, 10_004, 14_000), impact_ask=one_of(9_500, 10_006, 14_100), oracle_price=10_000
    ),
    ("hyperliquid", "funding_payment"): inputs_of(size=one_of(-10, 0, 3.5), oracle_price=10_000, rate_1h=one_of(-0.04, 0, 0.0011875)),
    ("hyperliquid", "mark_price"): inputs_of(
        oracle_price=10_000, ema_mid_minus_oracle=one_of(-30, 0, 12, 20), best_bid=one_of(9_990, 10_005), best_ask=one_of(10_007, 10_020),
        last_trade=one_of(9_900, 10_006, 10_500),
        cex_perp_mids=st.permutations([10_015, 10_012, 10_013, 10_030, 9_990]), cex_weights=[3, 2, 2, 1, 1],
    ),
    ("hyperliquid", "adl_index"): inputs_of(
        side=one_of("long", "short"), mark_price=one_of(90_000, 110_000), entry_price=100_000, notional=one_of(1, 900_000), account_value=one_of(1, 100_000)
    ),
    ("hyperliquid", "borrow_rate"): inputs_of(utilization=one_of(0, 0.79, 0.8, 0.800001, 0.9, 1)),
    ("hyperliquid", "pm_borrowable"): inputs_of(balance=one_of(0.001, 10_000), price=one_of(0.5, 40), ltv=one_of(0.5, 0.65)),
    ("hyperliquid", "pm_min_collateral"): inputs_of(borrowed=one_of(0, 100), price=40, ltv=one_of(0.5, 0.65)),
    ("hyperliquid", "pm_health_factor"): inputs_of(
        assets=st.lists(inputs_of(balance=one_of(1, 200), price=one_of(50, 80_000), ltv=one_of(0.5, 0.65)), min_size=1, max_size=3), borrowed=42_000
    ),
    ("hyperliquid", "pm_borrow_liquidation"): inputs_of(size=10, price=30, ltv=one_of(0.5, 0.65), borrowed=one_of(0, 100, 224, 226, 249, 251, 264, 300)),
    ("gmx_v2", "apply_impact_factor"): inputs_of(diff_usd=DOLLARS, factor=one_of(0, 1e-12, 3e-7), exponent=one_of(1, 1.62, 2, 2.2, 3)),
    ("gmx_v2", "price_impact_same_side"): impacts(
        initial_diff=DOLLARS, next_diff=DOLLARS, exponent_positive=one_of(1, 2), exponent_negative=one_of(1.62, 2)
    ),
    ("gmx_v2", "price_impact_crossover"): impacts(
        initial_diff=one_of(1, 50, 10_000), next_diff=one_of(1, 50, 10_000), exponent_positive=one_of(1, 2), exponent_negative=one_of(1.62, 2)
    ),
    ("gmx_v2", "position_price_impact"): impacts(
        long_oi=one_of(0, 100_000, 250_000), short_oi=one_of(0, 100_000, 180_000), size_delta_usd=one_of(100, 50_000, 200_000), is_long=st.booleans(),
        increase=True, index_price=5_000, exponent=one_of(1, 2),
    ),
    ("gmx_v2", "adaptive_funding"): inputs_of(
        long_oi=one_of(0, 94_000, 102_000, 106_000), short_oi=one_of(0, 94_000, 100_000), saved_factor_per_second=one_of(-3e-5, 0, 3.6e-5, 1),
        dt_seconds=one_of(0, 600), increase_factor=1e-6, decrease_factor=one_of(0, 2e-8), threshold_stable=0.05, threshold_decrease=one_of(0, 0.03),
        min_factor=0, max_factor=one_of(4e-5, 1), exponent=one_of(1, 1.5),
    ),
    ("gmx_v2", "usage_factor"): inputs_of(reserved_usd=one_of(0, 200_000), pool_usd=one_of(1, 5_000_000), open_interest_reserve_factor=one_of(0.5, 3.45)),
    ("gmx_v2", "borrowing_fee"): inputs_of(
        reserved_usd=one_of(0, 150_000), pool_usd=1_000_000, borrowing_factor=2e-7, exponent=one_of(1, 1.1), dt_seconds=one_of(0, 1_209_600), size_usd=150_000
    ),
    ("gmx_v2", "adl_state"): inputs_of(
        is_long=st.booleans(), oi_usd=2_000_000, oi_tokens=400, index_price=one_of(4_000, 5_000, 7_500, 10_000), pool_amount=one_of(100, 1_000),
        pool_token_price=10_000, max_pnl_factor_for_adl=one_of(0.1, 0.2, 0.85),
    ),
    ("gmx_v2", "capped_pnl"): inputs_of(
        pool_usd=one_of(300_000, 1_000_000), oi_usd=500_000, oi_tokens=100, index_price=one_of(4_000, 5_000, 7_500, 15_000),
        max_pnl_factor_for_traders=one_of(0.25, 0.5), position_size_usd=one_of(200_000, 600_000), position_tokens=50, collateral_usd=100_000,
    ),
    ("synthetix_perps_v3", "fill_price"): inputs_of(skew=one_of(-500, 0, 80), skew_scale=one_of(1_000, 100_000), size=one_of(-160, 0.5, 1), price=1_000),
    ("synthetix_perps_v3", "collateral_haircut"): inputs_of(
        collaterals=st.lists(
            inputs_of(amount=one_of(0.5, 8, 700), price=one_of(1, 30_000), skew_scale=one_of(100, 50_000), discount_scalar=one_of(1.5, 2), lower=0.01, upper=0.05),
            min_size=1, max_size=3,
        )
    ),
    ("synthetix_perps_v3", "account_margin"): inputs_of(
        collateral_usd=one_of(0, 2_000, 20_000), positions=st.lists(MARKET_OF_ACCOUNT, min_size=1, max_size=3, unique_by=lambda held: held["market"]),
        keeper_reward_usd=one_of(0, 100),
    ),
    ("synthetix_perps_v3", "keeper_reward"): inputs_of(
        notional_by_market=[1_000, 250_000], flag_reward_ratio_by_market=one_of([0, 0], [0.0003, 0.01]), execution_cost=one_of(0, 5, 400),
        min_keeper_reward=one_of(0, 10), min_profit_ratio=one_of(0, 0.5), max_keeper_reward=one_of(0, 20, 1e6), max_scaling_ratio=one_of(0.005, 1),
        seized_collateral=one_of(0, 10_000),
    ),
    ("synthetix_perps_v3", "funding_velocity"): inputs_of(
        skew_scale=one_of(100, 10_000), max_funding_velocity=one_of(3, 36), price=2_000, trader_size=one_of(-20, 0.5), initial_skew=one_of(-150, 20),
        steps=st.lists(inputs_of(days=one_of(0.03, 0.25, 2), skew_delta=one_of(-60, 0, 155)), min_size=1, max_size=6),
    ),
    ("various", "paradex_liquidation_share"): inputs_of(share=one_of(0.2, 0.4, 1), **PARADEX),
    ("various", "paradex_optimal_share"): inputs_of(target_margin_ratio=0.9, step=one_of(0.2, 0.25, 0.3), **PARADEX),
}  # fmt: skip
# What documents do not state well enough to write it anew; the given vectors, and those of `DRAWN` near them, hold them.
GIVEN_ONLY = {
    ("drift_v2", mechanism)
    for mechanism in (
        "last_funding_basis", "spot_asset_for_liability", "spot_asset_weight", "spot_if_fee", "spot_liability_implied_by_asset",
        "spot_liability_to_cover_shortage", "swap_worst_price",
    )
} | {("synthetix_perps_v3", "liquidation_window")}  # fmt: skip


@pytest.mark.parametrize("mechanism", sorted(DRAWN), ids="-".join)
@settings(max_examples=60)
@given(st.data())
def test_drawn(mechanism, data):
    inputs = data.draw(DRAWN[mechanism])
    try:
        ANSWERS[mechanism](inputs)
    except ZeroDivisionError:
        assume(False)  # neither has an answer
    agrees(*mechanism, inputs)


def test_every_mechanism_is_written_anew_or_named():
    assert {(v.protocol, v.mechanism) for v in read_vectors(Path(__file__).parent)} <= ANSWERS.keys() | GIVEN_ONLY
    assert not ANSWERS.keys() & GIVEN_ONLY


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


def test_an_input_that_a_vector_lacks_is_named_and_optional_ones_may_be_left_out():
    inputs = {"notional": 1e6, "tiers": [{"lower_bound": 0}]}
    (said,) = hold(
        Vector("f", "x", "hyperliquid", "tiered_maintenance_margin", inputs, {"maintenance_margin": 1}, None)
    ).differs
    assert "max_leverage" in said
    assert "an input that this mechanism needs" in said
    least = {"position_notional": 1e5, "maintenance_margin": 1e3, "account_value": 9e2}
    agrees("hyperliquid", "liquidation_stage", least | {"in_cooldown": False})
    expected = ANSWERS["hyperliquid", "liquidation_stage"](least | {"in_cooldown": False})
    assert hold(Vector("f", "x", "hyperliquid", "liquidation_stage", least, expected, None)).holds


def test_a_mechanism_that_nobody_answers_is_named():
    answer = hold(Vector("f", "x", "dydx_v4", "teleportation", {}, {"arrived": True}, None))
    assert answer.differs == ("no adapter answers teleportation of dydx_v4",)
