"""Shortage fee: what an account can still pay and come out margined."""

from __future__ import annotations

import pytest

from stress.kernels.margin import assess
from stress.kernels.venue import INSURANCE_FUND
from stress.mechanisms.shortage_fee import fee, fee_rate
from stress.mechanisms.tiered_margin import maintenance
from tests.venues import at_rest, one_market_book, protocol_of

pytestmark = pytest.mark.interpreted


def test_rates_by_hand():
    assert fee_rate(1.0, 1000.0, 0.05, 0.01, 0.05) == pytest.approx(0.95 * 0.039)
    assert fee_rate(1.0, 1000.0, 0.05, 0.01, 0.02) == 0.02
    assert fee_rate(1000.0, 1000.0, 0.05, 0.01, 0.05) == 0.0
    assert fee_rate(1.0, 1000.0, 0.05, 0.05, 0.05) == 0.0
    assert fee_rate(1.0, 0.0, 0.05, 0.01, 0.05) == 0.0


def test_the_fee_of_a_fill():
    # Short 1 at 100, maintenance 2.5 %: equity 1.5, shortage 2.5 + 0.1 - 1.5 = 1.1; 0.95 x (0.026 - 0.01 - 0.011) = 0.475 %.
    rule = {
        "rule": "shortage_fee",
        "shortage_fee_max": 0.01,
        "shortage_fee_discount": 0.01,
        "shortage_fee_buffer": 0.001,
    }
    venue = at_rest(protocol_of(fees=rule), one_market_book([1e6], [-1.0], [100.0]), [100.0])
    venue.accounts[0]["cash"] = 1.5
    value, required = assess(venue, 0, maintenance)
    assert fee(venue, 0, 0.5, 101.0, 101.5, value, required, maintenance) == (
        pytest.approx(0.5 * 0.475),
        INSURANCE_FUND,
    )
    assert fee(venue, 0, 0.5, 101.0, 99.0, -1.0, required, maintenance)[0] == 0.0  # nothing left to pay with
