"""Properties of margin, collateral, trigger and size rules, over random parameters. Kernels interpreted."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress.kernels.jit import kernel
from stress.mechanisms import (
    adaptive_margin,
    buffered_trigger,
    collateral_skew_discount,
    collateral_takeover,
    collateral_weights,
    cover_to_buffer,
    flat_margin,
    health_weight_margin,
    initial_floor,
    open_interest_margin,
    pair_offsets,
    pool_minimum_collateral,
    portion_with_caps,
    remaining_collateral,
    reward_trigger,
    rolling_window,
    share_multiples,
    size_premium_margin,
    skew_linear_margin,
    three_level_margin,
    tiered_margin,
    two_step,
)
from stress.peers.standing import venue_of
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

LEVELS = (three_level_margin.close_out, three_level_margin.maintenance, three_level_margin.initial)
caps = st.floats(1.0, 100.0)
ratios = st.floats(0.05, 0.95)
sizes = st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6)
amounts = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e6)
shares = st.floats(0.01, 1.0)


@functools.cache
def standing(size: float = 10.0, **stages):
    """Return one venue per set of rules, of which the callers set what they need."""
    stated = {stage: {"rule": rule, **dict(values)} for stage, (rule, values) in stages.items()}
    return venue_of({"X": 100.0}, [(0.0, {0: (size, 100.0)})], **stated)


def with_rates(rule, rates):
    return venue_of({"X": 100.0}, [], margin={"rule": rule, "markets": {"X": rates}})


def check_margin(rule, venue, size, low, high, more=1.5):
    """Maintenance below initial, both rising with price and size, and the bound is one."""
    for kind in (rule.maintenance, rule.initial):
        needed = kind(venue, 0, size, low)
        assert 0.0 <= needed <= kind(venue, 0, size, high) * (1.0 + 1e-12)
        assert needed <= kind(venue, 0, size * more, low) * (1.0 + 1e-12)
        assert kind(venue, 0, 0.0, low) == 0.0
    assert rule.maintenance(venue, 0, size, low) <= rule.initial(venue, 0, size, low) * (1.0 + 1e-12)
    for price in (low, 0.5 * (low + high), high):
        assert rule.maintenance(venue, 0, size, price) <= rule.MECHANISM.bound(venue, 0, size, low, high)


prices = st.tuples(st.floats(1.0, 1e5), st.floats(1.0, 3.0)).map(lambda pair: (pair[0], pair[0] * pair[1]))


@given(caps, ratios, sizes, prices)
def test_flat_margin_is_linear_and_bounded(cap, ratio, size, price):
    venue = with_rates("flat_margin", {"leverage_cap": cap, "maintenance_to_initial_ratio": ratio})
    check_margin(flat_margin, venue, size, *price)
    assert flat_margin.initial(venue, 0, 2.0 * size, price[0]) == pytest.approx(
        2.0 * flat_margin.initial(venue, 0, size, price[0])
    )


@given(caps, ratios, ratios, sizes, prices)
def test_three_level_margin_keeps_its_order(cap, ratio, last, size, price):
    rates = {"leverage_cap": cap, "maintenance_to_initial_ratio": ratio, "close_out_to_maintenance_ratio": last}
    venue = with_rates("three_level_margin", rates)
    check_margin(three_level_margin, venue, size, *price)
    levels = [kernel_of(venue, 0, size, price[0]) for kernel_of in LEVELS]
    assert levels[0] < levels[1] < levels[2]


@given(caps, ratios, sizes, prices, st.floats(0.0, 2e7), st.floats(1.0, 1e7), st.floats(1.0, 1e7))
def test_open_interest_margin_rises_with_open_interest_up_to_notional(cap, ratio, size, price, interest, low, width):
    venue = with_rates(
        "open_interest_margin",
        {
            "leverage_cap": cap,
            "maintenance_to_initial_ratio": ratio,
            "open_interest_lower": low,
            "open_interest_upper": low + width,
        },
    )
    check_margin(open_interest_margin, venue, size, *price)
    kept = open_interest_margin.maintenance(venue, 0, size, price[0])
    before = open_interest_margin.initial(venue, 0, size, price[0])
    venue.markets[0]["open_interest"] = interest
    assert before <= open_interest_margin.initial(venue, 0, size, price[0]) <= abs(size) * price[0] * (1.0 + 1e-12)
    assert open_interest_margin.maintenance(venue, 0, size, price[0]) == kept


@given(st.floats(2.0, 50.0), ratios, st.floats(0.0, 0.01), sizes, prices, st.booleans())
def test_size_premium_margin_rises_with_size_and_keeps_maintenance_below_initial(
    cap, ratio, premium, size, price, mode
):
    rates = {"leverage_cap": cap, "maintenance_to_initial_ratio": ratio, "size_premium": premium}
    if mode:
        rates |= {"high_leverage_cap": 2.0 * cap, "high_leverage_ratio": 0.5}
    check_margin(size_premium_margin, with_rates("size_premium_margin", rates), size, *price)


@given(positive, st.floats(0.0, 30.0), shares, ratios, st.floats(0.0, 100.0), sizes, prices)
def test_skew_linear_margin_is_bounded_and_convex(scale, slope, floor, ratio, least, size, price):
    rates = {
        "skew_scale": scale,
        "initial_margin_ratio": slope,
        "minimum_initial_margin_ratio": floor,
        "maintenance_to_initial_ratio": ratio,
        "minimum_position_margin": least,
    }
    venue = with_rates("skew_linear_margin", rates)
    check_margin(skew_linear_margin, venue, size, *price)
    once, twice = (skew_linear_margin.initial(venue, 0, k * size, price[0]) - least for k in (1.0, 2.0))
    assert twice >= 2.0 * once * (1.0 - 1e-9) - 1e-6


@given(shares, shares, st.floats(0.0, 1e-9), sizes, prices, st.floats(0.0, 1e9))
def test_pool_minimum_collateral_asks_no_more_to_keep_than_to_open(one, other, slope, size, price, interest):
    fractions = {
        "minimum_collateral": max(one, other),
        "minimum_collateral_for_liquidation": min(one, other),
        "minimum_collateral_per_open_interest": slope,
    }
    venue = with_rates("pool_minimum_collateral", fractions)
    venue.markets[0]["open_interest"] = interest
    check_margin(pool_minimum_collateral, venue, size, *price)


@given(st.floats(0.0, 0.9), st.floats(0.0, 0.5), ratios, ratios, sizes, prices)
def test_health_weight_margin_is_bounded_on_both_sides(long_weight, short_weight, one, other, size, price):
    weights = {
        "long_initial_weight": long_weight,
        "long_maintenance_weight": 1.0 - (1.0 - long_weight) * one,
        "short_initial_weight": 1.0 + short_weight + 0.01,
        "short_maintenance_weight": 1.0 + (short_weight + 0.01) * other,
    }
    check_margin(health_weight_margin, with_rates("health_weight_margin", weights), size, *price)


@given(st.floats(0.0, 1.0), sizes, st.floats(1.0, 1e5), positive)
def test_initial_floor_never_lowers(share, size, price, base):
    venue = venue_of({"X": 1.0}, [], margin_modifiers=[{"rule": "initial_floor", "initial_floor_share": share}])
    asked = initial_floor.initial(venue, 0, size, price, base)
    assert asked >= base
    assert asked >= share * abs(size) * price * (1.0 - 1e-12)


moves = st.lists(st.sampled_from([-0.2, -0.01, -0.001, 0.0, 0.001, 0.01, 0.2]), min_size=1, max_size=20)


@given(moves, st.floats(0.1, 1.0), st.floats(1.0, 4.0), st.floats(0.01, 2.0), st.floats(0.0, 1.0), st.integers(1, 4))
def test_adaptive_margin_keeps_its_limits_and_bounds_the_requirement(walk, floor, ceiling, speed, weight, reset):
    rule = {
        "rule": "adaptive_margin",
        "reference_volatility": 1.0,
        "volatility_half_life": "3m",
        "reset_interval": f"{60 * reset}s",
        "speed_limit": speed,
        "floor": floor,
        "ceiling": ceiling,
        "stressed_weight": weight,
        "stressed_multiplier": 1.5,
    }
    book, world = one_market_book([1e9], [1e-9], [100.0]), 100.0 * np.exp(np.cumsum([0.0, *walk]))
    last = 1.0
    for t in range(1, len(world)):
        v, _ = run_one(protocol_of(margin_modifiers=[rule]), book, one_market_paths(world[: t + 1].tolist()))
        now = v.markets[0]["margin_multiplier"]
        assert floor <= now <= max(ceiling, 1.0)
        assert now == last or t % reset == 0
        assert last / (1.0 + speed) * (1.0 - 1e-12) <= now <= last * (1.0 + speed) * (1.0 + 1e-12)
        last = now
    for price in (90.0, 105.0, 120.0):
        asked = adaptive_margin.scaled(v, 0, -3.0, price, 0.05 * price)
        assert asked <= adaptive_margin.bound(v, 0, -3.0, 90.0, 120.0, 0.05 * 120.0)
        assert asked <= 3.0 * price


@given(shares, ratios, st.floats(0.0, 0.1), shares, sizes, prices)
def test_collateral_weights_take_no_more_than_the_value(weight, ratio, discount, frozen, size, price):
    asset = {"initial_weight": weight * ratio, "maintenance_weight": weight, "size_discount": discount}
    venue = venue_of({"X": 1.0}, [], collateral=[{"rule": "collateral_weights", "markets": {"X": asset}}])
    held = abs(size)
    check_margin(collateral_weights, venue, held, *price)
    before = collateral_weights.maintenance(venue, 0, held, price[0])
    venue.markets[0]["frozen"] = frozen
    assert before <= collateral_weights.maintenance(venue, 0, held, price[0]) <= held * price[0]
    assert collateral_weights.maintenance(venue, 0, -held, price[0]) >= 0.0


@given(positive, positive, shares, shares, sizes, prices)
def test_collateral_skew_discount_stays_within_its_limits(scale, scalar, one, other, size, price):
    asset = {
        "collateral_skew_scale": scale,
        "discount_scalar": scalar,
        "lowest_discount": min(one, other),
        "highest_discount": max(one, other),
    }
    venue = venue_of({"X": 1.0}, [], collateral=[{"rule": "collateral_skew_discount", "markets": {"X": asset}}])
    value = abs(size) * price[0]
    haircut = collateral_skew_discount.haircut(venue, 0, abs(size), price[0])
    assert min(one, other) * value * (1.0 - 1e-12) <= haircut <= max(one, other) * value * (1.0 + 1e-12)
    assert haircut <= collateral_skew_discount.bound(venue, 0, abs(size), *price)


@given(positive, st.floats(0.1, 1.0), st.floats(1.0, 1.2), st.floats(0.0, 0.05), st.floats(0.0, 1.0))
def test_collateral_takeover_cures_the_shortage_it_covers(debt, weight, multiple, cap, share):
    part = collateral_takeover.component(weight, multiple, 1.0, 0.0)
    shortage = share * debt
    fee = collateral_takeover.fund_fee(shortage, debt, 1.0, part, cap)
    assert 0.0 <= fee <= cap
    liability = collateral_takeover.liability_to_cover(shortage, 1.0, part, fee, 1.0)
    if liability <= debt:  # repaid less fee, less what the asset given counted for
        assert liability * (1.0 - fee) - liability * multiple * weight == pytest.approx(shortage, rel=1e-9)
    given_up = collateral_takeover.asset_for_liability(1e12, debt, 1.0, 3.0, multiple, 1.0, 0.0)
    assert collateral_takeover.liability_for_asset(given_up, 3.0, 1.0, multiple, 1.0) == pytest.approx(debt)


# ------------------------------------------------------------------------------------ triggers


def check_trigger(rule, venue, equity, requirement, better, easier):
    """Whoever is cleared is not flagged, nor is anybody with more equity and less requirement."""
    due, _ = rule.flag(venue, 0, equity, requirement, 1)
    if rule.bound(venue, 0, equity, requirement):
        assert not due
        assert not rule.flag(venue, 0, equity + better, max(0.0, requirement - easier), 1)[0]
    return due


@given(amounts, st.floats(0.0, 1e6), positive, positive, st.floats(0.0, 0.1), st.floats(0.0, 1e4))
def test_reward_trigger_is_strict_and_never_later_for_a_larger_reward(equity, requirement, better, easier, ratio, cap):
    smaller, larger = (
        standing(
            trigger=(
                "reward_trigger",
                (("flag_reward_ratio", r), ("maximum_keeper_reward", cap), ("minimum_keeper_reward", 5.0)),
            )
        )
        for r in (0.0, ratio)
    )
    if check_trigger(reward_trigger, smaller, equity, requirement, better, easier):
        assert reward_trigger.flag(larger, 0, equity, requirement, 1)[0]
    check_trigger(reward_trigger, larger, equity, requirement, better, easier)
    at = requirement + reward_trigger.reward_of(larger, 0)
    assert not reward_trigger.flag(larger, 0, at, requirement, 1)[0]


@given(amounts, st.floats(0.0, 1e6), positive, positive, st.floats(0.0, 10.0))
def test_remaining_collateral_is_strict_but_for_nothing_left(equity, requirement, better, easier, least):
    venue = standing(trigger=("remaining_collateral", (("minimum_collateral_usd", least),)))
    due = check_trigger(remaining_collateral, venue, equity, requirement, better, easier)
    assert due == (requirement > 0.0 and (equity <= 0.0 or equity < max(least, requirement)))
    assert not remaining_collateral.flag(venue, 0, max(least, requirement, 1e-9), requirement, 1)[0]


@given(
    st.lists(st.tuples(st.floats(-100.0, 300.0), st.floats(0.0, 100.0)), min_size=1, max_size=10), st.floats(0.0, 0.1)
)
def test_buffered_trigger_enters_strictly_and_leaves_only_above_the_buffer(course, buffer):
    venue = standing(trigger=("buffered_trigger", (("exit_buffer", buffer),)))
    venue.accounts[0]["in_liquidation"] = 0
    inside = False
    for equity, requirement in course:
        due, _ = buffered_trigger.flag(venue, 0, equity, requirement, 1)
        if inside:
            inside = not equity >= requirement + buffer * 1000.0 - 1e-9
        else:
            inside = requirement > 0.0 and equity < requirement
        if abs(equity - requirement - buffer * 1000.0) > 1e-6:
            assert due == inside == buffered_trigger.pending(venue, 0)
        inside = due


# --------------------------------------------------------------------------------------- sizes


@kernel
def no_fee(v, r, filled, price, bankruptcy, equity, requirement, maintenance):
    return 0.0, 0


def closes_no_more_than_open(closed, size):
    return 0.0 <= closed <= abs(size) * (1.0 + 1e-12)


@given(st.floats(0.1, 1e4), st.floats(-1.0, 1.2), st.floats(0.0, 0.04), st.floats(0.0, 0.04))
def test_cover_to_buffer_ends_the_shortage_in_one_fill(size, level, buffer, discount):
    """I10 with a buffer and a discount: after the fill at the expected price equity meets the buffered requirement."""
    venue = venue_of(
        {"X": 100.0},
        [(0.0, {0: (size, 100.0)})],
        margin={"rule": "flat_margin", "markets": {"X": {"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}}},
        size={"rule": "cover_to_buffer", "margin_buffer": buffer, "expected_discount": discount},
    )
    requirement = flat_margin.maintenance(venue, 0, size, 100.0)
    equity = level * requirement
    closed = cover_to_buffer.quantity(venue, 0, 0, equity, requirement, 0.0, 1, flat_margin.maintenance, no_fee)
    assert closes_no_more_than_open(closed, size)
    left = size - closed
    after = equity - closed * 100.0 * discount
    missing = left * 100.0 * (0.05 + buffer) - after
    assert missing <= 1e-9 * size * 100.0 or left == 0.0
    if 0.0 < closed < size:
        assert missing == pytest.approx(0.0, abs=1e-9 * size * 100.0)
    for elapsed in (0.0, 5.0, 50.0):
        assert 0.0 <= cover_to_buffer.share_now(100.0, size, elapsed, 20.0, 0.1, 50.0) <= 1.0


@given(sizes, positive, shares, positive, st.just(0.0) | st.floats(1e-6, 10.0), st.lists(shares, max_size=5))
def test_portion_with_caps_closes_at_most_the_limit_of_a_step(size, least, portion, limit, step, fills):
    rule = {"rule": "portion_with_caps", "minimum_notional": least, "portion": portion, "size_step": step}
    venue = venue_of({"X": 100.0}, [(0.0, {0: (size, 100.0)})], size=rule | {"account_block_limit": limit})
    total = 0.0
    for share in fills:
        closed = portion_with_caps.quantity(venue, 0, 0, 0.0, 1.0, 0.0, 7, None, no_fee) * share
        assert closes_no_more_than_open(closed, venue.rows[0]["size"])
        venue.rows[0]["size"] -= math.copysign(closed, size)
        portion_with_caps.on_fill(venue, 0, 0, closed, 100.0, 7)
        total += closed * 100.0
    assert total <= limit * (1.0 + 1e-9) + step * 100.0


@given(st.lists(st.tuples(st.integers(0, 3), shares), min_size=1, max_size=30), st.integers(1, 8))
def test_rolling_window_fills_at_most_its_capacity_in_any_window(calls, slots):
    rule = {
        "rule": "rolling_window",
        "maker_fee": 0.01,
        "taker_fee": 0.0,
        "skew_scale_of_window": 100.0,
        "window_multiplier": 1.0,
        "window": f"{slots}s",
    }
    venue = venue_of({"X": 1.0}, [(0.0, {0: (1e6, 1.0)})], size=rule)
    filled = {}
    t = 0
    for wait, share in calls:
        t += wait
        closed = rolling_window.quantity(venue, 0, 0, 0.0, 1.0, 0.0, t, None, no_fee) * share
        assert closes_no_more_than_open(closed, 1e6)
        rolling_window.on_fill(venue, 0, 0, closed, 1.0, t)
        filled[t] = filled.get(t, 0.0) + closed
        assert sum(filled.get(k, 0.0) for k in range(t - slots + 1, t + 1)) <= slots * (1.0 + 1e-9)


@given(positive, amounts, st.floats(0.05, 1.0), shares, st.floats(0.0, 0.9))
def test_share_multiples_is_the_smallest_that_meets_the_target(requirement, equity, step, target, penalty):
    share = share_multiples.smallest_share(equity, requirement, step, target, penalty)
    assert 0.0 < share <= 1.0
    for k in range(1, math.ceil(1.0 / step)):
        needed, _, left = share_multiples.after_share(equity, requirement, k * step, penalty)
        assert (left > 0.0 and needed < target * left) == (k * step >= share - 1e-12) or k * step > share


parts = st.floats(0.01, 1.0)


@given(parts, st.floats(0.01, 1e3), st.floats(1.0, 1e9), st.sampled_from(["two_step", "share_multiples"]))
def test_two_step_and_share_multiples_end_within_their_stated_rounds(part, dust, size, name):
    stated = {"two_step": {"first_share": part, "whole_below_ratio": 0.0}}
    stated["share_multiples"] = {"share_step": part, "target_margin_ratio": 1.0}
    rule = {"rule": name, "dust_below": dust} | stated[name]
    venue = venue_of({"X": 100.0}, [(0.0, {0: (size, 100.0)})], size=rule)
    kernel = {"two_step": two_step, "share_multiples": share_multiples}[name].quantity
    most = 1 + max(0.0, math.log(size * 100.0 / dust)) / -math.log1p(-part) if part < 1.0 else 1
    rounds = 0
    while venue.rows[0]["size"] != 0.0:  # it stays due, just below its requirement, and every order fills
        venue.venue[0]["round"] += 1.0
        venue.rows[0]["size"] -= kernel(venue, 0, 0, 1.0, 1.0, 0.0, 1, None, no_fee)
        rounds += 1
        assert rounds <= most + 1


@given(sizes, amounts, parts, st.floats(0.0, 0.5))
def test_two_step_closes_part_or_all(size, equity, first, below):
    venue = venue_of(
        {"X": 100.0},
        [(0.0, {0: (size, 100.0)})],
        size={"rule": "two_step", "first_share": first, "whole_below_ratio": below},
    )
    closed = two_step.quantity(venue, 0, 0, equity, 1.0, 0.0, 1, None, no_fee)
    whole = abs(size) * 100.0 <= 1.0 or equity < below * abs(size) * 100.0
    assert closed == (abs(size) if whole else first * abs(size))


@given(st.lists(sizes, min_size=2, max_size=3), st.floats(0.0, 0.99), st.floats(0.0, 0.99), st.floats(0.5, 2.0))
def test_pair_offsets_save_a_share_of_what_is_asked_and_the_same_for_the_mirrored_account(held, first, second, price):
    names = ("X", "Y", "Z")[: len(held)]
    pairs = [{"one": "X", "other": "Y", "offset_credit": first}, {"one": "Z", "other": "X", "offset_credit": second}]
    found = []
    for sign in (1.0, -1.0):
        rows = {m: (sign * size, 1.0) for m, size in enumerate(held)}
        venue = venue_of(
            dict(zip(names, (1.0, price, 1.0 / price), strict=False)),
            [(0.0, rows)],
            margin_modifiers=[{"rule": "pair_offsets", "pairs": pairs}],
        )
        asked = sum(tiered_margin.maintenance(venue, m, size, venue.markets[m]["mark"]) for m, size in enumerate(held))
        saved = pair_offsets.offset(venue, 0, tiered_margin.maintenance)
        assert 0.0 <= saved <= max(first, second) * asked * (1.0 + 1e-12)
        assert saved == 0.0 or min(held) < 0.0 < max(held)
        found.append(saved)
    assert found[0] == found[1]
