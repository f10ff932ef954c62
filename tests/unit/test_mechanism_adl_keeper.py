"""Keeper-picked deleveraging: the winner whom the keeper names, at the rule's price."""

from __future__ import annotations

import pytest

from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

LAYER = {"rule": "adl_keeper", "adl_price": "bankruptcy", "adl_when": "negative_equity"}
# Long 10 with 40 owes 60 at 90, at a bankruptcy price of 96. Shorts of 4, 3 and 3, entered at 100, 120 and 95: at 90 they are
# ahead by 40, 90 and 15.
BOOK = one_market_book([40.0, 500.0, 500.0, 500.0], [10.0, -4.0, -3.0, -3.0], [100.0, 100.0, 120.0, 95.0])
# The same with a long of 4 that owes 24; market makers are long what the shorts are more, and no winners.
SMALL = one_market_book([16.0, 500.0, 500.0, 500.0], [4.0, -4.0, -3.0, -3.0], [100.0, 100.0, 120.0, 95.0])


def left(book, picks):
    layer = LAYER | {"keeper_picks": picks}
    venue, out = run_one(protocol_of(waterfall=[layer]), book, one_market_paths([100.0, 90.0], depth=0.0))
    return [row_of(venue, f"A{a}")[0] for a in range(4)], out


@pytest.mark.parametrize(
    ("picks", "shorts"),
    [
        ("largest_position", [0.0, -3.0, -3.0]),
        ("largest_profit", [-3.0, 0.0, -3.0]),  # 90, then 1 of the one with 40
        ("smallest_profit", [-3.0, -3.0, 0.0]),  # 15, then 1 of the one with 40
    ],
)
def test_the_keeper_takes_his_first_pick_whole_and_then_the_next(picks, shorts):
    found, out = left(SMALL, picks)
    assert found == [0.0, *shorts]
    assert out["adl_shortfall"] == pytest.approx(4.0 * 6.0)  # 4 contracts at 96 instead of 90
    assert out["adl_overshoot"] == 0.0


def test_all_are_closed_where_all_are_needed():
    found, out = left(BOOK, "smallest_profit")
    assert found == [0.0, 0.0, 0.0, 0.0]
    assert out["adl_shortfall"] == pytest.approx(60.0)
    assert out["violation"] == 0
