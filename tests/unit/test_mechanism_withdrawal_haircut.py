"""Withdrawal haircut: claims wait for the horizon."""

from __future__ import annotations

import numpy as np
import pytest

from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

LAYERS = [{"rule": "insurance_fund", "insurance_fund": 10.0}, {"rule": "withdrawal_haircut"}]
BOOK = one_market_book([40.0, 1000.0], [10.0, -10.0], [100.0, 100.0], makers_equity=400.0)


def run(outage=0):
    protocol = protocol_of(waterfall=LAYERS, execution=[{"rule": "order_book", "deficit_fill": "any"}])
    blocked = np.array([[0, 0, outage]], np.uint8)
    return run_one(protocol, BOOK, one_market_paths([100.0, 90.0, 90.0], venue_outage=blocked))


def test_what_the_fund_does_not_carry_is_taken_off_withdrawals_in_proportion_to_equity():
    # A0 owes 60, the fund pays 10; equities 1,100 and 400.
    venue, out = run()
    cash = account_cash(venue)
    assert cash["A0"] == pytest.approx(0.0, abs=1e-9)
    assert cash["A1"] == pytest.approx(1000.0 - 50.0 * 1100.0 / 1500.0)
    assert cash["market_makers"] == pytest.approx(400.0 - 50.0 * 400.0 / 1500.0)
    assert out["socialized_loss"] == out["mutualised_loss"] == pytest.approx(50.0)
    assert out["unresolved_bad_debt"] == 0.0


def test_a_closed_gate_leaves_it_unresolved():
    _, out = run(outage=8)
    assert out["socialized_loss"] == 0.0
    assert out["unresolved_bad_debt"] == pytest.approx(50.0)
