"""Attempts per block: the queue waits."""

from __future__ import annotations

import pytest

from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

BOOK = one_market_book([40.0] * 5, [10.0] * 5, [100.0] * 5)


def closed(**rule):
    protocol = protocol_of(breakers=[{"rule": "attempts_per_block", **rule}])
    venue, _ = run_one(protocol, BOOK, one_market_paths([100.0, 97.0]))
    return [row_of(venue, f"A{a}")[0] == 0.0 for a in range(5)]


def test_so_many_accounts_in_a_step_in_the_order_of_the_queue():
    assert closed(attempts=2, attempts_every="60s") == [True, True, False, False, False]
    assert closed(attempts=1, attempts_every="20s") == [True, True, True, False, False]
    assert closed(attempts=1, attempts_every="10m") == [True, False, False, False, False]
    assert all(closed(attempts=50, attempts_every="1s"))


@pytest.mark.parametrize(("allowed", "gone"), [(2, 2), (None, 5)])
def test_so_many_positions_are_deleveraged_and_time_let_the_rest_pass(allowed, gone):
    # All five owe 60 at 90 and no book takes them; each is one position against the market makers.
    breaker = {"rule": "attempts_per_block", "attempts": 50, "attempts_every": "60s", "adl_attempts": allowed}
    layer = {"rule": "adl_random", "adl_price": "bankruptcy", "adl_when": "negative_equity"}
    venue, out = run_one(
        protocol_of(breakers=[breaker], waterfall=[layer]), BOOK, one_market_paths([100.0, 90.0], depth=0.0)
    )
    assert [row_of(venue, f"A{a}")[0] == 0.0 for a in range(5)] == [True] * gone + [False] * (5 - gone)
    assert out["passed_time"] == pytest.approx(60.0 * (5 - gone))
