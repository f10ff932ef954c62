"""Adaptive fund: grows at once, shrinks late and slowly."""

from __future__ import annotations

import numpy as np
import pytest

from stress.mechanisms.adaptive_fund import AdaptiveFund, flow_to_fund
from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {"rule": "adaptive_fund", "review_interval": "1m", "fund_quiet": "0s", "fund_target": 0.1}
CALM = one_market_book([1e6, 1e6], [10.0, -10.0], [100.0, 100.0])  # open interest 1,000


def run(steps, book=CALM, world=100.0, **changed):
    protocol = protocol_of(waterfall=[RULE | changed])
    venue, out = run_one(protocol, book, one_market_paths([100.0] + [world] * steps))
    return account_cash(venue)["insurance_fund"], account_cash(venue)["treasury"], out


@pytest.mark.parametrize(
    ("balance", "ready", "quiet", "flow"),
    [
        (50.0, 1e9, False, 20.0),  # a fifth of the target
        (90.0, 1e9, False, 10.0),  # what is missing
        (50.0, 7.0, False, 7.0),  # what providers have
        (150.0, 0.0, True, -5.0),  # a tenth of the excess
        (150.0, 0.0, False, 0.0),  # not so soon
    ],
)
def test_flow_at_a_review_by_hand(balance, ready, quiet, flow):
    assert flow_to_fund(balance, 100.0, ready, 0.2, 0.1, quiet) == pytest.approx(flow)


def test_providers_fill_it_up_to_its_target():
    assert run(3, adaptive_fund=70.0, provider_commitment=200.0, fund_top_up=0.2)[:2] == pytest.approx((100.0, 170.0))


def test_fees_of_trading_come_from_outside():
    fund, _, out = run(2, adaptive_fund=0.0, fund_fee_rate=0.0144, fund_target=0.0, fund_release=0.0)
    assert fund == pytest.approx(2 * 1000.0 * 0.0144 / 1440)
    assert out["fund_received"] == pytest.approx(fund)
    assert out["violation"] == 0


def test_an_excess_goes_back_slowly_and_only_after_a_quiet_time():
    assert run(2, adaptive_fund=300.0, fund_release=0.5)[:2] == pytest.approx((150.0, 150.0))
    assert run(2, adaptive_fund=300.0, fund_release=0.5, fund_quiet="2m")[0] == pytest.approx(200.0)


def test_nothing_goes_back_while_withdrawals_are_halted():
    protocol = protocol_of(waterfall=[RULE | {"adaptive_fund": 300.0, "fund_release": 0.5}])
    halted = np.full((1, 3), 8, np.uint8)
    venue, _ = run_one(protocol, CALM, one_market_paths([100.0] * 3, venue_outage=halted))
    assert account_cash(venue)["insurance_fund"] == 300.0


def test_it_pays_claims_and_remembers_them():
    # Long 10 with 40: owes 60 at 90. Target 0 from then on: no release within the quiet time.
    book = one_market_book([40.0], [10.0], [100.0])
    fund, _, out = run(3, book, 90.0, adaptive_fund=200.0, fund_release=1.0, fund_quiet="5m")
    assert out["fund_paid"] == pytest.approx(60.0)
    assert fund == pytest.approx(140.0)


def test_the_report_says_the_rule_in_words():
    (said,) = AdaptiveFund(adaptive_fund=1e6, fund_target=0.02, fund_fee_rate=1e-4).notes()
    assert said.startswith(
        "The fund aims at 0.02 of the open interest that it insures. Fees of ordinary trading bring it 0.0001"
    )
    assert "Every 1h: below its target its providers pay in what is missing, at most 0.1 of the target" in said
    assert "after 7d without a claim, 0.1 of the excess goes back" in said
