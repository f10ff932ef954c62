"""Adaptive funding: climbs with the skew; users pay users, and rent the pool."""

from __future__ import annotations

import pytest

from stress.mechanisms.adaptive_funding import kinked_rate, next_rate, power_rate, usage
from tests.venues import account_equity, one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(
    ("saved", "long", "short", "after"),
    [
        (0.0, 106.0, 94.0, 0.06 * 0.6),  # grows from nothing
        (0.1, 104.0, 96.0, 0.1),  # between the thresholds
        (0.1, 101.0, 99.0, 0.1 - 0.012),  # falls
        (0.001, 101.0, 99.0, 0.0),  # not below zero
        (-0.1, 101.0, 99.0, -0.1 + 0.01 * 0.6),  # against the skew: grows back, however small the skew
        (0.9, 200.0, 0.0, 0.95),  # capped
        (0.1, 0.0, 0.0, 0.1),
    ],
)
def test_next_rate_by_hand(saved, long, short, after):
    assert next_rate(saved, long, short, 600.0, 1e-3, 2e-5, 0.05, 0.03, 0.95, 1.0) == pytest.approx(after)


def test_borrowing_by_hand():
    assert usage(200_000.0, 5e6, 0.5) == pytest.approx(0.08)
    assert kinked_rate(0.5, 0.5, 1.0, 0.75) == pytest.approx(0.25)
    assert kinked_rate(1.0, 0.5, 1.0, 0.75) == pytest.approx(1.0)
    assert power_rate(150_000.0, 1e6, 2e-7, 1.0) == pytest.approx(3e-8)


def test_borrowing_without_a_kink_and_what_is_promised_by_hand():
    # Longs 30 at 100 rent a pool of 10,000 at 0.5 x 3000 / 10,000 = 0.15 per year; longs alone pay 1 per year to it.
    rule = {"rule": "adaptive_funding", "rate_max": 1.0, "rate_min": 1.0, "rate_increase": 0.0, "charge_interval": "2m"}
    rule |= {"borrow_curve": "power", "borrow_factor": 0.5}
    protocol = protocol_of(funding=rule, execution=[{"rule": "oracle_pool", "pool_equity": 10_000.0}])
    book = one_market_book([1e4], [30.0], [100.0])
    venue, _ = run_one(protocol, book, one_market_paths([100.0] * 3))
    part = 120 / (365 * 86_400)
    assert account_equity(venue)["A0"] - 1e4 == pytest.approx(-3000.0 * (1.0 + 0.15) * part, rel=1e-6)
    assert venue.out_market[0]["funding_promised"] == pytest.approx(part)
    assert venue.out_market[0]["funding_paid"] == pytest.approx(part)


def test_payers_pay_takers_and_the_larger_side_rents_the_pool():
    # Longs 30, shorts 10 at 100, fixed rate of 1 per year on longs; pool 10,000, use 0.3.
    rule = {
        "rule": "adaptive_funding",
        "rate_max": 1.0,
        "rate_min": 1.0,
        "rate_increase": 0.0,
        "borrow_base": 0.5,
        "charge_interval": "2m",
    }
    protocol = protocol_of(funding=rule, execution=[{"rule": "oracle_pool", "pool_equity": 10_000.0}])
    book = one_market_book([1e4, 1e4], [30.0, -10.0], [100.0, 100.0])
    venue, out = run_one(protocol, book, one_market_paths([100.0] * 3))
    year = 365 * 86_400
    funding = 3000.0 * 120 / year
    rent = 3000.0 * 0.15 * 120 / year
    held = account_equity(venue)
    assert held["A0"] - 1e4 == pytest.approx(-funding - rent, rel=1e-6)
    assert held["A1"] - 1e4 == pytest.approx(funding, rel=1e-6)
    assert held["pool"] - 1e4 == pytest.approx(rent, rel=1e-6)
    assert out["violation"] == 0
