"""Oracle mark: M = O."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import MARK_UPDATE
from stress.mechanisms.oracle_mark import OracleMark
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one, trace_one

pytestmark = pytest.mark.interpreted

FLAT = one_market_book([1e6], [1e-9], [100.0])


def test_the_mark_is_the_oracle_not_the_mid_nor_the_world():
    protocol = protocol_of(oracle={"rule": "external_feed", "oracle_delay": "60s"})
    trace = trace_one(protocol, FLAT, one_market_paths([100.0, 90.0, 80.0], premium=[0.0, 0.1, 0.1]))
    assert trace["mark_price"].tolist() == [100.0, 100.0, 90.0]
    assert trace["venue_mid"].tolist() == pytest.approx([100.0, 99.0, 88.0])


def test_without_arbitrage_own_fills_never_move_the_mark():
    book = one_market_book([40.0], [10.0], [100.0])
    trace = trace_one(protocol_of(), book, one_market_paths([100.0, 96.5], depth=10.0))
    assert trace["liquidated_notional"][1] > 0
    assert trace["mark_price"].tolist() == [100.0, 96.5]
    assert trace["venue_mid"][1] < 96.5


def test_a_blocked_mark_stands_still_and_jumps_at_resume():
    blocked = np.array([[0, MARK_UPDATE, MARK_UPDATE, 0]], np.uint8)
    paths = one_market_paths([100.0, 90.0, 80.0, 70.0], venue_outage=blocked)
    assert trace_one(protocol_of(), FLAT, paths)["mark_price"].tolist() == [100.0, 100.0, 100.0, 70.0]


def test_the_previous_mark_is_the_one_before_the_round():
    venue, _ = run_one(protocol_of(), FLAT, one_market_paths([100.0, 90.0, 80.0]))
    assert venue.markets[0]["previous_mark"] == 90.0
    assert (venue.markets[0]["mark_step"], venue.markets[0]["previous_mark_step"]) == (2, 1)


def test_it_has_no_parameters():
    with pytest.raises(ValidationError, match="premium"):
        OracleMark(premium=0.1)
