"""Premium-clamp funding: F = prem + clamp(interest - prem), a share of it per interval, capped. Step 60 s."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress import engine
from stress.errors import StudyError
from stress.kernels.ledger import equity
from stress.kernels.venue import FUND, MARKET_MAKERS
from stress.mechanisms.premium_clamp_funding import PremiumClampFunding
from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

BOOK = one_market_book([5000.0, 5000.0], [10.0, -4.0], [100.0, 100.0], makers_equity=5000.0)


def venue_after(premium, *, world=100.0, book=BOOK, venue_outage=0, **funding):
    """The venue after as many steps as `premium` lists, interval of three steps unless said."""
    funding = {"rule": "premium_clamp_funding", "funding_interval": "180s"} | funding
    world = [world] * len(premium) if np.ndim(world) == 0 else world
    paths = one_market_paths(world, premium=list(premium), venue_outage=venue_outage)
    return run_one(protocol_of(funding=funding), book, paths)[0]


def index_after(premium, **given):
    return venue_after(premium, **given).markets[0]["funding_index"]


def test_the_documents_example_one_percent_premium_for_an_hour_costs_ten_contracts_118_75():
    # prem = 1 %, F = 0.01 - 0.0005 = 0.0095 per 8 h, an eighth of it per hour: 0.0011875 of 10 x 10,000.
    book = one_market_book([1e6], [10.0], [10_000.0])
    venue = venue_after([0.01] * 61, world=10_000.0, book=book, funding_interval="1h")
    assert venue.markets[0]["funding_index"] * 10.0 == pytest.approx(118.75)


def test_without_a_premium_the_interest_is_paid():
    # 0.01 % per 8 h: 0.00125 % per hour.
    assert index_after([0.0] * 61, funding_interval="1h") == pytest.approx(0.0000125 * 100.0)


def test_the_premium_is_the_mean_over_the_interval_without_the_step_at_its_start():
    # Steps 1, 2, 3: mean 0.2 %, pulled by 0.05 % to 0.15 %, of which 180 / 28,800.
    assert index_after([0.9, 0.001, 0.002, 0.003]) == pytest.approx(0.0015 * 180 / 28_800 * 100.0)
    assert index_after([0.9, 0.001, 0.002]) == 0.0  # nothing before the boundary


def test_each_interval_has_its_own_mean():
    first, second = 0.0015, -0.0025 + 0.0005
    premium = [0.0, 0.002, 0.002, 0.002, -0.0025, -0.0025, -0.0025]
    assert index_after(premium) == pytest.approx((first + second) * 180 / 28_800 * 100.0)


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        (0.0003, 0.0001),  # within the clamp: the interest, exactly
        (0.0006, 0.0001),  # the clamp's edge
        (0.0007, 0.0002),  # beyond it the premium counts, less the clamp
        (-0.0004, 0.0001),  # the lower edge
        (-0.0005, 0.0),
        (-0.002, -0.0015),
    ],
)
def test_the_pull_towards_the_interest_is_clamped(premium, rate):
    assert index_after([premium] * 4) == pytest.approx(rate * 180 / 28_800 * 100.0, abs=1e-15)


def test_the_rate_is_capped_per_interval_on_both_sides():
    # 50 % in an hour would be (0.5 -+ 0.0005) / 8 = 6.24 %.
    assert index_after([0.5] * 61, funding_interval="1h") == pytest.approx(0.04 * 100.0)
    assert index_after([-0.5] * 61, funding_interval="1h") == pytest.approx(-0.04 * 100.0)
    # At 32.05 % the capped and the uncapped rate meet: (0.3205 - 0.0005) / 8 = 0.04.
    assert index_after([0.3205] * 61, funding_interval="1h") == pytest.approx(0.04 * 100.0)


def test_payment_is_at_the_oracle_price_of_the_boundary():
    # No premium, so the rate is the interest; the oracle stands at 103 when the interval ends.
    assert index_after([0.0] * 4, world=[100.0, 101.0, 102.0, 103.0]) == pytest.approx(0.0001 / 160 * 103.0)


def test_longs_pay_shorts_receive_and_nothing_is_lost():
    start = np.array([5000.0, 5000.0, 5000.0])
    venue = venue_after([0.0, 0.002, 0.002, 0.002])
    index = venue.markets[0]["funding_index"]
    holders = [0, 1, venue.traders + MARKET_MAKERS]
    paid = start - [equity(venue, a) for a in holders]
    assert paid == pytest.approx([10.0 * index, -4.0 * index, -6.0 * index], rel=1e-9)
    assert venue.accounts["cash"][:2].tolist() == [5000.0, 5000.0]  # settled only when an event touches the account


def test_a_fill_settles_the_account_at_once():
    # A huge rate, so that funding alone pulls the long below its requirement: index 4 after step 3.
    # Long 10, cash 60: equity 60 - 40 = 20 < 25. Sold at 100 = entry: what is left is 20.
    book = one_market_book([60.0], [10.0], [100.0], makers_equity=5000.0)
    venue = venue_after([0.0] * 4, book=book, interest=1.0, funding_clamp=1.0, funding_period="180s")
    assert venue.markets[0]["funding_index"] == pytest.approx(4.0)
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert venue.accounts[0]["cash"] == pytest.approx(20.0)


def test_an_interval_that_ends_while_blocked_is_not_paid_later():
    blocked = np.array([[0, 0, 0, FUND, 0, 0, 0]], np.uint8)
    venue = venue_after([0.0, 0.002, 0.002, 0.002, 0.001, 0.001, 0.001], venue_outage=blocked)
    # Only the second interval, with its own mean: 0.1 % - 0.05 %.
    assert venue.markets[0]["funding_index"] == pytest.approx(0.0005 * 180 / 28_800 * 100.0)
    assert venue.markets[0]["premium_samples"] == 0.0
    within = np.array([[0, FUND, FUND, 0]], np.uint8)
    assert index_after([0.0, 0.002, 0.002, 0.002], venue_outage=within) > 0.0  # a block between boundaries is none


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"funding_interval": "0s"}, "funding: null"),
        ({"funding_interval": {"value": "30s", "at_step": "0s"}}, "funding: null"),
        ({"funding_period": "0s"}, "funding_period"),
        ({"funding_clamp": -0.1}, "funding_clamp"),
        ({"funding_cap": 0.0}, "funding_cap"),
        ({"interest": "1%"}, "interest"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, rule):
    with pytest.raises(ValidationError, match=rule):
        PremiumClampFunding(**wrong)


def test_an_interval_that_the_step_cannot_meet_is_refused():
    with pytest.raises(StudyError, match="whole multiple"):
        PremiumClampFunding(funding_interval="90s").terms("X", 60.0)


def test_tails_are_left_out_of_the_mean():
    # Five samples, a fifth at either end: the mean of 0.1, 0.2, 0.3 % is pulled by 0.05 % to 0.15 %, of which 300 / 28,800.
    premium = [0.0, 0.9, 0.001, -0.7, 0.002, 0.003]
    found = index_after(premium, funding_interval="300s", tail_removal=0.2)
    assert found == pytest.approx(0.0015 * 300 / 28_800 * 100.0)


def test_tails_of_long_intervals_are_refused():
    funding = {"rule": "premium_clamp_funding", "tail_removal": 0.1}
    with pytest.raises(StudyError, match="at most 256 steps"):
        protocol_of(funding=funding).terms("X", 10.0)


def test_the_rate_is_clamped_by_the_gap_between_the_margin_rates():
    # 20x, half of it maintenance: 6 x (0.05 - 0.025) = 15 % per 8 h; a premium of 40 % asks 39.95 %.
    found = index_after([0.4] * 4, margin_clamp_factor=6.0)
    assert found == pytest.approx(0.15 * 180 / 28_800 * 100.0)


def test_open_interest_does_not_widen_the_clamp():
    # dYdX v4: initial margin stands at 100 % of notional, but the clamp is 6 x (5 % - 3 %) of the tier.
    rates = {"leverage_cap": 20, "maintenance_to_initial_ratio": 0.6}
    rates |= {"open_interest_lower": 1.0, "open_interest_upper": 2.0}
    margin = {"rule": "open_interest_margin", "markets": {"default": rates}}
    funding = {"rule": "premium_clamp_funding", "funding_interval": "180s", "margin_clamp_factor": 6.0}
    paths = one_market_paths([100.0] * 4, premium=[0.4] * 4)
    venue = run_one(protocol_of(funding=funding, margin=margin), BOOK, paths)[0]
    assert venue.markets[0]["funding_index"] == pytest.approx(0.12 * 180 / 28_800 * 100.0)


def test_promised_and_paid_are_recorded_with_the_turns_of_the_sign():
    # At t = 0 a premium of 0.2 %: 0.15 % per 8 h, twice 180 s of it. Paid: -0.2 %, then 0.15 %, then -0.2 % per 8 h.
    premium = [0.002, -0.0025, -0.0025, -0.0025, 0.002, 0.002, 0.002, -0.0025, -0.0025, -0.0025]
    protocol = protocol_of(funding={"rule": "premium_clamp_funding", "funding_interval": "180s"})
    paths = one_market_paths([100.0] * 10, premium=premium)
    cell = engine.build_cell(protocol, BOOK, prices=np.array([100.0]), step=60.0)
    found = engine.simulate(engine.compose(protocol), cell, paths).markets[0, 0]
    assert found["funding_promised"] == pytest.approx(0.0015 * 540 / 28_800)
    assert found["funding_paid"] == pytest.approx((-0.002 + 0.0015 - 0.002) * 180 / 28_800)
    assert found["funding_flips"] == 2
