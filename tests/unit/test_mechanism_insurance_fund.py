"""Insurance fund: pays cash claims and covers fills, never below zero.

A is long 100 at 100 with cash 500; at 92 it is sold at 92 and owes 300.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.claims import fund_balance
from stress.kernels.venue import INSURANCE_FUND
from stress.mechanisms.insurance_fund import InsuranceFund, absorb, cover
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

LONG = one_market_book([500.0], [100.0], [100.0])
ANY = [{"rule": "order_book", "deficit_fill": "any"}]


def fund_of(usd):
    return {"rule": "insurance_fund", "insurance_fund": usd}


def run(fund, *, layers=(), book=LONG, world=(100.0, 92.0), execution=ANY):
    return run_one(
        protocol_of(waterfall=[fund_of(fund), *layers], execution=execution), book, one_market_paths(list(world))
    )


@pytest.mark.parametrize(
    ("fund", "paid", "exhausted"), [(1000.0, 300.0, -1), (300.0, 300.0, -1), (299.0, 299.0, 1), (0.0, 0.0, 1)]
)
def test_a_claim_is_paid_up_to_the_balance(fund, paid, exhausted):
    venue, out = run(fund, layers=[{"rule": "socialized_loss"}])
    assert out["fund_paid"] == pytest.approx(paid)
    assert out["socialized_loss"] == pytest.approx(300.0 - paid)
    assert out["exhaustion_step"] == exhausted  # a claim equal to the balance is not larger than it
    assert account_cash(venue)["insurance_fund"] == pytest.approx(fund - paid)
    assert out["fund_low_water"] == pytest.approx(fund - paid)
    assert account_cash(venue)["A0"] == pytest.approx(0.0, abs=1e-9)
    assert out["bad_debt"] == pytest.approx(300.0)


def test_the_balance_at_the_start_is_the_rules():
    assert InsuranceFund(insurance_fund=7.0).balances() == {INSURANCE_FUND: 7.0}
    venue = at_rest(protocol_of(waterfall=[fund_of(7.0)]), LONG, [100.0])
    assert (cover(venue, 0, 0), fund_balance(venue)) == (7.0, 7.0)


def test_claims_are_paid_in_account_order():
    # At 92 every contract has lost 8; long 10 each with cash 40, 30 and 20: they owe 40, 50 and 60.
    book = one_market_book([40.0, 30.0, 20.0], [10.0] * 3, [100.0] * 3)
    venue, out = run(100.0, book=book)
    assert venue.accounts["cash"][:3] == pytest.approx([0.0, 0.0, -50.0], abs=1e-9)
    assert out["fund_paid"] == pytest.approx(100.0)
    assert out["exhaustion_step"] == 1
    assert out["unresolved_bad_debt"] == pytest.approx(50.0)


def test_open_contracts_are_no_cash_claim():
    # Negative cash, but the account still holds contracts: the fund does not pay.
    venue = at_rest(protocol_of(waterfall=[fund_of(100.0)]), LONG, [100.0])
    venue.accounts[0]["cash"] = -40.0
    assert not absorb(venue, 1, None, None)
    assert fund_balance(venue) == 100.0


def test_a_fill_is_covered_at_once():
    covered = [{"rule": "order_book", "deficit_fill": "covered"}]
    venue, out = run(150.0, execution=covered)
    assert row_of(venue, "A0")[0] == pytest.approx(50.0)  # 3 a contract below water
    assert account_cash(venue)["A0"] == pytest.approx(500.0 - 400.0 + 150.0)
    assert out["fund_paid"] == pytest.approx(150.0)
    assert out["exhaustion_step"] == 1
    assert out["unresolved_bad_debt"] == pytest.approx(150.0)


def test_up_to_the_first_exhaustion_every_fund_sees_the_same_losses():
    # A second account with 1,100: safe at 92 (300 >= 230), owes 100 at 88.
    book = one_market_book([500.0, 1100.0], [100.0, 100.0], [100.0, 100.0])
    outs = {
        fund: run(fund, book=book, world=(100.0, 92.0, 88.0), layers=[{"rule": "socialized_loss"}])[1]
        for fund in (350.0, 399.0, 400.0, 1e9)
    }
    assert [out["peak_uncovered_loss"] for out in outs.values()] == pytest.approx([400.0] * 4)
    assert [outs[fund]["exhaustion_step"] for fund in outs] == [2, 2, -1, -1]
    assert [outs[fund]["mutualised_loss"] for fund in outs] == pytest.approx([50.0, 1.0, 0.0, 0.0])


def test_what_is_left_at_the_horizon_meets_unresolved_debt():
    # No depth: nothing is filled; at the horizon the open claim of 300 meets the fund.
    protocol = protocol_of(waterfall=[fund_of(120.0)])
    out = run_one(protocol, LONG, one_market_paths([100.0, 92.0], depth=0.0))[1]
    assert (out["fund_paid"], out["unresolved_bad_debt"]) == (pytest.approx(120.0), pytest.approx(180.0))
    assert out["fund_low_water"] == pytest.approx(0.0, abs=1e-9)
    out = run_one(protocol, LONG, one_market_paths([100.0, 94.5], depth=0.0))[1]
    assert (out["fund_paid"], out["unresolved_bad_debt"]) == (pytest.approx(50.0), 0.0)


def test_fills_above_the_bankruptcy_price_cost_the_fund_nothing():
    venue, out = run(100.0, world=(100.0, 97.0))
    assert account_cash(venue)["A0"] == pytest.approx(200.0)
    assert (out["fund_paid"], out["exhaustion_step"]) == (0.0, -1)
    assert not np.isnan(out["fund_low_water"])


@pytest.mark.parametrize("value", [-1.0, float("inf"), "plenty"])
def test_a_balance_is_a_number_not_below_zero(value):
    with pytest.raises(ValidationError, match="insurance_fund"):
        InsuranceFund(insurance_fund=value)
