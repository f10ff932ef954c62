"""External feed: delay, heartbeat and its phase, deviation threshold, outages. Step 60 s throughout."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.errors import StudyError
from stress.kernels.venue import LIQUIDATE, ORACLE_UPDATE
from stress.mechanisms.external_feed import ExternalFeed
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

FLAT = one_market_book([1e6], [1e-9], [100.0])
WORLD = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0]


def oracle_of(world=WORLD, *, outage=0, venue_outage=0, book=FLAT, **feed):
    protocol = protocol_of(oracle={"rule": "external_feed", **feed})
    paths = one_market_paths(world, depth=100.0, oracle_outage=outage, venue_outage=venue_outage)
    return trace_one(protocol, book, paths)["oracle_price"].tolist()


def flags(*steps, value=1):
    column = np.zeros(len(WORLD), np.uint8)
    column[list(steps)] = value
    return column


def outage(*steps):
    return flags(*steps).reshape(1, -1, 1)


def test_no_delay_is_the_price_itself():
    assert oracle_of(oracle_delay="0s") == WORLD


def test_a_delay_shows_the_price_of_then_and_before_t0_that_of_t0():
    assert oracle_of(oracle_delay="120s") == [100.0, 100.0, 100.0, 101.0, 102.0, 103.0, 104.0]


def test_a_delay_longer_than_the_path_shows_the_first_price_throughout():
    assert oracle_of(oracle_delay="1h") == [100.0] * 7


def test_heartbeats_are_counted_from_t0():
    assert oracle_of(oracle_delay="0s", heartbeat="180s") == [100.0, 100.0, 100.0, 103.0, 103.0, 103.0, 106.0]


def test_the_phase_shifts_every_heartbeat():
    # Beats at -2, 1, 4 steps: the one before t = 0 shows the price of t = 0.
    phased = oracle_of(oracle_delay="0s", heartbeat="180s", heartbeat_phase="60s")
    assert phased == [100.0, 101.0, 101.0, 101.0, 104.0, 104.0, 104.0]


def test_a_heartbeat_beats_at_the_source_and_arrives_a_delay_later():
    delayed = oracle_of(oracle_delay="60s", heartbeat="180s")
    assert delayed == [100.0, 100.0, 100.0, 100.0, 103.0, 103.0, 103.0]


def test_a_deviation_publishes_between_heartbeats_and_counts_from_the_last_publication():
    # 0.5 exactly: |150 / 100 - 1| and |75 / 150 - 1| meet the threshold, |140 / 100 - 1| does not.
    world = [100.0, 140.0, 150.0, 140.0, 75.0, 75.0, 76.0]
    seen = oracle_of(world, oracle_delay="0s", heartbeat="1h", deviation_threshold=0.5)
    assert seen == [100.0, 100.0, 150.0, 150.0, 75.0, 75.0, 75.0]


def test_a_source_outage_swallows_publications_by_the_time_of_the_source():
    assert oracle_of(oracle_delay="0s", outage=outage(2, 3)) == [100.0, 101.0, 101.0, 101.0, 104.0, 105.0, 106.0]
    assert oracle_of(oracle_delay="60s", outage=outage(2, 3)) == [100.0, 100.0, 101.0, 101.0, 101.0, 104.0, 105.0]


def test_a_heartbeat_lost_in_an_outage_is_not_caught_up():
    seen = oracle_of(oracle_delay="0s", heartbeat="180s", outage=outage(3))
    assert seen == [100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 106.0]


def test_a_venue_that_takes_no_updates_keeps_the_last_by_the_time_of_the_venue():
    blocked = flags(2, 3, value=ORACLE_UPDATE).reshape(1, -1)
    assert oracle_of(oracle_delay="60s", venue_outage=blocked) == [100.0, 100.0, 100.0, 100.0, 103.0, 104.0, 105.0]
    other = flags(2, 3, value=LIQUIDATE).reshape(1, -1)
    assert oracle_of(oracle_delay="0s", venue_outage=other) == WORLD


def test_a_breaker_stops_the_update_of_the_next_step_and_no_other():
    # V is 30 % off in step 1; the breaker sees it after the update of step 1, so that of step 2 is lost.
    breaker = {"rule": "divergence_breaker", "divergence_limit": 0.25, "divergence_blocks": ["oracle_update"]}
    paths = one_market_paths(WORLD, premium=[0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    trace = trace_one(protocol_of(breakers=[breaker]), FLAT, paths)
    assert trace["oracle_price"].tolist() == [100.0, 101.0, 101.0, 103.0, 104.0, 105.0, 106.0]


def test_the_step_of_the_observation_is_kept():
    protocol = protocol_of(oracle={"rule": "external_feed", "oracle_delay": "60s", "heartbeat": "180s"})
    venue, _ = run_one(protocol, FLAT, one_market_paths(WORLD))
    assert venue.markets[0]["oracle_step"] == 3  # at step 6: beats at 0, 3, 6 and one step of delay


@pytest.mark.parametrize(
    ("feed", "read_again"),
    [
        ({"oracle_delay": "0s"}, True),
        ({"oracle_delay": "0s", "heartbeat": "60s"}, False),
        ({"oracle_delay": "60s"}, False),
    ],
)
def test_only_a_source_without_delay_and_heartbeat_is_read_again_in_a_round(feed, read_again):
    # Long 10 at 100 with cash 40 falls below its requirement at 96.5; depth 100, all impact is carried
    # outside (pi = 1): the source falls to 96.5 x 0.999 after the first round of the step.
    protocol = protocol_of(
        impact={"rule": "linear_impact", "arbitrage_share": 1.0, "permanent": 1.0},
        oracle={"rule": "external_feed", **feed},
    )
    paths = one_market_paths([100.0, 96.5, 96.5], depth=[100.0] * 3)
    trace = trace_one(protocol, one_market_book([40.0], [10.0], [100.0]), paths)
    filled = 2 if feed["oracle_delay"] == "60s" else 1
    assert np.flatnonzero(trace["liquidated_notional"]).tolist() == [filled]
    assert trace["oracle_price"][filled] == pytest.approx(96.5 * (0.999 if read_again else 1.0))


def test_a_delayed_source_carries_the_impact_of_its_own_step():
    # Filled in step 2 (see above). In step 3 the oracle shows step 2 at its end.
    protocol = protocol_of(
        impact={"rule": "linear_impact", "arbitrage_share": 0.5, "permanent": 1.0},
        oracle={"rule": "external_feed", "oracle_delay": "60s"},
    )
    paths = one_market_paths([100.0, 96.5, 96.5, 96.5], depth=[100.0] * 4)
    trace = trace_one(protocol, one_market_book([40.0], [10.0], [100.0]), paths)
    assert trace["oracle_price"].tolist() == pytest.approx([100.0, 100.0, 96.5, 96.5 * 0.9995])


def test_a_fixed_delay_shorter_than_the_step_takes_its_stated_value():
    feed = ExternalFeed(oracle_delay={"value": "3s", "at_step": "0s"})
    assert feed.terms("X", 60.0)["oracle_delay_steps"] == 0
    assert feed.terms("X", 1.0)["oracle_delay_steps"] == 3  # the step resolves it: the true value
    with pytest.raises(StudyError, match="whole multiple of the step") as caught:
        ExternalFeed(oracle_delay="3s").terms("X", 60.0)
    assert (caught.value.key, caught.value.value) == ("oracle_delay", "3s")
    assert "at_step" in caught.value.fix
    with pytest.raises(StudyError, match="whole multiple"):
        ExternalFeed(oracle_delay="0s", heartbeat="90s").terms("X", 60.0)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({}, "oracle_delay"),
        ({"oracle_delay": "-60s"}, "duration"),
        ({"oracle_delay": 60}, "duration"),
        ({"oracle_delay": "0s", "heartbeat_phase": "60s"}, "within one heartbeat; got 1m of 0s"),
        ({"oracle_delay": "0s", "heartbeat": "60s", "heartbeat_phase": "60s"}, "within one heartbeat"),
        ({"oracle_delay": "0s", "deviation_threshold": 0.01}, "publishes every step"),
        ({"oracle_delay": "0s", "heartbeat": "1h", "deviation_threshold": 0.0}, "greater than 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, rule):
    with pytest.raises(ValidationError, match=rule):
        ExternalFeed(**wrong)
