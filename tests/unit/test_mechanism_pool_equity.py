"""Pool equity: depositors pay the debts of traders."""

from __future__ import annotations

import pytest

from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(("own", "paid"), [(1000.0, 60.0), (0.0, 60.0)])
def test_the_pool_gains_as_counterparty_and_pays_the_debt(own, paid):
    # Long 10 at 100 with 40 closed at 90: owes 60; the pool was short and gains 100.
    protocol = protocol_of(execution=[{"rule": "oracle_pool", "pool_equity": own}], waterfall=[{"rule": "pool_equity"}])
    venue, out = run_one(protocol, one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0, 90.0]))
    assert account_cash(venue)["A0"] == 0.0
    assert account_cash(venue)["pool"] == pytest.approx(own + 100.0 - paid)
    assert out["provider_default_loss"] == out["mutualised_loss"] == out["bad_debt"] == pytest.approx(paid)


def test_a_pool_without_equity_leaves_the_claim():
    # A second trader is short 30 and ahead by 300: the pool, long 20, loses 200 of its 100.
    protocol = protocol_of(
        execution=[{"rule": "oracle_pool", "pool_equity": 100.0}], waterfall=[{"rule": "pool_equity"}]
    )
    book = one_market_book([40.0, 1e4], [10.0, -30.0], [100.0, 100.0])
    _venue, out = run_one(protocol, book, one_market_paths([100.0, 90.0]))
    assert out["provider_default_loss"] == 0.0
    assert out["passed_balance"] == pytest.approx(60.0)
    # What the trader and the pool itself owe to the winner: 60 and 100.
    assert out["unresolved_bad_debt"] == pytest.approx(160.0)
