"""Properties of oracle and mark rules with several sources, over random walks and parameters. Kernels interpreted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress.kernels.venue import LIQUIDATE
from stress.mechanisms import price_range
from stress.peers.standing import venue_of
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

FLAT = one_market_book([1e9], [1e-9], [100.0])
walks = st.lists(st.sampled_from([-0.3, -0.05, -0.01, 0.0, 0.01, 0.05, 0.3]), min_size=1, max_size=12).map(
    lambda moves: [100.0, *(100.0 * np.exp(np.cumsum(moves))).tolist()]
)


@st.composite
def sources(draw, name):
    beat = draw(st.sampled_from([0, 1, 2, 4]))
    return {
        "name": name,
        "weight": draw(st.sampled_from([1.0, 2.0, 3.5])),
        "delay": f"{60 * draw(st.integers(0, 3))}s",
        "heartbeat": f"{60 * beat}s",
        "deviation_threshold": draw(st.sampled_from([None, 0.02])) if beat else None,
        "offset": draw(st.sampled_from([-0.05, 0.0, 0.01])),
        "noise": draw(st.sampled_from([0.0, 0.01])),
        "outage_from": "60s",
        "outage_for": f"{60 * draw(st.integers(0, 3))}s",
    }


@st.composite
def panels(draw):
    names = ["a", "b", "c", "d", "e"][: draw(st.integers(1, 5))]
    return {
        "rule": "oracle_panel",
        "sources": [draw(sources(name)) for name in names],
        "combine": draw(st.sampled_from(["median", "weighted_median"])),
        "quorum": draw(st.sampled_from([0.0, 0.5, 0.9])),
        "maximum_age": draw(st.sampled_from([None, "60s", "120s"])),
        "maximum_deviation": draw(st.sampled_from([None, 0.03])),
    }


@given(walks, panels())
def test_oracle_panel_lies_within_its_sources_and_a_majority_of_equals_decides(walk, panel):
    v, _ = run_one(protocol_of(oracle=panel), FLAT, one_market_paths(walk))
    state = v.markets[0]
    assert state["oracle_low"] <= state["oracle"] <= state["oracle_high"]
    assert state["oracle_step"] <= len(walk) - 1
    # Three equal honest sources hold off any two.
    honest = [{"name": f"h{k}"} for k in range(3)]
    wild = [
        s | {"name": f"w{k}", "manipulation": 0.5, "manipulated_for": "1h"} for k, s in enumerate(panel["sources"][:2])
    ]
    seen = trace_one(
        protocol_of(oracle={"rule": "oracle_panel", "sources": honest + wild}), FLAT, one_market_paths(walk)
    )
    assert seen["oracle_price"].tolist() == walk


@given(walks, st.sampled_from(["twap", "ema"]), st.integers(1, 5))
def test_averaged_mark_lies_within_the_samples_of_its_window(walk, average, window):
    rule = {"rule": "averaged_mark", "average": average, "average_window": f"{60 * window}s"}
    seen = trace_one(protocol_of(mark=rule), FLAT, one_market_paths(walk))["mark_price"]
    for t, mark in enumerate(seen):
        samples = walk[max(0, t - window + 1) if average == "twap" else 0 : t + 1]
        assert min(samples) * (1.0 - 1e-12) <= mark <= max(samples) * (1.0 + 1e-12)


@given(walks, st.sampled_from(["carried", "implied"]), st.integers(1, 3), st.floats(-0.05, 0.05))
def test_fair_price_mark_is_the_oracle_where_no_payment_is_left_and_has_the_sign_of_the_last(
    walk, basis, every, premium
):
    funding = {
        "rule": "premium_clamp_funding",
        "interest": 0.0,
        "funding_clamp": 0.0,
        "funding_interval": f"{60 * every}s",
    }
    # The basis is gone one step after a payment, or two.
    mark = {"rule": "fair_price_mark", "basis": basis, "basis_interval": "120s"}
    seen = trace_one(
        protocol_of(funding=funding, mark=mark), FLAT, one_market_paths(walk, premium=[premium] * len(walk))
    )
    for t, row in enumerate(seen):
        distance = row["mark_price"] - row["oracle_price"]
        age = (t - 1) % every + 1  # since the payment before this step's own
        if t <= every or age >= 2:
            assert distance == 0.0
        else:
            assert distance * premium >= 0.0


@given(
    st.floats(1.0, 1e4),
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.5),
    st.floats(-1e3, 1e3),
    st.floats(0.0, 1e5),
    st.floats(0.0, 1.0),
)
def test_price_range_never_lowers_and_its_bound_holds(price, below, above, size, base, share):
    venue = venue_of({"X": price}, [], margin_modifiers=[{"rule": "price_range", "range_share": share}])
    assert price_range.maintenance(venue, 0, size, price, base) == base
    venue.markets[0]["oracle_low"], venue.markets[0]["oracle_high"] = price * (1.0 - below), price * (1.0 + above)
    price_range.update(venue, None, 1)
    for at in (price, 1.1 * price):
        asked = price_range.maintenance(venue, 0, size, at, base)
        assert base <= asked <= price_range.bound(venue, 0, size, price, 1.1 * price, base) * (1.0 + 1e-12)


@given(walks, st.sampled_from([1.01, 1.1, 1.5]))
def test_oracle_validity_blocks_only_while_the_limit_is_exceeded(walk, limit):
    rule = {"rule": "oracle_validity", "volatile_limit": limit, "volatile_blocks": ["liquidate"]}
    loose = {"rule": "oracle_validity", "volatile_limit": 1e6, "volatile_blocks": ["liquidate"]}
    for breaker in (rule, loose):
        v, _ = run_one(protocol_of(breakers=[breaker]), FLAT, one_market_paths(walk))
        average = v.markets[0]["validity_num"] / v.markets[0]["validity_den"]
        exceeded = max(walk[-1] / average, average / walk[-1]) > breaker["volatile_limit"]
        assert (v.markets[0]["halted_until"][1] > len(walk) - 1) == exceeded
    assert LIQUIDATE == 2  # the second action
    assert at_rest(protocol_of(breakers=[rule]), FLAT, [100.0]).markets[0]["halted_until"].tolist() == [0] * 7
