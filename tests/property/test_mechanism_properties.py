"""At least one property of every mechanism on the shelf, against formulas written anew. Kernels interpreted."""

from __future__ import annotations

import functools
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad

from stress.kernels.ledger import equity as equity_of
from stress.kernels.margin import assess, loss_beyond_margin
from stress.kernels.venue import ACTIONS, CAP, MARKET_MAKERS, NO_LIMIT, QUANTUM, VAULT
from stress.mechanisms import (
    backstop_vault,
    cover_shortage,
    divergence_breaker,
    fraction_with_cooldown,
    full_size,
    linear_impact,
    liquidation_fee,
    order_book,
    shelf,
    square_root_impact,
    staleness_breaker,
    strict_trigger,
    tiered_margin,
)
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

STEP = 60.0
FLAT = one_market_book([1e9], [1e-9], [100.0])
SEEN_BEFORE_BREAKERS = {"fund", "mark_update", "oracle_update"}

flows = st.floats(-60.0, 60.0).map(lambda z: z if abs(z) > 1e-9 else 0.0)
sides = st.sampled_from([-1.0, 1.0])
prices = st.floats(50.0, 200.0)
walks = st.lists(st.sampled_from([-0.3, -0.05, -0.01, 0.0, 0.01, 0.05, 0.3]), min_size=1, max_size=12).map(
    lambda moves: [100.0, *(100.0 * np.exp(np.cumsum(moves))).tolist()]
)
pauses = st.integers(0, 3)


def test_every_mechanism_has_a_property():
    text = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in shelf() if not re.search(rf"^def test_{name}_", text, re.MULTILINE)] == []


@functools.cache
def rested(size: float = 1e-9, cash: float = 1e9, **stages):
    """Return one venue per set of rules, of which the callers set what they need."""
    given_stages = {name: {"rule": rule, **dict(values)} for name, (rule, values) in stages.items()}
    for listed in ("execution", "breakers", "waterfall"):
        if listed in given_stages:
            given_stages[listed] = [given_stages[listed]]
    return at_rest(protocol_of(**given_stages), one_market_book([cash], [size], [100.0]), [100.0], steps=40)


def flags(draw_from, length):
    return st.lists(draw_from, min_size=length, max_size=length)


# -------------------------------------------------------------------------------------- impact


def mean_response(rule, v, z0, z1):
    """The mean of the response over [z0, z1] by quadrature, with a knot where the slope is infinite."""
    knots = sorted({z0, z1} | ({0.0} if z0 * z1 < 0.0 else set()))
    parts = [quad(lambda z: rule.response(v, 0, z), a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(knots)]
    return math.copysign(1.0, z1 - z0) * sum(parts) / (z1 - z0)


def check_impact(rule, v, z0, z1, split):
    assume(abs(z1 - z0) > 1e-6)
    whole = rule.average(v, 0, z0, z1)
    assert whole == pytest.approx(mean_response(rule, v, z0, z1), rel=1e-6, abs=1e-9)
    # However an order is split, the same is paid for it.
    middle = z0 + split * (z1 - z0)
    parts = (middle - z0) * rule.average(v, 0, z0, middle) + (z1 - middle) * rule.average(v, 0, middle, z1)
    assert parts == pytest.approx(whole * (z1 - z0), rel=1e-9, abs=1e-9)
    # Buying and selling mirror, the response is odd and rises, and the inverse undoes it.
    assert rule.average(v, 0, -z0, -z1) == pytest.approx(-whole, rel=1e-12, abs=1e-15)
    assert rule.response(v, 0, 0.0) == 0.0  # the engine does not ask where nothing was traded
    assert rule.response(v, 0, -z0) == -rule.response(v, 0, z0)
    assert (rule.response(v, 0, z1) - rule.response(v, 0, z0)) * (z1 - z0) > 0.0
    assert rule.inverse(v, 0, rule.response(v, 0, z0)) == pytest.approx(z0, rel=1e-12, abs=1e-300)


@given(flows, flows, st.floats(0.0, 1.0))
def test_linear_impact_average_is_the_mean_response_however_split(z0, z1, split):
    check_impact(linear_impact, rested(impact=("linear_impact", ())), z0, z1, split)


@given(flows, flows, st.floats(0.0, 1.0))
def test_square_root_impact_average_is_the_mean_response_however_split(z0, z1, split):
    check_impact(square_root_impact, rested(impact=("square_root_impact", ())), z0, z1, split)


# ---------------------------------------------------------------------------- oracle and mark


@st.composite
def feeds(draw):
    beat = draw(st.sampled_from([0, 1, 2, 5]))
    return {
        "delay": draw(st.sampled_from([0, 1, 2, 6])),
        "beat": beat,
        "phase": draw(st.integers(0, beat - 1)) if beat else 0,
        "threshold": draw(st.sampled_from([None, 0.02, 0.2])) if beat else None,
    }


@given(st.data(), walks, feeds())
def test_external_feed_publishes_by_delay_heartbeat_and_deviation_and_never_looks_ahead(data, world, feed):
    silent = data.draw(flags(st.sampled_from([0, 0, 0, 1]), len(world)))
    protocol = protocol_of(
        oracle={
            "rule": "external_feed",
            "oracle_delay": f"{feed['delay'] * 60}s",
            "heartbeat": f"{feed['beat'] * 60}s",
            "heartbeat_phase": f"{feed['phase'] * 60}s",
            "deviation_threshold": feed["threshold"],
        }
    )
    outage = np.array(silent, np.uint8).reshape(1, -1, 1)
    seen = trace_one(protocol, FLAT, one_market_paths(world, oracle_outage=outage))["oracle_price"]
    published = world[0]
    for t in range(len(world)):
        source = max(0, t - feed["delay"])
        on_beat = feed["beat"] == 0 or source in range(feed["phase"] - 5 * feed["beat"], len(world), feed["beat"])
        deviates = feed["threshold"] is not None and abs(world[source] / published - 1.0) >= feed["threshold"]
        if not silent[source] and (on_beat or deviates):
            published = world[source]
        assert seen[t] == published
        assert seen[t] in world[: source + 1]


@given(st.data(), walks)
def test_oracle_mark_is_the_oracle_unless_it_may_not_move(data, world):
    blocked = data.draw(flags(st.sampled_from([0, 0, ACTIONS["mark_update"], ACTIONS["liquidate"]]), len(world)))
    trace = trace_one(
        protocol_of(), FLAT, one_market_paths(world, venue_outage=np.array([blocked], np.uint8), premium=0.01)
    )
    last = world[0]
    for t, mask in enumerate(blocked):
        last = last if mask == ACTIONS["mark_update"] else trace["oracle_price"][t]
        assert trace["mark_price"][t] == last


@given(st.data(), walks, st.sampled_from([20.0, 150.0, 3000.0]))
def test_median_of_three_mark_lies_between_its_components_and_is_their_median(data, world, tau):
    premium = data.draw(flags(st.sampled_from([-0.03, 0.0, 0.001, 0.02]), len(world)))
    external = data.draw(flags(st.sampled_from([-0.03, 0.0, 0.001, 0.02]), len(world)))
    mark = {"rule": "median_of_three_mark", "premium_ema": f"{tau:g}s"}
    trace = trace_one(
        protocol_of(mark=mark),
        FLAT,
        one_market_paths(world, premium=premium, external_premium=np.array(external).reshape(1, -1, 1)),
    )
    world, mid, perpetual = np.array(world), trace["venue_mid"], np.array(world) * (1 + np.array(external))
    for t in range(len(world)):
        weight = np.exp(-STEP * np.arange(t, -1, -1) / tau)
        average = np.sum(weight * (mid - world)[: t + 1]) / np.sum(weight)
        components = [world[t] + average, mid[t], perpetual[t]]
        assert trace["mark_price"][t] == pytest.approx(np.median(components), rel=1e-12)
        assert min(components) * (1 - 1e-12) <= trace["mark_price"][t] <= max(components) * (1 + 1e-12)


# --------------------------------------------------------------------------- funding, breakers


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=14),
    st.integers(1, 4),
    st.floats(-0.001, 0.001),
    st.floats(0.0, 0.01),
    st.floats(1e-5, 0.01),
)
def test_premium_clamp_funding_index_is_the_capped_sum_of_its_intervals(premium, every, interest, clamp, cap):
    def index(sign):
        funding = {
            "rule": "premium_clamp_funding",
            "interest": sign * interest,
            "funding_clamp": clamp,
            "funding_period": "1h",
            "funding_interval": f"{every * 60}s",
            "funding_cap": cap,
        }
        signed = [sign * p for p in premium]
        venue, _ = run_one(protocol_of(funding=funding), FLAT, one_market_paths([100.0] * len(premium), premium=signed))
        return venue.markets[0]["funding_index"]

    expected = 0.0
    boundaries = range(every, len(premium), every)
    for t in boundaries:
        mean = np.mean(premium[t - every + 1 : t + 1])
        quoted = mean + np.clip(interest - mean, -clamp, clamp)
        expected += 100.0 * np.clip(quoted * every / 60, -cap, cap)
    assert index(1.0) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert abs(index(1.0)) <= 100.0 * cap * len(boundaries) * (1 + 1e-12)
    assert index(-1.0) == pytest.approx(-index(1.0), rel=1e-9, abs=1e-12)  # longs and shorts mirror


def check_halts(trip, v, hold, actions, pause):
    """Compare with the rule in words: late actions stop at once, early ones in the step after."""
    v.markets[0]["halted_until"] = 0
    for t, holds in enumerate(hold):
        for name, position in zip(ACTIONS, range(len(ACTIONS)), strict=True):
            early = name in SEEN_BEFORE_BREAKERS
            if early:  # asked before the breaker looks at step t
                since = [s for s in range(t) if hold[s] and t <= s + 1 + pause]
                assert (v.markets[0]["halted_until"][position] > t) == (name in actions and bool(since))
        trip(t, holds)
        for position, name in enumerate(ACTIONS):
            if name not in SEEN_BEFORE_BREAKERS:
                since = [s for s in range(t + 1) if hold[s] and t <= s + pause]
                assert (v.markets[0]["halted_until"][position] > t) == (name in actions and bool(since))


actions = st.sets(st.sampled_from(sorted(ACTIONS)), min_size=1)


@given(st.lists(st.booleans(), min_size=1, max_size=12), actions, pauses, st.sampled_from([0.02, 0.1]))
def test_divergence_breaker_stops_what_it_names_and_for_its_pause(hold, named, pause, limit):
    values = (
        ("divergence_limit", limit),
        ("divergence_pause", f"{60 * pause}s"),
        ("divergence_blocks", tuple(sorted(named))),
    )
    v = rested(breakers=("divergence_breaker", values))

    def trip(t, holds):
        v.markets[0]["oracle"] = 100.0
        v.markets[0]["mid"] = 100.0 * (1 + (limit * 1.01 if t % 2 else -limit * 1.01) if holds else 1 + limit * 0.99)
        divergence_breaker.trip(v, None, t)

    check_halts(trip, v, hold, named, pause)


@given(
    st.lists(st.booleans(), min_size=1, max_size=12),
    actions.map(lambda names: names - {"oracle_update"}).filter(bool),
    pauses,
    st.sampled_from([60, 150]),
)
def test_staleness_breaker_stops_what_it_names_and_for_its_pause(hold, named, pause, limit):
    values = (
        ("staleness_limit", f"{limit}s"),
        ("staleness_pause", f"{60 * pause}s"),
        ("staleness_blocks", tuple(sorted(named))),
    )
    v = rested(breakers=("staleness_breaker", values))

    def trip(t, holds):
        v.markets[0]["oracle_step"] = t - (limit // 60 + 1 if holds else limit // 60)
        staleness_breaker.trip(v, None, t)

    check_halts(trip, v, hold, named, pause)


# ----------------------------------------------------------------------------- margin, trigger


@st.composite
def tier_tables(draw):
    count = draw(st.integers(1, tiered_margin.MAX_TIERS))
    above = [0.0, *sorted(draw(st.lists(st.integers(1, 10_000), min_size=count - 1, max_size=count - 1, unique=True)))]
    caps = sorted(draw(st.lists(st.integers(1, 100), min_size=count, max_size=count)), reverse=True)
    table, floor = [], 0.0
    for bound, cap in zip(above, caps, strict=True):
        ratio = max(draw(st.sampled_from([0.2, 0.5, 0.9])), floor * cap * (1.0 + 1e-15))  # maintenance fractions rise
        floor = ratio / cap
        table.append((("above", bound), ("leverage_cap", cap), ("maintenance_to_initial_ratio", ratio)))
    return tuple(table)


@given(tier_tables(), st.lists(st.floats(0.0, 20_000.0), min_size=2, max_size=8), sides)
def test_tiered_margin_is_the_sum_of_its_parts_continuous_and_rising_and_below_initial(table, notionals, side):
    tiers = [dict(tier) for tier in table]
    margin = {"rule": "tiered_margin", "markets": {"X": tiers}}
    v = at_rest(protocol_of(margin=margin), FLAT, [100.0], steps=0)
    ends = [tier["above"] for tier in tiers[1:]] + [math.inf]
    points = sorted([*notionals, *ends[:-1]])
    required = []
    for notional in points:
        parts = [max(0.0, min(notional, end) - tier["above"]) for tier, end in zip(tiers, ends, strict=True)]
        maintain = tiered_margin.maintenance(v, 0, side * notional / 100.0, 100.0)
        open_with = tiered_margin.initial(v, 0, side * notional / 100.0, 100.0)
        rates = [1.0 / tier["leverage_cap"] for tier in tiers]
        assert open_with == pytest.approx(sum(p * i for p, i in zip(parts, rates, strict=True)), rel=1e-9, abs=1e-9)
        shares = [i * tier["maintenance_to_initial_ratio"] for i, tier in zip(rates, tiers, strict=True)]
        assert maintain == pytest.approx(sum(p * m for p, m in zip(parts, shares, strict=True)), rel=1e-9, abs=1e-9)
        assert maintain < open_with or notional == 0.0 or notional < 1e-300
        required.append(maintain)
        # The bound over a range of prices is the requirement at its worst.
        inside = tiered_margin.maintenance(v, 0, side * notional / 100.0, 80.0)
        assert inside <= maintain == tiered_margin.bound(v, 0, side * notional / 100.0, 60.0, 100.0)
    steepest = max(1.0 / tier["leverage_cap"] for tier in tiers)
    for (n0, n1), (m0, m1) in zip(itertools.pairwise(points), itertools.pairwise(required), strict=True):
        assert -1e-9 <= m1 - m0 <= steepest * (n1 - n0) + 1e-9  # rises, and nowhere by a jump


@given(st.lists(st.sampled_from([-5.0, 4.0, 9.999, 10.0, 11.0]), min_size=1, max_size=15), st.integers(0, 4))
def test_strict_trigger_is_due_after_an_unbroken_breach_of_the_latency(equities, latency):
    v = rested(trigger=("strict_trigger", (("keeper_latency", f"{60 * latency}s"),)))
    v.accounts[0]["breached_since"] = -1
    breached = 0
    for t, value in enumerate(equities):
        breached = breached + 1 if value < 10.0 else 0
        for _ in range(2):  # asked again in a later round of the step: the same answer
            assert strict_trigger.flag(v, 0, value, 10.0, t)[0] == (breached > latency)
    assert not strict_trigger.flag(v, 0, -1.0, 0.0, len(equities))[0]  # nothing required, nothing due


# ---------------------------------------------------------------------------------------- size


@given(st.floats(1e-6, 1e6), sides)
def test_full_size_closes_what_is_open(size, side):
    v = rested(10.0)
    v.rows[0]["size"] = side * size
    assert full_size.quantity(v, 0, 0, 0.0, 1.0, 0.0, 1, tiered_margin.maintenance, None) == size


@given(
    st.floats(1.0, 1e4),
    sides,
    st.sampled_from([0.1, 0.2, 1.0]),
    st.sampled_from([0.0, 1e3, 1e5]),
    st.integers(0, 3),
    st.sampled_from(["full", "wait"]),
)
def test_fraction_with_cooldown_closes_a_part_once_and_ends_flat_or_small(size, side, part, bound, cooldown, during):
    values = (
        ("fraction", part),
        ("full_below", bound),
        ("cooldown", f"{60 * cooldown}s"),
        ("during_cooldown", during),
    )
    v = _fraction_venue(values)
    account, row = v.accounts[0], v.rows[0]
    account["cooldown_until"] = account["cooldown_round"] = -1
    row["size"], left = side * size, size
    v.markets[0]["mark"] = 100.0
    until = -1
    for t in range(1, 30):
        v.venue[0]["round"] = float(t)
        quantity = fraction_with_cooldown.quantity(v, 0, 0, 0.0, 1.0, 0.0, t, tiered_margin.maintenance, None)
        if t < until:
            assert quantity == (left if during == "full" else 0.0)
        else:
            assert quantity == pytest.approx(part * left if left * 100.0 > bound else left)
        assert 0.0 <= quantity <= left
        if quantity > 0.0:
            left = left - quantity if quantity < left else 0.0
            row["size"] = side * left
            fraction_with_cooldown.on_fill(v, 0, 0, quantity, 100.0, t)
            until = t + cooldown if left > 0.0 and until <= t else until
            assert account["cooldown_until"] == until
        if left == 0.0:
            break


@functools.cache
def _fraction_venue(values):
    size = {"rule": "fraction_with_cooldown", **dict(values)}
    return at_rest(protocol_of(size=size), one_market_book([1e9], [10.0], [100.0]), [100.0], steps=40)


@functools.cache
def _cover_venue(target, fee):
    tiers = [
        {"above": 0, "leverage_cap": 25, "maintenance_to_initial_ratio": 0.5},
        {"above": 1500, "leverage_cap": 10, "maintenance_to_initial_ratio": 0.5},
        {"above": 6000, "leverage_cap": 5, "maintenance_to_initial_ratio": 0.8},
    ]
    return at_rest(
        protocol_of(
            margin={"rule": "tiered_margin", "markets": {"X": tiers}},
            size={"rule": "cover_shortage", "target_ratio": target},
            fees={"rule": "liquidation_fee", "liquidation_fee": fee},
        ),
        one_market_book([1e9], [10.0], [100.0]),
        [100.0],
        steps=0,
    )


@given(
    st.floats(1.0, 200.0),
    sides,
    prices,
    st.floats(0.0, 0.999),
    st.floats(0.0, 50.0),
    st.sampled_from([1.0, 1.25, 2.0]),
    st.sampled_from([0.0, 0.001, 0.01]),
)
def test_cover_shortage_restores_its_target_with_the_smallest_fill(size, side, price, ratio, others, target, fee):
    v = _cover_venue(target, fee)
    v.rows[0]["size"], v.markets[0]["mark"] = side * size, price
    own = tiered_margin.maintenance(v, 0, size, price)
    requirement = own + others
    equity = ratio * requirement
    bankruptcy = price - side * equity * own / requirement / size
    closed = cover_shortage.quantity(
        v, 0, 0, equity, requirement, bankruptcy, 1, tiered_margin.maintenance, liquidation_fee.fee
    )

    def missing(q):
        paid = max(0.0, min(fee * q * price, q * side * (price - bankruptcy)))
        return target * (others + tiered_margin.maintenance(v, 0, size - q, price)) - (equity - paid)

    assert 0.0 < closed <= size
    if missing(size) > 1e-9 * requirement:
        assert closed == size  # no fill of this position is enough
    else:
        assert missing(closed) <= 1e-9 * requirement
        assert missing(closed * (1 - 1e-6)) >= -1e-9 * requirement  # I10: and none smaller
        if closed < size:
            assert missing(closed) == pytest.approx(0.0, abs=1e-8 * requirement)


# ----------------------------------------------------------------------------- execution, fees


@functools.cache
def _book_venue(rule, cap, additive, fill, side):
    impact = {"rule": rule, "impact_max": 0.6, "slippage_cap": cap, "additive": additive, "permanent": 1.0}
    return at_rest(
        protocol_of(impact=impact, execution=[{"rule": "order_book", "deficit_fill": fill}]),
        one_market_book([1e9], [side * 1e5], [100.0]),
        [100.0],
        steps=0,
    )


@given(
    st.sampled_from([linear_impact, square_root_impact]),
    st.sampled_from([None, 0.01, 0.1]),
    st.booleans(),
    sides,
    st.floats(-20.0, 20.0),
    st.floats(1.0, 1e4),
    st.floats(1.0, 1e4),
    st.floats(-500.0, 500.0),
    st.sampled_from([0.0, 10.0, 1e3]),
    st.floats(-5.0, 5.0),
)
def test_order_book_stops_at_its_end_at_its_cap_and_where_cover_ends(
    rule, cap, additive, side, flow, depth, quantity, equity, cover, ahead
):
    v = _book_venue(rule.__name__.rpartition(".")[2], cap, additive, "covered", side)
    state = v.markets[0]
    state["depth"], state["permanent_flow"], state["flow"] = depth, flow, 0.0

    def price_at(z):
        g = rule.response(v, 0, z)
        return 100.0 * (1 + g) if not additive else 100.0 + 100.0 * g

    mid = state["mid"] = price_at(flow)
    state["mark"] = 100.0 + ahead
    bankruptcy = state["mark"] - side * equity / 1e5
    filled, price, _, limit = order_book.execute(
        v, 0, 0, quantity, bankruptcy, equity, 1.0, cover, 0, rule.response, rule.average, rule.inverse, None
    )
    moved = state["permanent_flow"] - flow
    assert 0.0 <= filled <= quantity
    assert moved == pytest.approx(-side * filled / depth, rel=1e-9, abs=1e-12)
    if filled == 0.0:
        assert limit != NO_LIMIT
        return
    last = price_at(flow + moved)
    assert min(mid, last) - 1e-9 <= price <= max(mid, last) + 1e-9
    worst = [100.0 * (1 - side * 0.6)] + ([mid * (1 - side * cap)] if cap else [])
    reach = max(worst) if side > 0 else min(worst)
    assert side * (last - reach) >= -1e-6
    assert loss_beyond_margin(v, 0, filled, price, equity, bankruptcy) <= cover + 1e-9 * filled
    if limit == NO_LIMIT:
        assert filled == quantity
    elif limit == CAP:
        assert last == pytest.approx(reach, rel=1e-6)
    else:  # a little more would not have been covered
        more = filled * (1 + 1e-6) + 1e-9
        dearer = 100.0 + 100.0 * rule.average(v, 0, flow, flow - side * more / depth)
        assert loss_beyond_margin(v, 0, more, dearer, equity, bankruptcy) > cover - 1e-6 * more


@functools.cache
def _vault_venue(takes_insolvent, limit):
    vault = {
        "rule": "backstop_vault",
        "vault_equity": 1000.0,
        "takeover_below": 0.5,
        "takes_insolvent": takes_insolvent,
        "takeover_limit": limit,
    }
    return at_rest(protocol_of(execution=[vault]), one_market_book([1e9], [10.0], [100.0]), [100.0], steps=0)


@given(
    st.floats(-300.0, 300.0),
    st.floats(1.0, 300.0),
    st.floats(-100.0, 3000.0),
    st.floats(0.1, 100.0),
    sides,
    st.booleans(),
    st.sampled_from([0.5, 2.0, 50.0]),
)
def test_backstop_vault_takes_all_or_nothing_and_only_what_it_may(
    equity, requirement, own, size, side, insolvent, limit
):
    v = _vault_venue(insolvent, limit)
    v.rows[0]["size"], v.markets[0]["mark"] = side * size, 100.0
    v.accounts[v.traders + VAULT]["cash"] = own
    bankruptcy = 100.0 - side * equity / size
    filled, price, counterparty, reason = backstop_vault.execute(
        v, 0, 0, size / 3, bankruptcy, equity, requirement, 0.0, 1, None, None, None, None
    )
    assume(not math.isclose(size * 100.0, limit * own))
    may = equity < 0.5 * requirement and (insolvent or equity >= -QUANTUM) and own > 0.0 and size * 100.0 < limit * own
    assert (filled, price, counterparty) == ((size, bankruptcy, VAULT) if may else (0.0, 0.0, VAULT))
    assert (reason == NO_LIMIT) == may
    v.markets[0]["depth"] = own + 200.0
    assert backstop_vault.unwind(v, 0, 1) == min(size, 0.1 * (own + 200.0))


@given(st.floats(1e-3, 10.0), prices, prices, sides, st.sampled_from([0.0, 0.005, 0.05]), st.floats(0.01, 1.0))
def test_liquidation_fee_never_exceeds_rate_or_surplus_and_is_proportional(filled, price, bankruptcy, side, rate, part):
    v = rested(10.0, fees=("liquidation_fee", (("liquidation_fee", rate),)))
    v.rows[0]["size"] = side * 10.0
    charged = liquidation_fee.fee(v, 0, filled, price, bankruptcy, 0.0, 0.0, None)[0]
    surplus = filled * side * (price - bankruptcy)
    assert 0.0 <= charged <= max(0.0, surplus)
    assert charged <= rate * filled * price
    assert charged in (0.0, surplus, rate * filled * price)
    assert liquidation_fee.fee(v, 0, part * filled, price, bankruptcy, 0.0, 0.0, None)[0] == pytest.approx(
        part * charged, abs=1e-12
    )


# ----------------------------------------------------------------------------------- waterfall


@given(st.lists(st.integers(0, 700), min_size=1, max_size=4), st.integers(0, 1500))
def test_insurance_fund_pays_claims_up_to_its_balance_and_no_further(cash, fund):
    # Longs of 100 at 100 fall to 92: whoever brought less than 800 owes the difference.
    book = one_market_book(cash, [100.0] * len(cash), [100.0] * len(cash), makers_equity=1e6)
    layers = [{"rule": "insurance_fund", "insurance_fund": fund}, {"rule": "socialized_loss"}]
    protocol = protocol_of(waterfall=layers, execution=[{"rule": "order_book", "deficit_fill": "any"}])
    _, out = run_one(protocol, book, one_market_paths([100.0, 92.0]))
    owed = sum(max(0.0, 800.0 - usd) for usd in cash)
    assert out["fund_paid"] == pytest.approx(min(owed, fund))
    assert out["fund_low_water"] == pytest.approx(max(0.0, fund - owed), abs=1e-9)
    assert out["fund_low_water"] >= 0.0
    assert (out["exhaustion_step"] == 1) == (owed > fund)
    assert out["socialized_loss"] == pytest.approx(max(0.0, owed - fund), abs=1e-9)
    assert out["peak_uncovered_loss"] <= owed * (1 + 1e-12)
    assert (out["peak_uncovered_loss"] > fund) == (owed > fund)  # a fund of this size just survives
    if owed <= fund:
        assert out["peak_uncovered_loss"] == pytest.approx(owed)


@st.composite
def bankrupt_longs_against_shorts(draw):
    """One bankrupt long of 40 at 92, and one to five solvent shorts; also the sizes and entries of the shorts."""
    shorts = draw(
        st.lists(
            st.tuples(st.integers(1, 40), st.sampled_from([90.0, 100.0, 120.0]), st.floats(2.0, 20.0)),
            min_size=1,
            max_size=5,
        )
    )
    sizes = [float(size) for size, _, _ in shorts]
    entries = [entry for _, entry, _ in shorts]
    cash = [size * 100.0 / leverage + size * 10.0 for size, _, leverage in shorts]
    total = sum(sizes)
    long_rich = max(0.0, total - 40.0)  # somebody else holds the other side
    book = one_market_book(
        [200.0, *cash, 1e9],
        [40.0, *[-size for size in sizes], long_rich + 1.0],
        [100.0, *entries, 100.0],
        makers_equity=1e9,
    )
    return book, sizes, entries, cash


def deleverage(book, rule):
    layers = [{"rule": rule, "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    return run_one(protocol_of(waterfall=layers), book, one_market_paths([100.0, 92.0], depth=0.0))


@given(bankrupt_longs_against_shorts())
def test_adl_pro_rata_takes_the_same_share_of_every_winner(given_book):
    book, sizes, _, _ = given_book
    venue, out = deleverage(book, "adl_pro_rata")
    makers = -float(sum(book.size))
    winners = [*sizes, -makers] if makers < 0.0 else sizes
    names = [f"A{a}" for a in range(1, 1 + len(sizes))] + ["market_makers"] * (makers < 0.0)
    share = min(1.0, 40.0 / sum(winners))
    for name, size in zip(names, winners, strict=True):
        assert -row_of(venue, name)[0] == pytest.approx(size * (1 - share), rel=1e-9, abs=1e-9)
    assert row_of(venue, "A0")[0] == pytest.approx(max(0.0, 40.0 - sum(winners)), abs=1e-9)
    assert out["adl_shortfall"] == pytest.approx(out["adl_loss"])
    assert out["violation"] == 0


@given(bankrupt_longs_against_shorts())
def test_adl_profit_leverage_closes_the_highest_index_first(given_book):
    book, sizes, entries, cash = given_book
    venue, out = deleverage(book, "adl_profit_leverage")
    makers = -float(sum(book.size))
    ranked = []
    for a, (size, entry, usd) in enumerate(zip(sizes, entries, cash, strict=True)):
        ranked.append((entry / 92.0 * size * 92.0 / (usd + size * (entry - 92.0)), size, f"A{a + 1}"))
    if makers < 0.0:
        ranked.append((100.0 / 92.0 * -makers * 92.0 / (1e9 - makers * 8.0), -makers, "market_makers"))
    indices = sorted(index for index, *_ in ranked)
    assume(all(high - low > 1e-9 * high for low, high in itertools.pairwise(indices)))  # ties: see the unit test
    rest = 40.0
    for _, size, name in sorted(ranked, reverse=True):
        taken = min(size, rest)
        rest -= taken
        assert -row_of(venue, name)[0] == pytest.approx(size - taken, abs=1e-9)
    assert row_of(venue, "A0")[0] == pytest.approx(rest, abs=1e-9)
    assert out["violation"] == 0


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.integers(0, 20_000), st.sampled_from([60.0, 92.0]))
def test_socialized_loss_is_the_same_share_of_everyones_equity_and_leaves_nobody_below_zero(cash, makers, price):
    # A0 owes what 100 contracts lose beyond 500; the others are short 5 each with a little cash.
    book = one_market_book(
        [500.0, *[float(usd) + 100.0 for usd in cash]], [100.0] + [-5.0] * len(cash), [100.0] * (1 + len(cash)), makers
    )
    protocol = protocol_of(
        waterfall=[{"rule": "socialized_loss"}], execution=[{"rule": "order_book", "deficit_fill": "any"}]
    )
    venue, out = run_one(protocol, book, one_market_paths([100.0, price]))
    drop = 100.0 - price
    owed = 100.0 * drop - 500.0
    wealth = [usd + 100.0 + 5.0 * drop for usd in cash] + [makers + (100.0 - 5.0 * len(cash)) * drop]
    share = min(1.0, owed / sum(wealth))
    holders = [*range(1, 1 + len(cash)), venue.traders + MARKET_MAKERS]
    for a, usd in zip(holders, wealth, strict=True):
        assert equity_of(venue, a) == pytest.approx(usd * (1 - share), rel=1e-9, abs=1e-7)
        assert equity_of(venue, a) >= -1e-9
    assert out["socialized_loss"] == pytest.approx(min(owed, sum(wealth)))
    assert out["mutualised_loss"] == pytest.approx(owed)
    assert assess(venue, 0, tiered_margin.maintenance)[1] == 0.0
