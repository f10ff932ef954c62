"""Seized margin: the keeper's reward first, the rest to the venue."""

from __future__ import annotations

import pytest

from stress.kernels.margin import keeper_reward
from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {"rule": "seized_margin", "seized_to": "insurance_fund"}


def run(**changed):
    # Long 10 at 100 with 40, closed at 97: 10 left.
    protocol = protocol_of(fees=RULE | changed)
    return account_cash(run_one(protocol, one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0, 97.0]))[0])


@pytest.mark.parametrize(
    ("arguments", "reward"),
    [
        ((3.0, 2.0, 1.0, 0.1, 100.0, 1.0, 1000.0), 5.0),  # flag share + cost
        ((0.0, 2.0, 1.0, 0.1, 100.0, 1.0, 1000.0), 3.0),  # cost + least
        ((0.0, 2.0, 1.0, 0.9, 100.0, 1.0, 1000.0), 3.8),  # cost x 1.9
        ((30.0, 2.0, 1.0, 0.1, 10.0, 1.0, 1000.0), 10.0),  # capped
        ((30.0, 2.0, 1.0, 0.1, 100.0, 0.5, 20.0), 10.0),  # no more than half of what is seized
    ],
)
def test_reward_by_hand(arguments, reward):
    assert keeper_reward(*arguments) == pytest.approx(reward)


def test_everything_left_is_seized():
    cash = run()
    assert (cash["A0"], cash["insurance_fund"], cash["liquidators"]) == pytest.approx((0.0, 10.0, 0.0), abs=1e-9)


def test_the_keeper_comes_first_and_never_gets_more_than_there_is():
    cash = run(flag_reward=0.005)
    assert (cash["insurance_fund"], cash["liquidators"]) == pytest.approx((5.15, 4.85))
    cash = run(flag_reward=0.05, seized_to="pool")
    assert (cash["A0"], cash["pool"], cash["liquidators"]) == pytest.approx((0.0, 0.0, 10.0), abs=1e-9)


def test_a_partial_fill_may_leave_the_margin_alone():
    size = {
        "rule": "fraction_with_cooldown",
        "fraction": 0.5,
        "full_below": 100.0,
        "during_cooldown": "wait",
        "cooldown": "1h",
    }
    protocol = protocol_of(fees=RULE | {"seize": "whole_only", "flag_reward": 0.001}, size=size)
    venue, _ = run_one(protocol, one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0, 97.0]))
    cash = account_cash(venue)
    assert cash["insurance_fund"] == 0.0
    assert cash["liquidators"] == pytest.approx(0.485)
