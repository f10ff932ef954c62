"""The smallest multiple of a share that restores the target ratio."""

from __future__ import annotations

import pytest

from stress.mechanisms.share_multiples import after_share, quantity, smallest_share
from stress.peers.standing import venue_of
from tests.venues import book_of, one_market_book, one_market_paths, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted


def test_the_worked_table_by_hand():
    # Paradex: equity 80, requirement 88.8, penalty 50 %.
    assert after_share(80.0, 88.8, 0.2, 0.5) == pytest.approx((71.04, 8.88, 71.12))
    assert after_share(80.0, 88.8, 0.6, 0.5) == pytest.approx((35.52, 26.64, 53.36))
    assert smallest_share(80.0, 88.8, 0.2, 0.9, 0.5) == pytest.approx(0.4)  # 53.28 / 62.24 = 0.856
    assert smallest_share(-5.0, 88.8, 0.2, 0.9, 0.5) == 1.0
    assert smallest_share(80.0, 88.8, 1.0, 0.9, 0.5) == 1.0


def test_every_row_of_a_round_is_reduced_by_one_share():
    rule = {"rule": "share_multiples", "share_step": 0.2, "target_margin_ratio": 0.9, "penalty_rate": 0.5}
    venue = venue_of({"X": 1.0, "Y": 1.0}, [(0.0, {0: (100.0, 1.0), 1: (-50.0, 1.0)})], size=rule)
    assert quantity(venue, 0, 0, 80.0, 88.8, 0.0, 1, None, None) == pytest.approx(40.0)
    # After the first row equity and requirement are others; the share of the round stays.
    assert quantity(venue, 0, 1, 80.0, 20.0, 0.0, 1, None, None) == pytest.approx(20.0)
    venue.venue[0]["round"] += 1.0
    assert quantity(venue, 0, 1, 80.0, 70.0, 0.0, 1, None, None) == pytest.approx(10.0)


TWO_LEGS = {"rule": "share_multiples", "share_step": 0.5, "target_margin_ratio": 0.9}


def test_the_first_row_may_cure_the_account_and_the_others_are_reduced_alike():
    # Two longs of 10 at 100 with 80: at 97 equity is 20 of 48.5 due; half of both leaves 24.25 / 20, so all is closed.
    # At 99 equity is 60 of 49.5: not due. At 98, 40 of 49: half leaves 24.5 / 40 = 0.61, though a half of one row
    # (36.75 of 40) would cure it.
    book = book_of(("X", "Y"), [80.0], [[(0, 10.0, 100.0), (1, 10.0, 100.0)]])
    block = paths_of([[[100.0, 100.0], [98.0, 98.0]]])
    venue, outcome = run_one(protocol_of(size=TWO_LEGS), book, block)
    assert (row_of(venue, "A0", 0)[0], row_of(venue, "A0", 1)[0]) == (5.0, 5.0)
    assert outcome["fills"] == 2


def test_an_account_that_nothing_cures_ends_flat():
    # The fee of 5 % takes what each order frees, so the account stays due until its last dollar.
    rule = TWO_LEGS | {"share_step": 0.01, "dust_below": 0.01}
    protocol = protocol_of(
        size=rule,
        fees={"rule": "liquidation_fee", "liquidation_fee": 0.05, "fee_to": "insurance_fund"},
        waterfall=[{"rule": "insurance_fund", "insurance_fund": 1e9}],
    )
    venue, outcome = run_one(protocol, one_market_book([5.2e6], [1e6], [100.0]), one_market_paths([100.0, 97.0]))
    assert (row_of(venue, "A0")[0], outcome["violation"]) == (0.0, 0)
