"""Pair offsets: what opposite positions in correlated markets save, once per dollar."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.pair_offsets import offset
from stress.mechanisms.tiered_margin import maintenance
from stress.peers.standing import venue_of
from tests.venues import book_of, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

PAIR = {"one": "X", "other": "Y", "offset_credit": 0.6}
RULE = {"rule": "pair_offsets", "pairs": [PAIR]}


def saved(*rows, pairs=(PAIR,)):
    """What rows of (market, size) at 100 save; maintenance is 2.5 % of notional."""
    venue = venue_of(
        dict.fromkeys("XYZ", 100.0),
        [(0.0, {"XYZ".index(market): (size, 100.0) for market, size in rows})],
        margin_modifiers=[{"rule": "pair_offsets", "pairs": list(pairs)}],
    )
    return offset(venue, 0, maintenance)


def test_the_hedged_part_of_both_legs_saves_its_share():
    # Long 1,000 against short 600: 600 on either side, 60 % of 2.5 % of 1,200.
    assert saved(("X", 10.0), ("Y", -6.0)) == pytest.approx(18.0)
    assert saved(("X", -10.0), ("Y", 6.0)) == pytest.approx(18.0)


def test_nothing_without_both_sides():
    assert saved(("X", 10.0), ("Y", 6.0)) == 0.0
    assert saved(("X", 10.0)) == 0.0
    assert saved(("X", 10.0), ("Z", -6.0)) == 0.0


def test_a_dollar_is_credited_once_in_the_order_of_the_pairs():
    # Long 1,000 of X; short 600 of Y takes 600 of it at 60 %, short 900 of Z the 400 that are left at 50 %.
    second = {"one": "Z", "other": "X", "offset_credit": 0.5}
    found = saved(("X", 10.0), ("Y", -6.0), ("Z", -9.0), pairs=(PAIR, second))
    assert found == pytest.approx(18.0 + 0.5 * 0.025 * 800)


def test_a_hedged_account_survives_where_its_positions_alone_would_be_called():
    # Long 10 X, short 10 Y at 100 with 55: X falls to 98, equity 35 of 49.5 asked one by one, of 20.1 asked together.
    book = book_of(("X", "Y"), [55.0], [[(0, 10.0, 100.0), (1, -10.0, 100.0)]])
    block = paths_of([[[100.0, 100.0], [98.0, 100.0]]])
    assert run_one(protocol_of(), book, block)[1]["fills"] > 0
    venue, out = run_one(protocol_of(margin_modifiers=[RULE]), book, block)
    assert out["fills"] == 0
    # At 96 equity is 15 of 19.7 (24.5 of each leg's 0.025 x 1,960 less 0.6 x 0.025 x 1,920): both legs go.
    venue, out = run_one(protocol_of(margin_modifiers=[RULE]), book, paths_of([[[100.0, 100.0], [96.0, 100.0]]]))
    assert out["fills"] > 0
    assert row_of(venue, "A0", 0)[0] == 0.0


@pytest.mark.parametrize(
    "pairs", [[PAIR, PAIR], [PAIR | {"other": "X"}], [PAIR, {"one": "Y", "other": "X", "offset_credit": 0.1}]]
)
def test_a_pair_has_two_markets_and_stands_once(pairs):
    with pytest.raises(ValidationError, match="two markets"):
        protocol_of(margin_modifiers=[{"rule": "pair_offsets", "pairs": pairs}])
