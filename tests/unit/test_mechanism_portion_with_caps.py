"""A portion of the position per order, and a cap per account and block."""

from __future__ import annotations

import pytest

from stress.mechanisms.portion_with_caps import on_fill, order_limits, quantity
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def venue(size=100.0, step=1.0, **rule):
    stated = {"minimum_notional": 1000.0, "portion": 0.1, "account_block_limit": 1e5, **rule}
    return venue_of({"X": 100.0}, [(0.0, {0: (size, 100.0)})], size={"rule": "portion_with_caps", **stated}, step=step)


def closed(v, t=1):
    return quantity(v, 0, 0, 0.0, 1.0, 0.0, t, None, None)


def test_portion_and_least_notional_by_hand():
    assert closed(venue()) == pytest.approx(10.0)  # a tenth of 10,000 USD is the least, 1,000
    assert closed(venue(size=-50.0)) == pytest.approx(10.0)  # a tenth would be 500: the least holds
    assert closed(venue(size=8.0)) == 8.0  # 800 USD: whole
    assert order_limits(venue(), 0, 800.0) == (800.0, 800.0)
    assert order_limits(venue(), 0, 50_000.0) == (1000.0, 5000.0)


def test_sizes_are_multiples_of_the_step_and_at_least_one():
    assert closed(venue(size_step=3.0)) == 9.0
    assert closed(venue(size_step=11.0)) == 11.0
    assert closed(venue(size=10.5, size_step=11.0)) == 10.5


def test_the_cap_counts_fills_of_the_step_and_all_its_blocks():
    v = venue(size=5000.0, account_block_limit=30_000.0)
    assert closed(v) == pytest.approx(300.0)  # a tenth is 50,000 USD
    on_fill(v, 0, 0, 200.0, 99.0, 1)
    assert closed(v) == pytest.approx(100.0)
    on_fill(v, 0, 0, 100.0, 99.0, 1)
    assert closed(v) == 0.0
    assert closed(v, 2) == pytest.approx(300.0)
    assert closed(venue(size=5000.0, account_block_limit=3_000.0, step=60.0)) == pytest.approx(500.0)  # 60 blocks
