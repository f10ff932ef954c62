"""Staleness breaker: an observation older than the limit stops actions. Step 60 s."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import ORACLE_UPDATE
from stress.mechanisms.staleness_breaker import StalenessBreaker
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

LONG = one_market_book([40.0], [10.0], [100.0])  # below its requirement at 96.5
STEPS = 10


def protocol(limit="120s", pause="0s", blocks=("liquidate",), **stages):
    rule = {"rule": "staleness_breaker", "staleness_limit": limit, "staleness_pause": pause}
    return protocol_of(breakers=[rule | {"staleness_blocks": list(blocks)}], **stages)


def first_liquidation(*, silent=(), **given):
    """Step of the first fill; the source is silent in the given steps, the price falls in the step after."""
    outage = np.zeros((1, STEPS, 1), np.uint8)
    outage[0, list(silent), 0] = 1
    fall = (min(silent) if silent else 1) - 1  # the oracle has seen the fall, then goes silent
    world = [100.0] * max(1, fall) + [96.5] * (STEPS - max(1, fall))
    return run_one(protocol(**given), LONG, one_market_paths(world, oracle_outage=outage))[1]["first_liquidation_step"]


def test_a_fresh_oracle_stops_nothing():
    assert first_liquidation() == 1


@pytest.mark.parametrize(("limit", "expected"), [("60s", 2), ("120s", 2), ("1s", 4)])
def test_the_age_must_exceed_the_limit(limit, expected):
    # Keeper latency of one step, so that the account breached in step 1 is due in step 2. The source is
    # silent in steps 2 and 3: age 60 s in step 2 (not above 60 s), 120 s in step 3, 0 in step 4.
    latency = {"rule": "strict_trigger", "keeper_latency": "60s"}
    assert first_liquidation(silent=(2, 3), limit=limit, trigger=latency) == expected


def test_the_pause_starts_when_the_oracle_is_fresh_again():
    latency = {"rule": "strict_trigger", "keeper_latency": "60s"}
    assert first_liquidation(silent=(2, 3), limit="1s", pause="100s", trigger=latency) == 6  # 4 and 5 are the pause


def test_a_delay_is_an_age():
    # Observations are 180 s old from step 3 on: from then blocked for ever. In steps 1 and 2 the oracle
    # still shows 100, so the account is never due before.
    delayed = {"rule": "external_feed", "oracle_delay": "180s"}
    assert first_liquidation(limit="179s", oracle=delayed) == -1
    assert first_liquidation(limit="180s", oracle=delayed) == 4  # the fall of step 1 arrives in step 4


def test_an_oracle_that_the_venue_does_not_read_grows_stale_too():
    blocked = np.array([[0, 0, ORACLE_UPDATE, ORACLE_UPDATE, ORACLE_UPDATE, 0]], np.uint8)
    paths = one_market_paths([100.0, 96.5, 96.5, 96.5, 96.5, 96.5], venue_outage=blocked)
    latency = {"rule": "strict_trigger", "keeper_latency": "120s"}  # due in step 3: age 120 s
    assert run_one(protocol(limit="119s", trigger=latency), LONG, paths)[1]["first_liquidation_step"] == 5
    assert run_one(protocol(limit="120s", trigger=latency), LONG, paths)[1]["first_liquidation_step"] == 3


def test_a_heartbeat_ages_the_observation_between_beats():
    # Beats in steps 0, 3, 6: in step 3 the fall is seen and fresh, in step 2 the age is 120 s.
    beat = {"rule": "external_feed", "oracle_delay": "0s", "heartbeat": "180s"}
    assert first_liquidation(limit="119s", oracle=beat) == 3
    # With a latency of two steps the account is due in step 5, where the age is 120 s again, then in 6.
    latency = {"rule": "strict_trigger", "keeper_latency": "120s"}
    assert first_liquidation(limit="119s", oracle=beat, trigger=latency) == 6


def test_funding_stops_while_the_oracle_is_stale():
    funding = {"rule": "premium_clamp_funding", "funding_interval": "60s", "interest": 0.01, "funding_clamp": 1.0}
    outage = np.array([0, 0, 1, 1, 0, 0], np.uint8).reshape(1, -1, 1)
    venue, _ = run_one(
        protocol(limit="1s", blocks=("fund",), funding=funding),
        one_market_book([1e6], [1e-9], [100.0]),
        one_market_paths([100.0] * 6, oracle_outage=outage),
    )
    # Stale in steps 2 and 3; seen after the funding of step 2, so that steps 3 and 4 are not paid: 1, 2, 5.
    assert venue.markets[0]["funding_index"] == pytest.approx(3 * 0.01 / 480 * 100.0)


def test_a_stale_oracle_that_may_not_update_would_stay_stale_for_ever():
    with pytest.raises(ValidationError, match="leave out oracle_update"):
        StalenessBreaker(staleness_limit="60s", staleness_blocks=["liquidate", "oracle_update"])


@pytest.mark.parametrize(
    ("key", "value"), [("staleness_limit", "0s"), ("staleness_blocks", []), ("staleness_pause", 60)]
)
def test_parameters_that_make_no_sense_are_refused(key, value):
    sound = {"staleness_limit": "60s", "staleness_blocks": ["fund"]}
    with pytest.raises(ValidationError, match=key):
        StalenessBreaker(**sound | {key: value})
