"""A cross account's loss by market: what each position lost since t = 0, or since the account was last filled."""

from __future__ import annotations

import pytest

from stress import engine
from tests.venues import book_of, paths_of, protocol_of

pytestmark = pytest.mark.interpreted


def debt_by_market(execution, waterfall, book, world, depth):
    block = paths_of([world], depth=depth)
    protocol = protocol_of(execution=execution, waterfall=waterfall)
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=60.0)
    return engine.simulate(engine.compose(protocol), cell, block).markets["unresolved_bad_debt"][0]


BOOK = [{"rule": "order_book", "deficit_fill": "covered"}]
NO_FUND = [{"rule": "insurance_fund", "insurance_fund": 0.0}]


def test_each_market_bears_what_its_position_lost():
    # Long 100 X and 100 Y at 100, cash 1,000: X loses 1,500, Y 500, so the debt of 1,000 is split 3 to 1.
    book = book_of(("X", "Y"), [1000.0], [[(0, 100.0, 100.0), (1, 100.0, 100.0)]], makers_equity=1e6)
    owed = debt_by_market(BOOK, NO_FUND, book, [[100.0, 100.0], [85.0, 95.0]], 0.0)
    assert owed == pytest.approx([750.0, 250.0])


def test_a_gain_bears_nothing():
    book = book_of(("X", "Y"), [1000.0], [[(0, 100.0, 100.0), (1, 100.0, 100.0)]], makers_equity=1e6)
    owed = debt_by_market(BOOK, NO_FUND, book, [[100.0, 100.0], [75.0, 105.0]], 0.0)
    assert owed == pytest.approx([1000.0, 0.0])


def test_a_winner_that_was_deleveraged_counts_its_losses_from_then_on():
    # W is short 100 X and long 100 Y, cash 2,000. A (long 50 X, cash 500) is bankrupt at X = 89: it meets W at
    # the mark and still owes 50. Y has fallen to 95 by then. Later X, of which W keeps 50, rises to 119, Y falls
    # to 75.
    book = book_of(
        ("X", "Y"),
        [500.0, 2000.0],
        [[(0, 50.0, 100.0)], [(0, -100.0, 100.0), (1, 100.0, 100.0)]],
        makers_equity=1e6,
    )
    layers = [{"rule": "adl_profit_leverage", "adl_price": "mark", "adl_when": "negative_equity"}]
    owed = debt_by_market(BOOK, layers, book, [[100.0, 100.0], [89.0, 95.0], [119.0, 75.0]], 0.0)
    # W: 2,000 + 50 x 11 + 50 x (100 - 119) - 100 x 25 = -900; since it was filled X cost 1,500 and Y 2,000.
    assert owed == pytest.approx([900.0 * 15 / 35 + 50.0, 900.0 * 20 / 35])


def test_a_winner_that_deleveraging_leaves_owing_has_its_markets():
    # A is long 100 X at 100 with 500: at 80 it owes 1,500, and W, short 100 X at 100 with 200 - 2,000 of an older
    # loss, meets it at the bankruptcy price 95: 500 of gain for 1,500 less than the mark gave. W ends flat and owes.
    book = book_of(("X",), [500.0, -1800.0], [[(0, 100.0, 100.0)], [(0, -100.0, 100.0)]], makers_equity=1e6)
    layers = [{"rule": "adl_pro_rata", "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    owed = debt_by_market(BOOK, layers, book, [[100.0], [80.0]], 0.0)
    assert owed == pytest.approx([1300.0])


def test_a_vault_counts_its_losses_from_its_takeovers_on():
    # The vault (equity 20) takes 10 X at 95 and 10 Y at 95 when both stand at 96; X falls to 92, Y to 88.
    vault = {"rule": "backstop_vault", "vault_equity": 20.0, "takeover_below": 1.0, "takeover_limit": 1e6}
    vault["unwind_share"] = 0.0
    book = book_of(("X", "Y"), [500.0 - 400.0], [[(0, 10.0, 100.0), (1, 10.0, 100.0)]], makers_equity=1e6)
    owed = debt_by_market([vault], NO_FUND, book, [[100.0, 100.0], [96.0, 96.0], [92.0, 88.0]], 0.0)
    # Equity 20 - 30 - 70 = -80; since the takeover X lost 40 and Y 80 (since t = 0 it would be 80 and 120).
    assert owed == pytest.approx([80.0 / 3, 160.0 / 3])
