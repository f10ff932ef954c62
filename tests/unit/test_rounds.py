"""Rounds within a step: what is read again, what waits, and in which order money moves."""

from __future__ import annotations

import pytest

from stress import engine
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

# Own impact is carried to the source whole, so that a fill moves an undelayed oracle.
IMPACT = {"rule": "linear_impact", "impact_at_depth": 0.01, "resilience": "1000000s", "arbitrage_share": 1.0}


def two_longs():
    """A is due at 97.4; B, at 96.5, is not, unless A's 100 contracts at 1 % a depth of 100 move the price."""
    return one_market_book([500.0, 590.0], [100.0, 100.0], [100.0, 100.0], makers_equity=1e6)


def liquidated(protocol, world=(100.0, 97.0), depth=100.0):
    return run_one(protocol, two_longs(), one_market_paths(list(world), depth=depth))[1]["liquidated_accounts"]


@pytest.mark.parametrize(
    ("oracle", "count"),
    [
        ({"oracle_delay": "0s"}, 2),
        ({"oracle_delay": "60s"}, 1),  # sees the impact of step 1 in step 2
        ({"oracle_delay": "0s", "heartbeat": "60s"}, 1),  # has published in this step
    ],
)
def test_only_an_undelayed_oracle_without_a_heartbeat_is_read_again_between_rounds(oracle, count):
    world = (100.0, 97.0) if oracle["oracle_delay"] == "0s" else (100.0, 97.0, 97.0)
    assert liquidated(protocol_of(impact=IMPACT, oracle={"rule": "external_feed", **oracle}), world) == count


def test_a_round_flags_on_the_marks_at_its_start_and_the_rest_waits_for_the_next_step():
    one = protocol_of(impact=IMPACT, rounds_per_step=1)
    assert liquidated(one) == 1
    assert liquidated(one, (100.0, 97.0, 97.0)) == 2
    assert liquidated(protocol_of(impact=IMPACT, rounds_per_step=2)) == 2


def test_a_fee_is_there_for_the_next_fill_of_the_same_round():
    # A pays the empty fund 1 % of 10,000 x 96; B, bankrupt at 97, owes 100 x (97 - 96): the fee carries it at once.
    book = one_market_book([41_000.0, 300.0], [10_000.0, 100.0], [100.0, 100.0], makers_equity=1e7)
    margin = {"default": [{"above": 0, "leverage_cap": 10, "maintenance_to_initial_ratio": 0.5}]}
    protocol = protocol_of(
        margin={"rule": "tiered_margin", "markets": margin},
        fees={"rule": "liquidation_fee", "liquidation_fee": 0.001, "fee_to": "insurance_fund"},
        rounds_per_step=1,
    )
    _, out = run_one(protocol, book, one_market_paths([100.0, 96.0]))
    assert out["fund_received"] == pytest.approx(0.001 * 10_000 * 96.0)
    assert out["fund_paid"] == pytest.approx(100.0)
    assert (out["exhaustion_step"], out["unresolved_bad_debt"]) == (-1, 0.0)


def test_the_waterfall_ends_a_round():
    # In one round: no depth, so A stays open; then deleveraging closes it.
    book = one_market_book([500.0], [100.0], [100.0], makers_equity=1e6)
    layers = [{"rule": "adl_pro_rata", "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    _, out = run_one(protocol_of(waterfall=layers, rounds_per_step=1), book, one_market_paths([100.0, 92.0], depth=0.0))
    assert (out["first_adl_step"], out["rounds"]) == (1, 1)


def test_a_step_that_never_comes_to_rest_is_a_fault(monkeypatch):
    monkeypatch.setattr(engine, "ROUNDS_BEFORE_FAULT", 2)
    _, out = run_one(protocol_of(impact=IMPACT), two_longs(), one_market_paths([100.0, 97.0], depth=100.0))
    assert out["violation"] == engine.NEVER_QUIET
