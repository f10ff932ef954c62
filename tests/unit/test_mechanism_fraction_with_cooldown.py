"""Fraction with cooldown: part of a large position first, then, while the cooldown runs, the whole.

Long 2,000 at 100 with cash 8,000; maintenance 2.5 %. At p: equity 8,000 - 2,000 (100 - p), requirement
50 p. Infinite depth: fills at the mark, which leave equity alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.mechanisms.fraction_with_cooldown import FractionWithCooldown
from tests.venues import book_of, one_market_book, one_market_paths, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {"rule": "fraction_with_cooldown", "fraction": 0.2, "full_below": 100_000.0}
LONG = one_market_book([8000.0], [2000.0], [100.0])


def left_after(world, *, book=LONG, **rule):
    venue, out = run_one(protocol_of(size=RULE | rule), book, one_market_paths(world))
    return row_of(venue, "A0")[0], out["fills"]


def test_a_fifth_is_closed_first_and_is_enough_here():
    # At 98: equity 4,000 < 4,900; after a fifth 1,600 are left, requirement 3,920.
    assert left_after([100.0, 98.0], cooldown="30s") == (1600.0, 1)


def test_a_position_still_short_in_the_same_step_is_closed_whole():
    # At 97: equity 2,000; a fifth leaves a requirement of 3,880. The cooldown of 30 s, one step, runs, so
    # the next round closes the whole 1,600.
    assert left_after([100.0, 97.0], cooldown="30s") == (0.0, 2)


def test_the_cooldown_ends_after_its_steps():
    # In step 1 a fifth at 98. In step 2, at 97.9, equity 4,000 - 1,600 x 0.1 = 3,840 < 3,916.
    # 30 s is rounded up to one step: over in step 2, a fifth again; two steps: not over, whole.
    world = [100.0, 98.0, 97.9]
    assert left_after(world, cooldown="30s") == (1280.0, 2)
    assert left_after(world, cooldown="60s") == (1280.0, 2)
    assert left_after(world, cooldown="61s") == (0.0, 2)
    assert left_after([*world[:2], 98.0, 97.9], cooldown="120s") == (1280.0, 2)  # over in step 3


def test_waiting_closes_nothing_while_the_cooldown_runs():
    # At 97: a fifth in step 1 (equity 2,000 < 3,880 still), nothing in step 2, a fifth in steps 3, 5, …
    world = [100.0] + [97.0] * 5
    assert left_after(world[:3], cooldown="120s", during_cooldown="wait") == (1600.0, 1)
    assert left_after(world[:4], cooldown="120s", during_cooldown="wait") == (1280.0, 2)
    # A fifth of 1,280 in step 5: 1,024 at 97 is 99,328 <= 100,000, closed whole in the step after next.
    assert left_after(world, cooldown="120s", during_cooldown="wait") == (1024.0, 3)
    assert left_after([*world, 97.0, 97.0], cooldown="120s", during_cooldown="wait") == (0.0, 4)


def test_without_a_cooldown_fifths_follow_round_by_round_until_the_rest_is_small():
    # 2,000 -> 1,600 -> 1,280 -> 1,024, then whole: equity 2,000 is short of 97 x 2.5 % x 1,024 = 2,483.
    assert left_after([100.0, 97.0]) == (0.0, 4)


def test_parts_of_parts_end_where_nothing_is_left_to_book():
    # Insolvent at 95, so due at any size: 190,000 x 0.8^n is a millionth of a USD after 117 parts; then the rest.
    execution = [{"rule": "order_book", "deficit_fill": "any"}]
    protocol = protocol_of(size=RULE | {"full_below": 0.0}, execution=execution)
    venue, out = run_one(protocol, LONG, one_market_paths([100.0, 95.0]))
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert (out["fills"], out["violation"]) == (118, 0)


@pytest.mark.parametrize(("size", "fills"), [(1024.0, 1), (1024.5, 2)])
def test_a_notional_at_the_bound_is_closed_whole(size, fills):
    # 1,024 x 97.65625 = 100,000 exactly. Cash 2,400 + …: equity 2,600 - 2,400 = 200, short in any case.
    book = one_market_book([2600.0], [size], [100.0])
    assert left_after([100.0, 97.65625], book=book, cooldown="30s") == (0.0, fills)


def test_orders_of_one_round_go_out_together():
    # Two positions of 2,000 at 98: equity 16,000 - 8,000 = 8,000, requirement 9,800. A fifth of X leaves
    # 8,820, a fifth of Y 7,840: the fill of X did not put Y into a cooldown.
    book = book_of(("X", "Y"), [16_000.0], [[(0, 2000.0, 100.0), (1, 2000.0, 100.0)]])
    venue, out = run_one(protocol_of(size=RULE | {"cooldown": "30s"}), book, paths_of([[[100.0, 100.0], [98.0, 98.0]]]))
    assert [row_of(venue, "A0", m)[0] for m in (0, 1)] == [1600.0, 1600.0]
    assert out["fills"] == 2


def test_the_cooldown_is_one_account_s_own():
    # A1 is A0 with 100 more cash: it is short only at 97.9, where A0 is in its cooldown of two steps.
    book = one_market_book([8000.0, 8100.0, 8000.0], [2000.0, 2000.0, -4000.0], [100.0, 100.0, 100.0])
    protocol = protocol_of(size=RULE | {"cooldown": "120s"})
    venue, _ = run_one(protocol, book, one_market_paths([100.0, 98.0, 97.9]))
    assert row_of(venue, "A0")[0] == 0.0
    # A1 at 98: 4,100 < 4,900 too, a fifth; at 97.9: 3,940 >= 3,916, safe.
    assert row_of(venue, "A1")[0] == 1600.0


def test_a_short_is_closed_alike():
    # Short 2,000, cash 8,000, at 102: equity 4,000 < 5,100; after a fifth 4,080; still short: whole.
    book = one_market_book([8000.0], [-2000.0], [100.0])
    assert left_after([100.0, 102.0], book=book, cooldown="30s") == (0.0, 2)
    book = one_market_book([8100.0], [-2000.0], [100.0])
    assert left_after([100.0, 102.0], book=book, cooldown="30s") == (-1600.0, 1)


def test_an_order_that_the_book_cut_short_also_starts_the_cooldown():
    # The book ends at 5 %, half of it gone after 1,000 contracts of depth 200 (linear, 1 % a depth).
    impact = {"rule": "linear_impact", "impact_max": 0.005, "permanent": 1.0}
    protocol = protocol_of(
        size=RULE | {"cooldown": "1h"}, impact=impact, execution=[{"rule": "order_book", "deficit_fill": "any"}]
    )
    paths = one_market_paths([100.0, 97.0, 97.0], depth=np.array([200.0, 200.0, 200.0]))
    venue, _ = run_one(protocol, LONG, paths)
    # Room for 0.5 depths = 100 contracts in all: the fifth (400) is cut to 100, then the book is empty.
    assert row_of(venue, "A0")[0] == pytest.approx(1900.0)
    assert venue.accounts[0]["cooldown_until"] == 1 + 60


@pytest.mark.parametrize(
    ("key", "value"),
    [("fraction", 0.0), ("fraction", 1.1), ("full_below", -1.0), ("cooldown", 30), ("during_cooldown", "half")],
)
def test_parameters_that_make_no_sense_are_refused(key, value):
    sound = {"fraction": 0.2, "full_below": 1e5}
    with pytest.raises(ValidationError, match=key):
        FractionWithCooldown(**sound | {key: value})
