"""Liquidation fee: a rate on the fill, never more than the fill leaves above the bankruptcy price."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.kernels.venue import COUNTERPARTIES, INSURANCE_FUND
from stress.mechanisms.liquidation_fee import LiquidationFee, fee
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {"rule": "liquidation_fee", "liquidation_fee": 0.01}


@pytest.fixture(scope="module")
def venue():
    return at_rest(protocol_of(fees=RULE), one_market_book([1e6, 1e6], [0.5, -0.5], [100.0, 100.0]), [100.0])


@pytest.mark.parametrize(
    ("row", "price", "bankruptcy", "charged"),
    [
        (0, 100.0, 90.0, 4.0),  # 1 % of 4 x 100; the surplus is 40
        (0, 100.0, 99.5, 2.0),  # the surplus of 4 x 0.5 is less
        (0, 100.0, 99.0, 4.0),  # both equal
        (0, 100.0, 100.0, 0.0),
        (0, 95.0, 100.0, 0.0),  # below the bankruptcy price nothing is charged
        (1, 100.0, 110.0, 4.0),  # a short closes by buying: its surplus lies below the bankruptcy price
        (1, 100.0, 100.5, 2.0),
        (1, 105.0, 100.0, 0.0),
    ],
)
def test_fee_of_four_contracts_by_hand(venue, row, price, bankruptcy, charged):
    assert fee(venue, row, 4.0, price, bankruptcy, 0.0, 0.0, None) == (pytest.approx(charged), INSURANCE_FUND)


@pytest.mark.parametrize("recipient", ["insurance_fund", "liquidators", "vault", "treasury", "pool"])
def test_it_goes_to_whom_the_rule_names(recipient):
    # Long 10 at 100, cash 40, sold at 96.5: 1 % of 965 = 9.65, but only 5 are left above bankruptcy (96).
    protocol = protocol_of(fees=RULE | {"fee_to": recipient})
    book = one_market_book([40.0], [10.0], [100.0], makers_equity=5000.0)
    venue, out = run_one(protocol, book, one_market_paths([100.0, 96.5]))
    cash = account_cash(venue)
    assert cash["A0"] == pytest.approx(0.0, abs=1e-9)
    assert {name for name in COUNTERPARTIES if cash[name] not in (0.0, 5000.0)} == {recipient}
    assert cash[recipient] == pytest.approx(5.0)
    assert out["fund_received"] == pytest.approx(5.0 if recipient == "insurance_fund" else 0.0)
    assert out["violation"] == 0


def test_a_whole_fee_leaves_the_rest_with_the_trader():
    protocol = protocol_of(fees=RULE | {"liquidation_fee": 0.002})
    venue, out = run_one(protocol, one_market_book([40.0], [10.0], [100.0]), one_market_paths([100.0, 96.5]))
    assert venue.accounts[0]["cash"] == pytest.approx(5.0 - 1.93)
    assert out["bad_debt"] == 0.0


def test_fees_lower_what_the_fund_must_have_had():
    # At 97 A1 has 10 < 24.25 left and pays 0.2 % of 970; A0 has 300 >= 242.5. At 92 A0 owes 200.
    book = one_market_book([600.0, 40.0], [100.0, 10.0], [100.0, 100.0])
    protocol = protocol_of(
        fees=RULE | {"liquidation_fee": 0.002}, waterfall=[{"rule": "insurance_fund", "insurance_fund": 1000.0}]
    )
    out = run_one(protocol, book, one_market_paths([100.0, 97.0, 92.0]))[1]
    assert out["fund_received"] == pytest.approx(1.94)
    assert out["fund_paid"] == pytest.approx(200.0)
    assert out["peak_uncovered_loss"] == pytest.approx(198.06)
    assert out["fund_low_water"] == pytest.approx(801.94)


@pytest.mark.parametrize(("key", "value"), [("liquidation_fee", 1.0), ("liquidation_fee", -0.01), ("fee_to", "nobody")])
def test_parameters_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        LiquidationFee(**{"liquidation_fee": 0.01, key: value})
