"""Several oracle sources and how they become one price. Step 60 s."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.errors import StudyError
from stress.mechanisms.oracle_panel import MOST, OraclePanel, combined
from tests.venues import at_rest, book_of, one_market_book, one_market_paths, paths_of, protocol_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

BOOK = one_market_book([1e9], [1e-9], [100.0])
RISE = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]


def seen(world, sources, **rule):
    arrays = {name: rule.pop(name) for name in ("oracle_outage", "venue_outage") if name in rule}
    oracle = {"rule": "oracle_panel", "sources": [{"name": f"s{k}"} | s for k, s in enumerate(sources)], **rule}
    found = trace_one(protocol_of(oracle=oracle), BOOK, one_market_paths(world, **arrays))
    return found["oracle_price"].tolist()


def test_the_median_of_delayed_sources():
    # Delays 0, 1 and 3 steps: the median is the middle one, one step late.
    found = seen(RISE, [{}, {"delay": "60s"}, {"delay": "180s"}])
    assert found == [100.0, 100.0, 101.0, 102.0, 103.0, 104.0]


def test_heartbeat_phase_and_deviation_of_a_source():
    slow = {"heartbeat": "180s", "heartbeat_phase": "60s"}
    assert seen(RISE, [slow]) == [100.0, 101.0, 101.0, 101.0, 104.0, 104.0]
    assert seen(RISE, [slow | {"deviation_threshold": 0.015}]) == [100.0, 101.0, 101.0, 103.0, 104.0, 104.0]


def test_offsets_are_dispersion_and_weights_decide():
    spread = [{"offset": -0.02}, {"offset": 0.0, "weight": 1.0}, {"offset": 0.04, "weight": 5.0}]
    assert seen([100.0, 100.0], spread)[1] == 100.0
    assert seen([100.0, 100.0], spread, combine="weighted_median")[1] == pytest.approx(104.0)


def test_stake_decides_between_validators_and_sources_within_one():
    sources = [
        {"offset": 0.10, "validator": "a", "weight": 3.0},
        {"offset": 0.00, "validator": "a"},
        {"offset": 0.02, "validator": "b"},
        {"offset": 0.05, "validator": "c"},
    ]
    rule = {"combine": "stake_weighted_median"}
    assert seen([100.0], sources, stakes={"a": 1.0, "b": 1.0, "c": 1.0}, **rule)[0] == pytest.approx(105.0)
    assert seen([100.0], sources, stakes={"a": 5.0, "b": 1.0, "c": 1.0}, **rule)[0] == pytest.approx(110.0)
    assert seen([100.0], sources, stakes={"a": 1.0, "b": 9.0, "c": 1.0}, **rule)[0] == pytest.approx(102.0)


def test_an_outage_of_a_source_and_what_is_too_old():
    dark = {"outage_from": "120s", "outage_for": "120s", "offset": 0.5, "weight": 9.0}
    rule = {"combine": "weighted_median", "quorum": 0.05}
    assert seen(RISE, [dark, {}], **rule) == pytest.approx([150.0, 151.5, 151.5, 151.5, 156.0, 157.5])
    assert seen(RISE, [dark, {}], maximum_age="60s", **rule) == pytest.approx(
        [150.0, 151.5, 151.5, 103.0, 156.0, 157.5]
    )


def test_below_the_quorum_the_last_value_or_the_own_mid_stands_in():
    dark = {"outage_from": "60s", "outage_for": "180s", "weight": 9.0}
    rule = {"combine": "weighted_median", "maximum_age": "60s", "quorum": 0.5}
    assert seen(RISE, [dark, {}], **rule) == [100.0, 100.0, 100.0, 100.0, 104.0, 105.0]
    assert seen(RISE, [dark, {}], fallback="own_mid", **rule) == [100.0, 100.0, 102.0, 103.0, 104.0, 105.0]


def test_a_source_far_from_the_others_is_left_out():
    sources = [{}, {}, {"offset": 0.3, "weight": 1.9}]
    assert seen([100.0], sources, combine="weighted_median")[0] == 100.0
    sources[2]["weight"] = 2.1  # a majority: it is the centre, and the others are far
    assert seen([100.0], sources, combine="weighted_median", maximum_deviation=0.1)[0] == pytest.approx(130.0)
    venue = at_rest(
        protocol_of(
            oracle={
                "rule": "oracle_panel",
                "maximum_deviation": 0.1,
                "sources": [{"name": "a"}, {"name": "b", "offset": 0.02}, {"name": "c", "offset": 0.3}],
            }
        ),
        BOOK,
        [100.0],
    )
    assert (venue.markets[0]["oracle_low"], venue.markets[0]["oracle_high"]) == pytest.approx((100.0, 102.0))
    assert combined(venue, 0, 10)[1] == pytest.approx(2.0 / 3.0)


def test_noise_has_its_size_belongs_to_source_and_step_and_not_to_chance():
    world = [100.0] * 400
    first, again = (np.log(seen(world, [{"noise": 0.01}])) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert np.std(first) == pytest.approx(0.01, rel=0.1)
    assert abs(np.mean(first) - np.log(100.0)) < 0.002
    assert len(set(first)) == 400
    assert np.std(np.log(seen(world, [{"noise": 0.01}] * 5))) < 0.007  # the median of five is quieter


def test_a_manipulated_thin_source_moves_a_panel_only_with_the_majority():
    thin = {"manipulation": 0.2, "manipulated_from": "120s", "manipulated_for": "120s"}
    assert seen([100.0] * 6, [thin]) == pytest.approx([100.0, 100.0, 120.0, 120.0, 100.0, 100.0])
    assert seen([100.0] * 6, [thin, {}, {}]) == [100.0] * 6


def test_a_manipulation_timed_to_the_heartbeat_is_as_good_and_cheaper():
    thin = {
        "heartbeat": "180s",
        "manipulation": 0.2,
        "manipulated_from": "60s",
        "manipulated_for": "180s",
        "depth_usd": 1e5,
    }
    timed = thin | {"manipulated_at": "heartbeats"}
    assert seen([100.0] * 7, [timed]) == pytest.approx([100.0] * 3 + [120.0] * 3 + [100.0])
    assert seen([100.0] * 7, [timed]) == seen([100.0] * 7, [thin])
    # 1e5 x 20 x 10 % lost once; throughout it is paid again for each of the three minutes.
    cost = {
        name: OraclePanel(sources=[{"name": "x"} | source]).manipulation_cost("x")
        for name, source in (("timed", timed), ("all", thin))
    }
    assert cost == pytest.approx({"timed": 2e5, "all": 8e5})
    (note,) = OraclePanel(sources=[{"name": "x"} | timed, {"name": "y"}]).notes()
    assert note == (
        "Oracle source x is manipulated by +20.0% from 1m for 3m, in what heartbeats publish; "
        "that costs about 200,000 USD."
    )
    with pytest.raises(ValueError, match="states no depth_usd"):
        OraclePanel(sources=[{"name": "x"}]).manipulation_cost("x")


def test_a_manipulation_timed_to_the_end_of_averaging_windows():
    # Windows of 3 min: the last minute of each, so steps 3 and 6; a mean over a window moves by a third of 30 %.
    thin = {"manipulation": 0.3, "manipulated_for": "6m", "depth_usd": 1e5, "replenished_in": "60s"}
    timed = thin | {"manipulated_at": "windows", "manipulated_window": "180s", "manipulated_last": "60s"}
    prices = seen([100.0] * 8, [timed | {"manipulated_from": "60s"}])
    assert prices == pytest.approx([100.0, 100.0, 100.0, 130.0, 100.0, 100.0, 130.0, 100.0])
    assert np.mean(prices[1:4]) == pytest.approx(110.0)
    # 1e5 x 30 x 15 % lost twice an end (one minute's depth comes back), at two ends; throughout 7 times, all alike.
    panel = OraclePanel(sources=[{"name": "x"} | timed])
    assert panel.manipulation_cost("x") == pytest.approx(2 * 2 * 4.5e5)
    assert OraclePanel(sources=[{"name": "x"} | thin]).manipulation_cost("x") == pytest.approx(7 * 4.5e5)
    assert panel.notes() == (
        "Oracle source x is manipulated by +30.0% from 0s for 6m, in the last 1m of each 3m, which moves a mean over it by "
        "+10.00%; that costs about 1,800,000 USD.",
    )


def test_a_source_prices_the_markets_that_it_names():
    sources = [{"name": "wide"}, {"name": "thin", "prices": ["X"], "manipulation": 0.4, "manipulated_for": "1h"}]
    rule = {"rule": "oracle_panel", "sources": sources, "combine": "weighted_median", "quorum": 0.0}
    book = book_of(("X", "Y"), [1e9], [[(0, 1e-9, 100.0), (1, 1e-9, 100.0)]])
    venue = run_one(protocol_of(oracle=rule), book, paths_of([[[100.0, 100.0]] * 3]))[0]
    assert venue.markets["oracle"].tolist() == pytest.approx([120.0, 100.0])
    with pytest.raises(StudyError, match="no source prices this market"):
        OraclePanel(sources=[sources[1]]).terms("Y", 60.0)


def test_after_a_halt_the_panel_restarts_late():
    halted = np.array([[0, 64, 64, 0, 0, 0]], np.uint8)
    assert seen(RISE, [{}], venue_outage=halted) == [100.0, 100.0, 100.0, 103.0, 104.0, 105.0]
    assert seen(RISE, [{}], venue_outage=halted, restart_lag="120s") == [100.0, 100.0, 100.0, 100.0, 100.0, 105.0]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"sources": [{"name": "a"}, {"name": "a"}]}, "a name of its own"),
        ({"sources": [{"name": "a"}], "combine": "stake_weighted_median"}, "`stakes` names the validators"),
        ({"sources": [{"name": "a", "deviation_threshold": 0.1}]}, "publishes every step"),
        ({"sources": [{"name": "a", "manipulated_at": "heartbeats"}]}, "needs one above 0s"),
        ({"sources": [{"name": "a", "manipulated_at": "windows"}]}, "0s < manipulated_last"),
        ({"sources": [{"name": "a", "manipulated_last": "60s", "manipulated_window": "2m"}]}, "manipulated at windows"),
        ({"sources": [{"name": str(k)} for k in range(MOST + 1)]}, "at most 8"),
        ({"sources": []}, "at least 1"),
    ],
)
def test_panels_that_make_no_sense_are_refused(rule, text):
    with pytest.raises(ValidationError, match=text):
        OraclePanel(**rule)


def test_a_delay_that_the_step_cannot_resolve_names_its_source():
    panel = OraclePanel(sources=[{"name": "fast", "delay": "90s"}])
    with pytest.raises(StudyError) as refused:
        panel.terms("X", 60.0)
    assert refused.value.key == "fast.delay"
    assert (
        OraclePanel(sources=[{"name": "f", "delay": {"value": "90s", "at_step": "60s"}}]).terms("X", 60.0)[
            "source_delay"
        ][0]
        == 1
    )
