"""One property of every rule of execution, fees, funding, breakers and loss allocation beyond the first shelf."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stress import engine
from stress.kernels import deleveraging
from stress.kernels.funding import pay_sides
from stress.kernels.ledger import equity, trade
from stress.kernels.margin import assess
from stress.kernels.venue import TREASURY
from stress.mechanisms import (
    adaptive_fund,
    adaptive_funding,
    adl_keeper,
    adl_pool_profit,
    adl_random,
    adl_water_filling,
    constant_product_impact,
    dutch_auction,
    keepers,
    linear_impact,
    liquidator_takeover,
    oracle_pool,
    seized_margin,
    shortage_fee,
    skew_pool,
    table_impact,
    tiered_margin,
    twap_spread_funding,
    velocity_funding,
)
from tests.property.compositions import blocks, books, protocols, rules
from tests.property.test_invariants import ledger, played
from tests.property.test_mechanism_properties import check_impact, flows
from tests.venues import at_rest, book_of, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

sides = st.sampled_from([-1.0, 1.0])
shares = st.floats(0.0, 1.0)
usd = st.floats(0.0, 1e6)
FLAT = one_market_book([1e9], [1e-9], [100.0])
# Exactly one rule of a stage, any others beside it.
ANY = st.data()


@functools.cache
def rested(**stages):
    return at_rest(protocol_of(**{name: dict(rule) for name, rule in stages.items()}), FLAT, [100.0], steps=40)


def drawn(data, name, stage, listed=True):
    """Play a random composition that has the rule at its stage."""
    rule = data.draw(rules(name))
    protocol = data.draw(protocols(**{stage: [rule] if listed else rule}))
    return protocol, *played(protocol, data.draw(books()), data.draw(blocks()))


# -------------------------------------------------------------------------------------- impact


@given(flows, flows, shares)
def test_table_impact_average_is_the_mean_response_however_split(z0, z1, split):
    venue = at_rest(
        protocol_of(impact={"rule": "table_impact", "profile": [(0.5, 0.01), (2.0, 0.02), (9.0, 0.4)]}), FLAT, [100.0]
    )
    check_impact(table_impact, venue, z0, z1, split)


@given(st.floats(-20.0, 0.95), st.floats(-20.0, 0.95), shares)
def test_constant_product_impact_keeps_the_product_however_an_order_is_split(z0, z1, split):
    assume(abs(z1 - z0) > 1e-6)
    middle = z0 + split * (z1 - z0)

    def paid(a, b):
        return (b - a) * (1.0 + constant_product_impact.average(None, 0, a, b))

    assert paid(z0, middle) + paid(middle, z1) == pytest.approx(paid(z0, z1), rel=1e-9, abs=1e-12)
    # With x0 = y0 = 1: what is paid is the change of the quote side, 1 / x.
    assert paid(z0, z1) == pytest.approx(1 / (1 - z1) - 1 / (1 - z0), rel=1e-9, abs=1e-12)
    price = 1.0 + constant_product_impact.response(None, 0, z0)
    assert price * (1 - z0) ** 2 == pytest.approx(1.0)
    assert constant_product_impact.inverse(None, 0, price - 1.0) == pytest.approx(z0, rel=1e-9, abs=1e-12)


# ----------------------------------------------------------------------------------- execution


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(0.0, 1e-8),
    st.floats(0.0, 1e-8),
    st.sampled_from([1.5, 2.0, 2.2]),
)
def test_oracle_pool_never_pays_for_a_round_trip(start, size, one, other, exponent):
    positive, negative = min(one, other), max(one, other)
    terms = (positive, exponent, negative, exponent)
    there = oracle_pool.price_impact(start, start + size, *terms)
    back = oracle_pool.price_impact(start + size, start, *terms)
    assert there + back <= 1e-9 * (abs(there) + abs(back)) + 1e-12
    assert (there >= 0.0) or abs(start + size) > abs(start) or start * (start + size) < 0.0


@given(st.floats(-1e4, 1e4), st.floats(-1e3, 1e3), shares, st.floats(1e4, 1e7))
def test_skew_pool_costs_the_same_however_an_order_is_split(net, order, split, scale):
    part = split * order
    whole = order * skew_pool.fill_price(100.0, net, order, scale)
    first = part * skew_pool.fill_price(100.0, net, part, scale)
    rest = (order - part) * skew_pool.fill_price(100.0, net + part, order - part, scale)
    assert first + rest == pytest.approx(whole, rel=1e-9, abs=1e-6)


@given(sides, st.floats(1.0, 50.0), st.sampled_from([1e3, 1e5]), st.floats(0.01, 0.3))
def test_vamm_pays_between_the_mid_before_and_after(side, size, reserve, move):
    impact = {"rule": "constant_product_impact", "quote_reserve": reserve}
    protocol = protocol_of(impact=impact, execution=[{"rule": "vamm", "pool_equity": 1e9}], rounds_per_step=1)
    book = one_market_book([size * 2.0], [side * size], [100.0])
    venue, out = run_one(protocol, book, one_market_paths([100.0, 100.0 * (1 - side * move)]))
    assume(out["fills"] == 1)
    closed = size - abs(row_of(venue, "A0")[0])
    sold = side * (row_of(venue, "A0")[1] - side * size * 100.0 + (venue.accounts[0]["cash"] - size * 2.0) * -1.0)
    price = abs(sold) / closed
    before, after = 100.0 * (1 - side * move), venue.markets[0]["mid"]
    assert min(before, after) * (1 - 1e-9) <= price <= max(before, after) * (1 + 1e-9)


@given(
    sides, st.floats(0.0, 0.2), st.floats(0.5, 100.0), st.floats(0.1, 1e3), st.floats(-5.0, 5.0), st.floats(0.0, 0.05)
)
def test_liquidator_takeover_takes_no_more_than_can_be_sold_on(side, fee, quantity, depth, flow, margin):
    rule = {"rule": "liquidator_takeover", "takeover_fee": fee, "resale_margin": margin}
    venue = at_rest(protocol_of(execution=[rule]), one_market_book([1e9], [side * 100.0], [100.0]), [100.0])
    venue.markets[0]["depth"], venue.markets[0]["permanent_flow"] = depth, flow
    filled, price, _, _ = liquidator_takeover.execute(
        venue,
        0,
        0,
        quantity,
        0.0,
        1e9,
        1.0,
        0.0,
        1,
        linear_impact.response,
        None,
        linear_impact.inverse,
        tiered_margin.maintenance,
    )
    assert 0.0 <= filled <= quantity
    if filled > 0.0:
        z = venue.markets[0]["permanent_flow"] + venue.markets[0]["flow"]
        assert z == pytest.approx(flow - side * filled / depth)
        last = 100.0 * (1.0 + 0.01 * z)
        assert side * (last - price * (1.0 + side * margin)) >= -1e-6
        assert price == pytest.approx(100.0 * (1 - side * fee))


@given(
    sides, st.floats(0.01, 0.9), st.lists(st.integers(0, 20), min_size=2, max_size=2).map(sorted), st.integers(1, 15)
)
def test_dutch_auction_price_only_falls_for_a_long_and_rises_for_a_short(side, drop, ages, length):
    early, late = (dutch_auction.asking_price(100.0, side, drop, age, float(length)) for age in ages)
    assert side * (early - late) >= 0.0
    assert side * (100.0 - late) <= 100.0 * drop * (1 + 1e-12)


@given(ANY)
def test_dutch_auction_never_fills_above_its_price_nor_after_its_end(data):
    rule = data.draw(rules("dutch_auction"))
    depth = data.draw(st.lists(st.sampled_from([0.0, 5.0, math.inf]), min_size=9, max_size=9))
    book = one_market_book([40.0], [10.0], [100.0])
    venue, out = run_one(protocol_of(execution=[rule]), book, one_market_paths([100.0] + [96.5] * 8, depth=depth))
    assert out["violation"] == 0
    assert out["paid_to_book"] <= out["liquidated_notional"] * (rule["auction_drop"] + 1e-9)
    assert abs(row_of(venue, "A0")[0]) <= 10.0


@given(st.floats(0.001, 0.5), st.sampled_from([keepers.NONE, keepers.WAIT, keepers.COMPETE, keepers.SANDWICH]), shares)
def test_keepers_take_no_less_than_nothing_and_less_than_all(discount, extraction, share):
    paid = keepers.effective_discount(discount, extraction, share)
    assert 0.0 <= paid < 1.0
    assert (paid <= discount) == (extraction in (keepers.NONE, keepers.COMPETE) or paid == discount)


# ---------------------------------------------------------------------------------------- fees


@given(usd, st.floats(1.0, 1e6), st.floats(0.001, 0.5), st.floats(0.0, 0.1), st.floats(0.0, 0.05))
def test_shortage_fee_leaves_the_account_able_to_come_out_margined(shortage, notional, ratio, discount, highest):
    rate = shortage_fee.fee_rate(shortage, notional, ratio, discount, highest)
    assert 0.0 <= rate <= highest
    # Closing everything at the discount and paying the fee frees at least the shortage.
    if rate > 0.0:
        assert notional * (ratio - discount - rate) >= shortage * (1 - 1e-9) - 1e-6 * notional


@given(st.floats(0.0, 100.0), st.floats(50.0, 150.0), st.floats(50.0, 150.0), sides, ANY)
def test_seized_margin_never_takes_more_than_the_surplus(filled, price, bankruptcy, side, data):
    rule = data.draw(rules("seized_margin"))
    venue = at_rest(protocol_of(fees=rule), one_market_book([1e9], [side * 100.0], [100.0]), [100.0])
    arguments = (venue, 0, filled, price, bankruptcy, 0.0, 0.0, None)
    taken = seized_margin.reward(*arguments) + seized_margin.fee(*arguments)[0]
    surplus = max(0.0, filled * side * (price - bankruptcy))
    assert 0.0 <= taken <= surplus * (1 + 1e-12)
    if rule["seize"] == "always":
        assert taken == pytest.approx(surplus)


# ------------------------------------------------------------------------------------- funding


@given(st.floats(-10.0, 10.0), st.floats(0.1, 1e3), st.floats(0.1, 1e3), usd)
def test_twap_spread_funding_cut_pays_out_what_comes_in(rate, long, short, payable):
    for_long, for_short, received = twap_spread_funding.capped_rates(rate, long, short, payable)
    assert for_long * long - for_short * short == pytest.approx(received, rel=1e-9, abs=1e-6)
    assert received >= -payable - 1e-9
    assert abs(for_long) <= abs(rate) * (1 + 1e-12)
    assert abs(for_short) <= abs(rate) * (1 + 1e-12)


@given(
    st.floats(-1e6, 1e6), st.floats(1.0, 1e5), st.floats(0.0, 50.0), st.floats(-5.0, 5.0), st.floats(0.0, 3.0), shares
)
def test_velocity_funding_accrues_the_same_in_one_step_and_in_two(net, scale, largest, rate, days, split):
    speed = velocity_funding.velocity(net, scale, largest)
    assert abs(speed) <= largest
    middle, end = rate + speed * split * days, rate + speed * days
    whole = velocity_funding.accrued(100.0, rate, end, days)
    parts = velocity_funding.accrued(100.0, rate, middle, split * days)
    parts += velocity_funding.accrued(100.0, middle, end, (1.0 - split) * days)
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-9)


@given(st.floats(-1.0, 1.0), usd, usd, st.floats(0.0, 1e3), st.floats(0.0, 1e-3), st.floats(0.0, 1e-3))
def test_adaptive_funding_stays_within_its_cap_and_moves_towards_the_larger_side(saved, long, short, dt, up, down):
    rate = adaptive_funding.next_rate(saved, long, short, dt, up, down, 0.05, 0.02, 1.0, 1.0)
    assert abs(rate) <= 1.0
    if long > short and saved <= 0.0:
        assert rate >= saved
    if short > long and saved >= 0.0:
        assert rate <= saved


@given(ANY)
def test_adaptive_funding_moves_money_only_between_users_and_pool(data):
    _, cell, venue, outcome = drawn(data, "adaptive_funding", "funding", listed=False)
    assert outcome.paths[0]["violation"] == 0
    moved = ledger(venue.accounts, venue.rows, venue.markets) - ledger(
        cell.start.accounts, cell.start.rows, cell.start.markets
    )
    assert abs(moved - venue.venue[0]["external_flow"]) <= 1e-9 * max(cell.gross_notional, 1.0)


@given(
    st.sampled_from([-3.0, 2.0]),
    st.floats(-6.0, 6.0),
    st.floats(-5.0, 5.0),
    st.floats(-5.0, 5.0),
    st.floats(80.0, 120.0),
)
def test_a_trade_at_the_mark_leaves_equity_whatever_its_sides_paid(size, traded, by_longs, to_shorts, mark):
    assume(abs(traded) > 1e-3)
    venue = at_rest(protocol_of(), one_market_book([1e4], [size], [100.0]), [100.0], steps=0)
    venue.markets[0]["mark"] = mark
    engine.set_net_marks(venue)
    whole = sum(equity(venue, a) for a in range(len(venue.accounts)))
    pay_sides(venue, 0, by_longs, to_shorts, TREASURY)
    engine.set_net_marks(venue)
    own = 1e4 + size * (mark - 100.0) - size * (by_longs if size > 0.0 else to_shorts)
    assert equity(venue, 0) == pytest.approx(own)
    assert sum(equity(venue, a) for a in range(len(venue.accounts))) == pytest.approx(whole)
    trade(venue, 0, traded, mark)  # adds, closes, or turns the position around
    assert equity(venue, 0) == pytest.approx(own)


# ------------------------------------------------------------------------------------ breakers


def calm_without(data, name):
    """Play a composition with the breaker and without it."""
    rule = data.draw(rules(name))
    book, block = data.draw(books()), data.draw(blocks())
    protocol = data.draw(protocols(breakers=[rule]))
    free = protocol_of(**(protocol.model_dump(by_alias=True) | {"breakers": []}))
    return rule, played(protocol, book, block), played(free, book, block)


@given(ANY)
def test_price_band_keeps_fills_of_the_book_within_it(data):
    rule = data.draw(rules("price_band"))
    execution = [{"rule": "order_book", "deficit_fill": "any"}]
    protocol = protocol_of(breakers=[rule], execution=execution, waterfall=[])
    book = one_market_book([60.0, 60.0], [10.0, -10.0], [100.0, 100.0])
    depth, move = data.draw(st.sampled_from([0.5, 20.0])), data.draw(st.sampled_from([-0.07, 0.07]))
    _, out = run_one(protocol, book, one_market_paths([100.0, 100.0 * (1 + move)], depth=depth))
    assert out["paid_to_book"] <= out["liquidated_notional"] * rule["band"] * (1 + 1e-9)


@given(ANY)
def test_order_cap_changes_no_balance_by_itself_and_no_fill_exceeds_it(data):
    rule, (_, _, capped), _ = calm_without(data, "order_cap")
    out = capped.paths[0]
    assert out["violation"] == 0
    # Liquidations by orders only: a takeover names its own size.
    execution = [{"rule": "order_book", "deficit_fill": "any"}]
    protocol = protocol_of(breakers=[rule], execution=execution, waterfall=[])
    _, _, outcome = played(protocol, data.draw(books()), data.draw(blocks()))
    out = outcome.paths[0]
    assert out["liquidated_notional"] <= out["fills"] * rule["largest_order"] * (1 + 1e-9)


@given(ANY)
def test_attempts_per_block_bounds_the_accounts_of_a_step(data):
    rule, (_, venue, limited), _ = calm_without(data, "attempts_per_block")
    out = limited.paths[0]
    assert out["violation"] == 0
    assert venue.venue[0]["attempts_left"] >= 0.0
    assert out["liquidated_accounts"] <= rule["attempts"] * 10


@given(ANY)
def test_liquidity_halt_fills_nothing_while_it_blocks_liquidation(data):
    rule = data.draw(rules("liquidity_halt")) | {"liquidity_blocks": ["liquidate"], "liquidity_floor": 0.5}
    protocol = data.draw(protocols(breakers=[rule], impact=rules("linear_impact")))
    block = one_market_paths([100.0] + [80.0] * 4, depth=[100.0] + [10.0] * 4)
    block = block._replace(
        **{
            n: np.repeat(getattr(block, n), 2, axis=2)
            for n in ("world", "depth", "premium", "external_premium", "oracle_outage")
        }
    )
    _, _, outcome = played(protocol, data.draw(books()), block)
    assert outcome.paths[0]["liquidated_notional"] == 0.0


@given(ANY)
def test_withdrawal_gate_changes_nothing_but_withdrawals(data):
    _, gated, free = calm_without(data, "withdrawal_gate")
    assume(not gated[1].venue.dtype.names or "debt_seen" not in gated[1].venue.dtype.names)
    for name in ("fills", "liquidated_notional", "adl_notional", "bad_debt"):
        assert gated[2].paths[0][name] == free[2].paths[0][name] or free[2].paths[0]["socialized_loss"] > 0.0


@given(ANY)
def test_open_interest_cap_changes_no_balance(data):
    _, capped, free = calm_without(data, "open_interest_cap")
    assert capped[2].paths.tobytes() == free[2].paths.tobytes()


# ----------------------------------------------------------------------------- loss allocation


@given(ANY)
def test_pool_equity_pays_claims_and_stays_above_zero_by_it(data):
    protocol = data.draw(protocols(waterfall=[{"rule": "pool_equity"}], execution=[data.draw(rules("oracle_pool"))]))
    _cell, venue, outcome = played(protocol, data.draw(books()), data.draw(blocks()))
    out = outcome.paths[0]
    assert out["violation"] == 0
    assert out["provider_default_loss"] == pytest.approx(venue.venue[0]["pool_shared"])
    assert math.fsum(venue.markets["pool_shared"]) == pytest.approx(venue.venue[0]["pool_shared"], abs=1e-6)


@given(ANY)
def test_market_insurance_funds_never_overdraw_a_market(data):
    rule = data.draw(rules("market_insurance_funds"))
    protocol = data.draw(protocols(waterfall=[rule]))
    _, venue, _ = played(protocol, data.draw(books()), data.draw(blocks()))
    for m, market in enumerate(("A", "B")):
        state = venue.markets[m]
        own = rule["market_funds"].get(market, 0.0) + state["fund_received"]
        assert state["fund_paid"] <= own * (1 + 1e-12) + 1e-6


@given(usd, usd, usd, shares, shares, st.booleans())
def test_adaptive_fund_flow_never_overshoots_the_target(balance, target, ready, top_up, release, quiet):
    flow = adaptive_fund.flow_to_fund(balance, target, ready, top_up, release, quiet)
    assert (balance + flow - target) * (balance - target) >= -1e-6
    assert flow <= ready
    assert flow >= 0.0 or quiet


@given(ANY)
def test_adaptive_fund_closes_the_ledger(data):
    _, _cell, venue, outcome = drawn(data, "adaptive_fund", "waterfall")
    assert outcome.paths[0]["violation"] == 0
    assert venue.venue[0]["external_flow"] + outcome.paths[0]["keeper_gas"] >= 0.0  # fees came in; only gas goes out


@given(ANY)
def test_withdrawal_haircut_shares_by_equity_and_bankrupts_nobody(data):
    protocol = data.draw(
        protocols(waterfall=[{"rule": "withdrawal_haircut"}], execution=[{"rule": "order_book", "deficit_fill": "any"}])
    )
    _, venue, outcome = played(protocol, data.draw(books()), data.draw(blocks()))
    out = outcome.paths[0]
    assert out["violation"] == 0
    assert out["socialized_loss"] >= 0.0
    if out["socialized_loss"] > 0.0 and out["unresolved_bad_debt"] < 1e-6:
        assert all(equity(venue, a) >= -1e-6 for a in range(venue.traders))


@given(st.floats(-500.0, 2e3), st.floats(-9.0, 9.0), st.floats(-9.0, 9.0), st.floats(0.1, 1.0), st.floats(50.0, 150.0))
def test_adl_random_may_close_is_the_rule_on_what_the_close_leaves(cash, size, other, share, price):
    assume(abs(size) > 0.1 and abs(other) > 0.1)
    book = book_of(("X", "Y"), [cash], [[(0, size, 110.0), (1, other, 40.0)]])
    prices = np.array([100.0, 50.0])
    venue = engine.open_venue(engine.build_cell(protocol_of(), book, prices=prices, step=60.0), prices)
    margins = tiered_margin.maintenance, tiered_margin.initial
    said = adl_random.may_close(venue, 0, share * abs(size), price, *margins)
    before = assess(venue, 0, margins[0])
    deleveraging.close_winner(venue, 0, share * abs(size), price, 0.0, margins[0])
    after = *assess(venue, 0, margins[0]), assess(venue, 0, margins[1])[1]
    assume(abs(after[0] - after[2]) > 1e-5 and abs(after[0] * before[1] - before[0] * after[1]) > 1e-2)
    assert said == adl_random.may_update(*before, *after)


@given(
    st.lists(st.tuples(st.floats(0.1, 100.0), st.floats(101.0, 150.0)), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
    st.sampled_from(["largest_position", "largest_profit", "smallest_profit"]),
)
def test_adl_keeper_asks_no_second_winner_before_the_first_is_closed(winners, share, picks):
    total = sum(size for size, _ in winners)
    book = one_market_book(
        [1e4] * len(winners) + [1.0],
        [-size for size, _ in winners] + [total],
        [*(entry for _, entry in winners), 100.0],
        0.0,
    )
    layer = {"rule": "adl_keeper", "adl_price": "mark", "adl_when": "negative_equity", "keeper_picks": picks}
    venue = at_rest(protocol_of(waterfall=[layer]), book, [100.0], steps=0)
    score = [adl_keeper.score(venue, w, venue.terms[0]["keeper_picks"]) for w in range(len(winners))]
    rest, asked = share * total, []
    while rest > 0.0 and len(asked) < len(winners):
        w, quantity = adl_keeper.choose(venue, len(winners), 1.0, rest, 100.0, 1, None, None)
        assert quantity == min(rest, winners[w][0])
        asked.append(w)
        venue.rows[w]["size"] += quantity
        rest -= quantity
    assert [score[w] for w in asked] == sorted(score, reverse=True)[: len(asked)]
    assert len(set(asked)) == len(asked)


@given(st.lists(st.tuples(st.floats(0.1, 100.0), st.floats(1.0, 500.0)), min_size=1, max_size=6), st.floats(0.01, 0.99))
def test_adl_water_filling_leaves_nobody_above_the_level_and_touches_nobody_below(winners, share):
    total = sum(size for size, _ in winners)
    rest = share * total
    book = one_market_book(
        [cash for _, cash in winners] + [1.0],
        [-size for size, _ in winners] + [total],
        [100.0] * (len(winners) + 1),
        0.0,
    )
    layer = {"rule": "adl_water_filling", "adl_price": "mark", "adl_when": "negative_equity"}
    venue = at_rest(protocol_of(waterfall=[layer]), book, [100.0], steps=0)
    level = adl_water_filling.water_level(venue, 0, 1.0, rest)
    given_up = [max(0.0, size - level * cash / 100.0) for size, cash in winners]
    assert sum(given_up) == pytest.approx(rest, rel=1e-6)
    for (size, cash), lost in zip(winners, given_up, strict=True):
        assert (size - lost) * 100.0 / cash <= level * (1 + 1e-9) + 1e-9
        assert lost == 0.0 or size * 100.0 / cash > level


@given(st.floats(-1e6, 1e6), st.floats(1.0, 1e6), st.floats(0.01, 1.0))
def test_adl_pool_profit_never_pays_a_side_more_than_the_cap(profit, pool, cap):
    share = adl_pool_profit.paid_share(profit, pool, cap)
    assert 0.0 < share <= 1.0
    assert profit * share <= cap * pool * (1 + 1e-9)
    assert adl_pool_profit.pnl_factor(profit, pool) >= 0.0


@given(ANY)
def test_adl_pool_profit_brings_a_side_down_and_closes_the_ledger(data):
    rule = data.draw(rules("adl_pool_profit"))
    pool = {"rule": "oracle_pool", "pool_equity": data.draw(st.sampled_from([500.0, 1e5]))}
    protocol = protocol_of(waterfall=[rule], execution=[pool])
    _, _, outcome = played(protocol, data.draw(books()), data.draw(blocks()))
    out = outcome.paths[0]
    assert out["violation"] == 0
    assert out["adl_shortfall"] == 0.0
