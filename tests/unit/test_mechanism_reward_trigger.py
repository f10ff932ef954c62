"""Trigger plus keeper reward."""

from __future__ import annotations

import pytest

from stress.mechanisms.reward_trigger import bound, flag, reward
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def venue(cash, size, entry, price=100.0, **reward_terms):
    trigger = {"rule": "reward_trigger", "maximum_keeper_reward": 1000.0, **reward_terms}
    return venue_of({"X": price}, [(cash, {0: (size, entry)})], trigger=trigger)


def test_reward_by_hand():
    v = venue(1e6, 1.0, 100.0, flag_reward_ratio=0.01, liquidation_cost=5.0, minimum_keeper_reward=10.0)
    assert reward(v, 300.0, 1e6) == 305.0  # what the notional gives, and the cost
    assert reward(v, 1.0, 1e6) == 15.0  # at least cost and minimum
    assert reward(v, 5000.0, 1e6) == 1000.0  # at most the cap
    assert reward(v, 300.0, 100.0) == 100.0  # at most the collateral


def test_the_reward_is_asked_beside_the_requirement():
    # 50 at 100, 1 % of 5,000 USD: reward 50 beside the requirement of 125.
    for equity, due in ((175.0, False), (174.99, True)):
        v = venue(equity, 50.0, 100.0, flag_reward_ratio=0.01)
        assert flag(v, 0, equity, 125.0, 1) == (due, 0.0)
    assert not flag(v, 0, -5.0, 0.0, 1)[0]  # nothing open, nothing due
    assert bound(v, 0, 1125.0, 125.0)
    assert not bound(v, 0, 1124.0, 125.0)
