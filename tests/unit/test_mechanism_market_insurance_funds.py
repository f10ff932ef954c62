"""Insurance funds per market: none draws on another's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.venues import account_cash, book_of, paths_of, protocol_of, run_one

pytestmark = pytest.mark.interpreted

BOOK = book_of(("A", "B"), [40.0, 1e6], [[(0, 10.0, 100.0)], [(1, 10.0, 100.0)]])
PATH = paths_of(np.array([[[100.0, 100.0], [90.0, 100.0]]]))


@pytest.mark.parametrize(
    ("funds", "paid"), [({"A": 100.0, "B": 7.0}, 60.0), ({"A": 25.0, "B": 1e6}, 25.0), ({"B": 1e6}, 0.0)]
)
def test_a_market_is_paid_from_its_own_balance(funds, paid):
    layers = [{"rule": "market_insurance_funds", "market_funds": funds}]
    protocol = protocol_of(waterfall=layers, execution=[{"rule": "order_book", "deficit_fill": "any"}])
    venue, out = run_one(protocol, BOOK, PATH)
    assert out["fund_paid"] == pytest.approx(paid)
    assert account_cash(venue)["A0"] == pytest.approx(paid - 60.0, abs=1e-9)
    assert account_cash(venue)["insurance_fund"] == pytest.approx(sum(funds.values()) - paid)


def test_fees_go_to_the_balance_of_their_market():
    # Closed at 97 with 10 left, all of it a fee; later another account of the market owes 60.
    book = book_of(("A", "B"), [40.0, 140.0, 1e6], [[(0, 10.0, 100.0)], [(0, 20.0, 100.0)], [(1, 1.0, 100.0)]])
    path = paths_of(np.array([[[100.0, 100.0], [97.0, 100.0], [90.0, 100.0]]]))
    protocol = protocol_of(
        fees={"rule": "liquidation_fee", "liquidation_fee": 0.5},
        waterfall=[{"rule": "market_insurance_funds", "market_funds": {"A": 0.0}}],
        execution=[{"rule": "order_book", "deficit_fill": "any"}],
    )
    _, out = run_one(protocol, book, path)
    assert out["fund_received"] == pytest.approx(10.0)
    assert out["fund_paid"] == pytest.approx(10.0)
