"""What may not be done on a price that is too volatile, too uncertain or too old. Step 60 s."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from stress.mechanisms.oracle_validity import OracleValidity
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

BOOK = one_market_book([110.0], [10.0], [100.0])  # liquidatable at 90: 10 of 22.5


def first_liquidation(world, breaker, **stages):
    protocol = protocol_of(breakers=[{"rule": "oracle_validity", **breaker}], **stages)
    return run_one(protocol, BOOK, one_market_paths(world))[1]["first_liquidation_step"]


def test_a_too_volatile_price_liquidates_nobody_until_the_average_follows():
    fall = [100.0, 90.0, 90.0, 90.0, 90.0, 90.0]
    assert first_liquidation(fall, {}) == 1
    rule = {"validity_average": "60s", "volatile_limit": 1.05, "volatile_blocks": ["liquidate"]}
    # Average in step 1: (100 k + 90) / (k + 1) with k = 1 / e: 92.7; in step 2 91.0 of 90: within 5 %.
    k = math.exp(-1.0)
    assert (100.0 * k + 90.0) / (k + 1.0) / 90.0 < 1.05
    assert first_liquidation(fall, rule) == 1
    assert first_liquidation(fall, rule | {"volatile_limit": 1.02}) == 2
    assert first_liquidation(fall, rule | {"volatile_limit": 1.001}) == 5


def test_an_uncertain_price_blocks_while_sources_disagree():
    oracle = {
        "rule": "oracle_panel",
        "sources": [{"name": "a"}, {"name": "b"}, {"name": "c", "manipulation": 0.1, "manipulated_for": "180s"}],
    }
    rule = {"uncertain_limit": 0.04, "uncertain_blocks": ["liquidate"]}
    assert first_liquidation([100.0, *[90.0] * 5], rule, oracle=oracle) == 3
    assert first_liquidation([100.0, *[90.0] * 5], rule | {"uncertain_limit": 0.06}, oracle=oracle) == 1


def test_a_stale_price_blocks():
    oracle = {"rule": "external_feed", "oracle_delay": "60s", "heartbeat": "180s"}
    fall = [100.0, *[90.0] * 9]
    # Published at 4 (observation 3), age 1; at 5 it is 2 steps old, at 6 three.
    assert first_liquidation(fall, {}, oracle=oracle) == 4
    rule = {"stale_limit": "30s", "stale_blocks": ["liquidate"]}
    assert first_liquidation(fall, rule, oracle=oracle) == -1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"volatile_limit": 2.0}, "given together"),
        ({"stale_blocks": ["fund"]}, "given together"),
        ({"stale_limit": "1m", "stale_blocks": ["oracle_update"]}, "stays stale for ever"),
        ({"volatile_limit": 1.0, "volatile_blocks": ["fund"]}, "greater than 1"),
    ],
)
def test_tables_that_make_no_sense_are_refused(rule, text):
    with pytest.raises(ValidationError, match=text):
        OracleValidity(**rule)
