"""I1 to I8 and I10 (design, numbered invariants) over random compositions of the shelf, kernels interpreted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stress import engine
from stress.kernels import deleveraging
from stress.kernels.ledger import equity as equity_of
from stress.kernels.venue import HOLDERS, INSURANCE_FUND, OUTSIDE_BOOK, VAULT, PathBlock
from stress.mechanisms import adl_pro_rata, of_stage, shelf
from stress.stages import Stage
from stress.vocabulary import MARKET_OUTCOMES
from tests.property.compositions import MARKETS, PARAMETERS, PRICES, STEP, blocks, books, protocols, rules
from tests.venues import one_market_book, one_market_paths, paths_of, protocol_of

close_claim, close_winner = deleveraging.close_claim, deleveraging.close_winner

pytestmark = pytest.mark.interpreted


def played(protocol, book, block):
    """Return (cell, venue after the last path, outcome)."""
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    return cell, *engine.replay_venue(engine.compose(protocol), cell, block)


def owed_funding(markets, rows):
    """Return what each row owes since it was settled, USD; a short's index lacks what was kept from it; written anew."""
    of_short = markets["funding_index"] - markets["funding_kept"]
    index = np.where(rows["size"] < 0.0, of_short[rows["market"]], markets["funding_index"][rows["market"]])
    return rows["size"] * (index - rows["settled_index"])


def ledger(accounts, rows, markets):
    """The sum of I1, written anew: cash - entry notional - size x (index - index at the last settlement)."""
    owed = owed_funding(markets, rows)
    return math.fsum(accounts["cash"]) - math.fsum(rows["entry_notional"]) - math.fsum(owed)


def standing(venue):
    """Return cash, equity at the marks, and whether all contracts are gone, per account; written anew."""
    rows, cash = venue.rows, venue.accounts["cash"]
    market = rows["market"]
    value = rows["size"] * venue.markets["mark"][market] - rows["entry_notional"] - owed_funding(venue.markets, rows)
    equity = cash + np.bincount(rows["account"], value, len(cash))
    return cash, equity, np.bincount(rows["account"], np.abs(rows["size"]), len(cash)) == 0.0


def requirement(protocol, venue, r):
    """Maintenance of one row, tier by tier: each part of the notional at its own rate."""
    market = venue.rows[r]["market"]
    notional = abs(venue.rows[r]["size"]) * venue.markets[market]["mark"]
    tiers = protocol.margin.tiers(MARKETS[market])
    ends = [tier.above for tier in tiers[1:]] + [math.inf]
    return sum(
        max(0.0, min(notional, end) - tier.above) * tier.maintenance_to_initial_ratio / tier.leverage_cap
        for tier, end in zip(tiers, ends, strict=True)
    )


def test_the_table_names_the_shelf():
    assert PARAMETERS.keys() == shelf().keys()


@given(protocols(), books(), blocks())
def test_i1_i2_i3_ledger_net_zero_and_fund(protocol, book, block):
    cell, venue, outcome = played(protocol, book, block)
    gross = max(cell.gross_notional, 1.0)
    before = ledger(cell.start.accounts, cell.start.rows, cell.start.markets)
    after = ledger(venue.accounts, venue.rows, venue.markets)
    assert abs(after - before - venue.venue[0]["external_flow"]) <= 1e-9 * gross
    for m in range(len(cell.markets)):
        net = math.fsum(venue.rows["size"][venue.rows["market"] == m])
        assert abs(net) * venue.markets[m]["mark"] <= 1e-9 * gross
    assert venue.accounts["cash"][cell.traders + INSURANCE_FUND] >= 0.0
    out = outcome.paths[0]
    assert out["fund_low_water"] >= 0.0
    assert out["violation"] == 0
    assert out["ledger_residual"] <= 1e-9


def capped(fund):
    return fund.fund_cap_per_market is not None or fund.fund_cap_per_account is not None


@given(protocols(), books(), blocks())
def test_i4_no_claim_is_left_while_a_layer_can_pay_and_a_limit_explains_the_rest(protocol, book, block):
    cell, venue, outcome = played(protocol, book, block)
    out = outcome.paths[0]
    dust = 1e-9 * max(cell.gross_notional, 1.0)
    cash, equity, flat = standing(venue)
    defaulters = [*range(cell.traders), cell.traders + VAULT]
    owed = -sum(cash[a] for a in defaulters if flat[a] and cash[a] < 0.0)
    layers = {rule.rule: rule for rule in protocol.waterfall}
    if "adaptive_fund" in layers or ("insurance_fund" in layers and not capped(layers["insurance_fund"])):
        assert min(owed, cash[cell.traders + INSURANCE_FUND]) <= dust
    if "socialized_loss" in layers and layers["socialized_loss"].socialized_by == "equity":
        sharers = [a for a in range(cell.traders + HOLDERS) if a != cell.traders + OUTSIDE_BOOK]
        assert min(owed, sum(max(0.0, equity[a]) for a in sharers if not (flat[a] and cash[a] < 0.0))) <= dust
    if layers.keys() & {"insurance_fund", "market_insurance_funds", "adaptive_fund", "pool_equity", "socialized_loss"}:
        assert owed <= out["passed_balance"] + out["passed_cap"] + out["passed_eligibility"] + dust
    for part in ("passed_balance", "passed_cap", "passed_eligibility", "passed_time"):
        assert out[part] >= 0.0


@given(protocols(), books(), blocks())
def test_i4_a_later_layer_pays_only_when_the_earlier_one_is_empty(protocol, book, block):
    order = [rule.rule for rule in protocol.waterfall]
    cell, venue, outcome = played(protocol, book, block)
    out = outcome.paths[0]
    # Without what the fund owes to accounts still open at the horizon, which no layer has seen.
    paid = cell.fund + out["fund_received"] - venue.accounts["cash"][cell.traders + INSURANCE_FUND]
    if not any("fund" in name for name in order):
        assert paid == 0.0
    if not {"socialized_loss", "withdrawal_haircut", "adl_pool_profit"} & set(order):
        assert out["socialized_loss"] == 0.0
    if not any(name.startswith("adl") for name in order):
        assert out["adl_notional"] == 0.0
    if (
        not {"adl_pool_profit"} & set(order)
        and {"insurance_fund", "socialized_loss"} <= set(order)
        and out["socialized_loss"] > 0.0
    ):
        if order.index("insurance_fund") < order.index("socialized_loss"):
            assert out["exhaustion_step"] >= 0 or capped(protocol.waterfall[order.index("insurance_fund")])
        else:
            assert paid <= out["passed_balance"] + 1e-9 * max(cell.gross_notional, 1.0)


# Deleveraging against open claims; that against the pool's debt closes winners at the mark, without a loss.
DELEVERAGING = protocols().filter(lambda p: any(hasattr(rule, "adl_price") for rule in p.waterfall))


@given(DELEVERAGING, books(), blocks())
def test_i5_every_deleveraged_contract_is_closed_on_both_sides(protocol, book, block):
    closed = {side: np.zeros(len(book.markets)) for side in ("claims", "winners", "contracts")}

    def claim(v, r, quantity, price, bankruptcy, age, t):
        m, before = v.rows[r]["market"], v.rows[r]["size"]
        assert 0.0 < quantity <= abs(before)
        lost = close_claim(v, r, quantity, price, bankruptcy, age, t)
        assert abs(before - v.rows[r]["size"]) == pytest.approx(quantity, abs=1e-12 * abs(before))
        closed["claims"][m] += before - v.rows[r]["size"]
        closed["contracts"][m] += abs(before)
        return lost

    def winner(v, w, quantity, price, lost, maintenance):
        m, before = v.rows[w]["market"], v.rows[w]["size"]
        assert 0.0 < quantity <= abs(before)
        assert equity_of(v, v.rows[w]["account"]) > 0.0
        assert v.rows[w]["account"] != v.traders + OUTSIDE_BOOK
        close_winner(v, w, quantity, price, lost, maintenance)
        closed["winners"][m] += before - v.rows[w]["size"]

    with pytest.MonkeyPatch.context() as patch:
        for module in (deleveraging, adl_pro_rata):
            patch.setattr(module, "close_claim", claim)
            patch.setattr(module, "close_winner", winner)
        cell, _, outcome = played(protocol, book, block)
    assert np.all(np.abs(closed["claims"] + closed["winners"]) <= 1e-12 * closed["contracts"])
    assert (outcome.paths[0]["first_adl_step"] >= 0) == bool(closed["contracts"].any())
    the_loss_is_allocated_or_left_over(protocol, cell, outcome)


def the_loss_is_allocated_or_left_over(protocol, cell, outcome):
    out, dust = outcome.paths[0], 1e-9 * max(cell.gross_notional, 1.0)
    for column in ("adl_loss", "adl_shortfall", "adl_gain", "adl_residual", "adl_overshoot"):
        assert out[column] >= -dust
    allocated = out["adl_shortfall"] - out["adl_gain"]
    assert abs(out["adl_loss"] - (allocated + out["adl_residual"] - out["adl_overshoot"])) <= dust
    if any(getattr(rule, "adl_price", None) == "bankruptcy" for rule in protocol.waterfall):
        assert out["adl_overshoot"] <= dust
    assert (out["first_adl_step"] >= 0) == (out["adl_notional"] > 0.0)


# Powers of two, so that equity and requirement are exact doubles and can be equal.
BINARY_MARGIN = {
    "rule": "tiered_margin",
    "markets": {"default": [{"above": 0, "leverage_cap": 16, "maintenance_to_initial_ratio": 0.5}]},
}


@given(st.just(protocol_of(margin=BINARY_MARGIN)), st.integers(1, 4000), st.integers(1, 64), st.sampled_from([-1, 1]))
def test_i6_equality_does_not_trigger(protocol, sixty_fourths, size, side):
    price = sixty_fourths / 64.0
    requirement = size * price / 32.0
    for cash, liquidated in ((requirement, 0), (np.nextafter(requirement, 0.0), 1)):
        book = one_market_book([cash], [side * size], [price])
        _, _, outcome = played(protocol, book, one_market_paths([price, price]))
        assert outcome.paths[0]["liquidated_accounts"] == liquidated
        assert outcome.paths[0]["liquidatable_at_start"] == liquidated


# Few random venues have the fund that the invariant speaks of, so its waterfall is drawn with one.
DELEVERAGING = sorted(name for name in of_stage(Stage.WATERFALL) if name.startswith("adl_"))
WITH_FUND = st.tuples(
    rules("insurance_fund"), st.sampled_from(DELEVERAGING).flatmap(rules), rules("socialized_loss")
).flatmap(st.permutations)


@given(protocols(waterfall=WITH_FUND), books(), blocks(), st.sampled_from([0.0, 30.0, 200.0, 1500.0]))
def test_i7_all_fund_sizes_share_the_path_up_to_the_first_exhaustion(protocol, book, block, fund):
    def traced(size):
        layers = [
            {"rule": "insurance_fund", "insurance_fund": size} if rule.rule == "insurance_fund" else rule.model_dump()
            for rule in protocol.waterfall
        ]
        venue = protocol_of(**(protocol.model_dump(by_alias=True) | {"waterfall": layers}))
        cell = engine.build_cell(venue, book, prices=block.world[0, 0], step=STEP)
        return engine.simulate(engine.compose(venue), cell, block, trace_path=0)

    assume(any(rule.rule == "insurance_fund" for rule in protocol.waterfall))
    small, unlimited = traced(fund), traced(1e12)
    exhausted = small.paths[0]["exhaustion_step"]
    assert unlimited.paths[0]["exhaustion_step"] == -1
    assert (exhausted >= 0) == (unlimited.paths[0]["peak_uncovered_loss"] > fund)
    until = len(block.world[0]) if exhausted < 0 else exhausted
    for name in small.trace.dtype.names:
        ours, theirs = small.trace[name][:until], unlimited.trace[name][:until]
        if name == "fund_balance":
            np.testing.assert_allclose(ours - fund, theirs - 1e12, atol=1e-3)  # 1e12 has an ulp of 1e-4
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@given(protocols(), books(), blocks(paths=3), st.permutations(range(3)))
def test_i8_grouping_and_order_of_paths_give_the_same_bytes(protocol, book, block, order):
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    composed = engine.compose(protocol)
    whole = engine.simulate(composed, cell, block)
    for first in order:
        for pick in (slice(first, first + 1), slice(first, None)):
            part = engine.simulate(composed, cell, PathBlock(first, *(array[pick] for array in block[1:])))
            assert part.paths.tobytes() == whole.paths[pick].tobytes()
            assert part.markets.tobytes() == whole.markets[pick].tobytes()


def covering(fees, margin, target, **others):
    """A venue that covers shortages, with a fund that pays for everybody: nobody's equity moves but by the fill."""
    return protocol_of(
        fees=fees,
        margin=margin,
        size={"rule": "cover_shortage", "target_ratio": target},
        waterfall=[{"rule": "insurance_fund", "insurance_fund": 1e9}],
        **others,
    )


TARGETS = st.sampled_from([1.0, 1.25, 2.0])
MOVES = st.lists(st.sampled_from([-0.09, -0.04, 0.0, 0.03, 0.08]), min_size=2, max_size=2)


@given(
    st.builds(covering, st.none() | rules("liquidation_fee"), rules("tiered_margin"), TARGETS),
    books(),
    MOVES,
)
def test_i10_cover_shortage_restores_its_target_in_one_fill_at_a_constant_price(protocol, book, moves):
    block = paths_of((PRICES * np.exp(np.array([[0.0, 0.0], moves])))[None])
    cell, venue, outcome = played(protocol, book, block)
    dust = 1e-9 * max(cell.gross_notional, 1.0)
    _, equity, flat = standing(venue)
    start = cell.start.rows["size"]
    for a in range(cell.traders):
        rows = range(venue.accounts[a]["row_start"], venue.accounts[a]["row_end"])
        touched = [r for r in rows if venue.rows[r]["size"] != start[r]]
        if not touched or flat[a]:
            continue
        required = sum(requirement(protocol, venue, r) for r in rows)
        assert equity[a] >= required - dust
        if venue.rows[touched[-1]]["size"] != 0.0:  # else the rows closed whole were enough, or more
            assert equity[a] == pytest.approx(protocol.size.target_ratio * required, abs=dust)
        for r in touched[:-1]:  # in market order, each whole before the next is touched
            assert venue.rows[r]["size"] == 0.0
    traders = cell.start.rows["account"] < cell.traders
    assert outcome.paths[0]["fills"] == np.count_nonzero(venue.rows["size"][traders] != start[traders])


@given(protocols(), books(), blocks())
def test_every_loss_has_a_payer_and_its_markets(protocol, book, block):
    cell, venue, outcome = played(protocol, book, block)
    out, dust = outcome.paths[0], 1e-9 * max(cell.gross_notional, 1.0) + 1e-5
    winners = out["adl_shortfall"] - out["adl_gain"] - out["adl_overshoot"]
    others = out["fund_paid"] + out["socialized_loss"] + venue.venue[0]["pool_shared"] + out["unresolved_bad_debt"]
    if "adl_pool_profit" not in [rule.rule for rule in protocol.waterfall]:  # which shares a profit, not a debt
        assert out["bad_debt"] == pytest.approx(winners + others, abs=dust)
    for term in MARKET_OUTCOMES:
        if term.unit == "USD":
            assert math.fsum(outcome.markets[0][term.name]) == pytest.approx(out[term.name], abs=dust), term.name


def test_i5_deleveraging_pro_rata_leaves_no_dust():
    # Longs and shorts match, so the winners' contracts are used up: what rounding leaves must not stay open.
    sizes = [21.34, 24.25, 52.38, -42.68, -5.82, -0.97, -48.5]
    book = one_market_book([100.0] * 7, sizes, [107.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0])
    waterfall = [{"rule": "adl_pro_rata", "adl_price": "previous_mark", "adl_when": "negative_equity"}]
    block = one_market_paths([100.0, 75.57837414557255], depth=0.0)
    _, venue, outcome = played(protocol_of(waterfall=waterfall), book, block)
    traders = venue.rows["size"][:7]
    assert not ((traders != 0.0) & (np.abs(traders) < 1e-9)).any()
    bankrupt = 100.0 + np.array(sizes[:3]) * (75.57837414557255 - np.array([107.0, 100.0, 100.0]))
    assert outcome.paths[0]["adl_loss"] == pytest.approx(-bankrupt.sum())
