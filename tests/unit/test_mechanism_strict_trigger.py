"""Strict trigger: requirement > 0 and equity strictly below it; latency; queue. Step 60 s."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.strict_trigger import StrictTrigger, bound, flag, pending
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

# Long 64 at 100, requirement 2.5 %: at 96 it is 153.6, at 50 it is 80 (exact in binary).
SIZE = 64.0


def liquidated_at(cash, world, **trigger):
    protocol = protocol_of(trigger={"rule": "strict_trigger", **trigger})
    return run_one(protocol, one_market_book([cash], [SIZE], [100.0]), one_market_paths(world))[1][
        "first_liquidation_step"
    ]


def test_equality_does_not_trigger_and_a_cent_less_does():
    # A leverage cap of 16 and a ratio of 0.5: 1/32 of 64 x 96 = 192 exactly. Cash 448: equity 448 - 256 = 192.
    margin = {
        "rule": "tiered_margin",
        "markets": {"X": [{"leverage_cap": 16, "maintenance_to_initial_ratio": 0.5}]},
    }
    for cash, fills in ((448.0, 0), (447.99, 1)):
        book = one_market_book([cash], [SIZE], [100.0])
        assert run_one(protocol_of(margin=margin), book, one_market_paths([100.0, 96.0]))[1]["fills"] == fills


@pytest.mark.parametrize(
    ("equity", "requirement", "due"),
    [(5.0, 5.0, False), (4.999, 5.0, True), (-1.0, 5.0, True), (0.0, 0.0, False), (-1.0, 0.0, False)],
)
def test_due_by_hand(equity, requirement, due):
    venue = at_rest(protocol_of(), one_market_book([1e6], [1.0], [100.0]), [100.0])
    assert flag(venue, 0, equity, requirement, 1) == (due, 0.0)


def test_latency_counts_from_the_first_step_of_the_breach():
    fall = [100.0, 96.0, 96.0, 96.0, 96.0]
    assert liquidated_at(400.0, fall) == 1
    assert liquidated_at(400.0, fall, keeper_latency="60s") == 2
    assert liquidated_at(400.0, fall, keeper_latency="61s") == 3  # rounded up to two steps
    assert liquidated_at(400.0, fall, keeper_latency="1h") == -1  # not within the horizon


def test_a_recovery_starts_the_latency_anew():
    world = [100.0, 96.0, 100.0, 96.0, 96.0, 96.0]
    assert liquidated_at(400.0, world, keeper_latency="120s") == 5  # breached in 1, safe in 2, since 3
    assert liquidated_at(400.0, world, keeper_latency="60s") == 4


def test_an_account_below_from_the_start_is_looked_at_first_in_step_1():
    assert liquidated_at(10.0, [100.0] * 4) == 1
    assert liquidated_at(10.0, [100.0] * 4, keeper_latency="60s") == 2


def test_the_queue_is_by_account_id_or_by_lowest_ratio():
    # The book ends at an impact of 5 %, five depths of 10 at 1 % each: room for one of the two positions of
    # 50. At 96, A0 has an equity of 300 - 200 = 100, A1 one of 80, both a requirement of 120.
    impact = {"rule": "linear_impact", "impact_max": 0.05, "permanent": 1.0}
    book = one_market_book([300.0, 280.0], [50.0, 50.0], [100.0, 100.0])
    paths = one_market_paths([100.0, 96.0], depth=10.0)
    execution = [{"rule": "order_book", "deficit_fill": "any"}]
    closed = {}
    for queue in ("account_id", "lowest_ratio"):
        trigger = {"rule": "strict_trigger", "queue": queue}
        venue, _ = run_one(protocol_of(trigger=trigger, impact=impact, execution=execution), book, paths)
        closed[queue] = [name for name in ("A0", "A1") if row_of(venue, name)[0] == pytest.approx(0.0, abs=1e-9)]
    assert closed == {"account_id": ["A0"], "lowest_ratio": ["A1"]}


def test_what_the_bound_clears_is_not_flagged_and_a_running_latency_is_watched():
    trigger = {"rule": "strict_trigger", "keeper_latency": "120s"}
    venue = at_rest(protocol_of(trigger=trigger), one_market_book([1e6], [1.0], [100.0]), [100.0])
    assert bound(venue, 0, 5.0, 5.0)
    assert not bound(venue, 0, 4.999, 5.0)
    assert not pending(venue, 0)
    assert flag(venue, 0, 4.0, 5.0, 3) == (False, 0.0)  # the latency runs from step 3
    assert pending(venue, 0)
    assert flag(venue, 0, 4.0, 5.0, 5) == (True, 0.0)
    assert flag(venue, 0, 5.0, 5.0, 6) == (False, 0.0)
    assert not pending(venue, 0)


def test_the_priority_is_the_ratio():
    trigger = {"rule": "strict_trigger", "queue": "lowest_ratio"}
    venue = at_rest(protocol_of(trigger=trigger), one_market_book([1e6], [1.0], [100.0]), [100.0])
    assert flag(venue, 0, -2.0, 8.0, 1) == (True, -0.25)


def test_a_bare_number_is_no_latency_and_a_queue_has_a_name():
    with pytest.raises(ValidationError, match="keeper_latency"):
        StrictTrigger(keeper_latency=60)
    with pytest.raises(ValidationError, match="queue"):
        StrictTrigger(queue="random")
