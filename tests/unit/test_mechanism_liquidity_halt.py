"""Liquidity halt: nothing happens while the book is thin."""

from __future__ import annotations

import pytest

from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(("pause", "first"), [("0s", 3), ("2m", 5)])
def test_liquidation_waits_for_depth_and_the_pause(pause, first):
    rule = {
        "rule": "liquidity_halt",
        "liquidity_floor": 0.5,
        "liquidity_blocks": ["liquidate"],
        "liquidity_pause": pause,
    }
    path = one_market_paths([100.0] + [97.0] * 6, depth=[1e6, 4e5, 4.9e5, 5e5, 1e6, 1e6, 1e6])
    _, out = run_one(protocol_of(breakers=[rule]), one_market_book([40.0], [10.0], [100.0]), path)
    assert out["first_liquidation_step"] == first
