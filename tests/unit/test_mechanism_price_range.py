"""Longs at the lowest source, shorts at the highest."""

from __future__ import annotations

import pytest

from stress.mechanisms.price_range import bound, maintenance, update
from stress.peers.standing import venue_of
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


def test_by_hand():
    venue = venue_of({"X": 100.0}, [], margin_modifiers=[{"rule": "price_range"}])
    assert maintenance(venue, 0, 2.0, 100.0, 5.0) == 5.0
    venue.markets[0]["oracle_low"], venue.markets[0]["oracle_high"] = 97.0, 101.0
    assert maintenance(venue, 0, 2.0, 100.0, 5.0) == pytest.approx(11.0)
    assert maintenance(venue, 0, -2.0, 100.0, 5.0) == pytest.approx(7.0)
    update(venue, None, 1)
    assert venue.markets[0]["widest_range"] == pytest.approx(0.045)
    assert venue.venue[0]["disturbed"] == 1
    assert bound(venue, 0, 2.0, 90.0, 110.0, 5.0) == pytest.approx(5.0 + 220.0 * 0.045)


def test_an_account_falls_by_the_spread_of_sources_alone():
    # Long 10 at 100 with 40: 25 needed. A source 2 % lower from step 2 on takes 20 more.
    oracle = {
        "rule": "oracle_panel",
        "sources": [
            {"name": "a"},
            {"name": "b"},
            {"name": "c", "manipulation": -0.02, "manipulated_from": "120s", "manipulated_for": "1h"},
        ],
    }
    book, block = one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0] * 5)
    assert run_one(protocol_of(oracle=oracle), book, block)[1]["fills"] == 0
    for culled in (True, False):
        protocol = protocol_of(oracle=oracle, margin_modifiers=[{"rule": "price_range"}])
        assert run_one(protocol, book, block, culled=culled)[1]["first_liquidation_step"] == 2
