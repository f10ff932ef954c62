"""Every bound of the shelf is conservative: who is cleared in a box of prices is flagged at none in it. Kernels interpreted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stress import engine
from stress.kernels import culling
from stress.kernels.venue import HIGHEST, QUANTUM, WORST
from stress.mechanisms import shelf
from stress.stages import Stage
from tests.property.compositions import blocks, books, protocols, rules
from tests.property.test_collateral_invariants import held, three
from tests.property.test_invariants import played
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted

BOUNDED = sorted(name for name, mechanism in shelf().items() if mechanism.bound is not None)
BOUND_STAGES = (Stage.MARGIN, Stage.MARGIN_MODIFIERS, Stage.COLLATERAL, Stage.TRIGGER)
shares = st.sampled_from([0.0, 0.0005, 0.01, 0.1, 0.5])


@st.composite
def used(draw, name):
    """A venue of a random composition with the rule, in a state that a random path left it in."""
    stage = shelf()[name].stage
    rule = draw(rules(name))
    listed = stage in (Stage.MARGIN_MODIFIERS, Stage.COLLATERAL)
    protocol = draw(protocols(**{stage.value: [rule] if listed else rule}))
    book, block = (held(), three()) if stage is Stage.COLLATERAL else (books(), blocks())
    return protocol, played(protocol, draw(book), draw(block))[1]


def _mark(v, prices, accrued):
    for m, price in enumerate(prices):
        v.markets[m]["mark"] = price
        for name, index in accrued[m].items():
            v.markets[m][name] = price - index


def check_cleared(protocol, v, boxes):
    """Lay a box `boxes` (below, above: shares of each mark) and ask everybody; return how many it cleared."""
    chosen = [mechanism for mechanism, _ in protocol.rules()]
    ceiling, trigger = engine.ceiling(chosen), next(rule for rule in chosen if rule.stage is Stage.TRIGGER)
    assessed = engine.assessment(chosen, engine.requirement(chosen, "maintenance"))
    pending = trigger.pending or (lambda v, a: False)
    accrued = [{n: float(market["mark"] - market[n]) for n in ("net_mark", "short_net_mark")} for market in v.markets]
    ranges = []
    for m, (below, above) in enumerate(boxes):
        mark = float(v.markets[m]["mark"])
        ranges.append((mark * (1.0 - below), mark * (1.0 + above)))
        culling.set_range(v, m, 0, *ranges[m])
        v.opening[m]["low"], v.opening[m]["high"] = mark * (1.0 - 1.2 * below), mark * (1.0 + 1.2 * above)
    places = range(v.traders)
    for a in places:
        culling.enter(v, 0, a, a, ceiling)
    culling.sum_worst(v, 0, v.traders)
    cleared = 0
    for a in places:
        worst, highest = v.entries[0, WORST, a], v.entries[0, HIGHEST, a]
        entered = worst >= 0.0 and trigger.bound(v, a, worst, highest)
        if pending(v, a) or not (entered or culling.is_safe(v, a, 0, ceiling, trigger.bound)):
            continue
        cleared += 1
        middle = tuple(0.5 * (low + high) for low, high in ranges)
        for prices in [*itertools.product(*ranges), middle]:
            _mark(v, prices, accrued)
            value, asked, _ = assessed(v, a)
            due, _ = trigger.kernels["flag"](v, a, value, asked, v.venue[0]["step"])
            assert value >= -QUANTUM, (a, prices)
            assert not due, (a, prices)
            assert not pending(v, a), (a, prices)
    return cleared


@pytest.mark.parametrize("name", BOUNDED)
@given(data=st.data())
def test_who_is_cleared_in_a_box_is_flagged_nowhere_in_it(name, data):
    protocol, v = data.draw(used(name))
    chosen = [mechanism for mechanism, _ in protocol.rules()]
    assume(engine.ceiling(chosen) is not None)
    check_cleared(protocol, v, data.draw(st.lists(st.tuples(shares, shares), min_size=3, max_size=3))[: len(v.markets)])


def test_whoever_has_no_bound_is_known():
    """A rule without a bound makes its venue's engine look at all: none that a preset uses."""
    without = {
        name
        for name, rule in shelf().items()
        if rule.bound is None
        and rule.stage in BOUND_STAGES
        and (rule.stage is not Stage.MARGIN_MODIFIERS or "maintenance" in rule.kernels)
        and (rule.stage is not Stage.COLLATERAL or "maintenance" in rule.kernels)
    }
    assert without == set()


@pytest.mark.parametrize("name", ["flat_margin", "strict_trigger"])
def test_power_a_bound_that_clears_too_many_is_noticed(name, monkeypatch):
    """20x, equity 6 % of notional: cleared while the price falls by 1 %, by a broken bound also by 10 %."""
    rates = {"markets": {"default": {"leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}}}
    protocol = protocol_of(margin={"rule": "flat_margin"} | rates)
    v = at_rest(protocol, one_market_book([6.0], [1.0], [100.0]), [100.0])
    assert check_cleared(protocol, v, [(0.005, 0.005)]) == 1
    assert check_cleared(protocol, v, [(0.1, 0.005)]) == 0
    broken = {
        "flat_margin": lambda v, m, size, low, high: 0.0,
        "strict_trigger": lambda v, a, equity, requirement: True,
    }
    monkeypatch.setitem(shelf(), name, replace(shelf()[name], bound=broken[name]))
    with pytest.raises(AssertionError):
        check_cleared(protocol, v, [(0.055, 0.005)])
