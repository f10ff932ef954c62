"""Full size: a liquidation closes the whole position."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.full_size import FullSize
from tests.venues import book_of, one_market_book, one_market_paths, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(("size", "price"), [(10.0, 96.5), (-10.0, 103.5)])
def test_the_whole_position_goes_in_one_fill(size, price):
    venue, out = run_one(protocol_of(), one_market_book([40.0], [size], [100.0]), one_market_paths([100.0, price]))
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert out["fills"] == 1
    assert venue.accounts[0]["cash"] == pytest.approx(5.0)  # 40 - 10 x 3.5
    assert out["liquidated_notional"] == pytest.approx(10.0 * price)


def test_positions_are_closed_in_market_order_until_the_account_is_safe():
    # 10 of X and 10 of Y at 100, cash 46: at X = 96 equity is 6, requirement 24 + 25. Closing X leaves
    # 6 < 25, closing Y too leaves 6 and nothing to require.
    book = book_of(("X", "Y"), [46.0], [[(0, 10.0, 100.0), (1, 10.0, 100.0)]])
    venue, out = run_one(protocol_of(), book, paths_of([[[100.0, 100.0], [96.0, 100.0]]]))
    assert [row_of(venue, "A0", m)[0] for m in (0, 1)] == [0.0, 0.0]
    assert (out["fills"], out["liquidated_accounts"]) == (2, 1)
    # With 60 more and Y of 2 contracts only, closing X is enough: 66 + … = 20 >= 5.
    book = book_of(("X", "Y"), [60.0], [[(0, 20.0, 100.0), (1, 2.0, 100.0)]])
    venue, out = run_one(protocol_of(), book, paths_of([[[100.0, 100.0], [98.0, 100.0]]]))
    assert [row_of(venue, "A0", m)[0] for m in (0, 1)] == [0.0, 2.0]
    assert out["fills"] == 1


def test_it_has_no_parameters():
    with pytest.raises(ValidationError, match="fraction"):
        FullSize(fraction=0.5)
