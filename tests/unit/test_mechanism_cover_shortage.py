"""Cover the shortage: the smallest fill that restores target x requirement at a constant price.

Long 100 at 100 with cash 300; maintenance 2.5 %. At 99: equity 200, requirement 247.5, 2.475 a contract,
bankruptcy price 97.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.margin import assess
from stress.mechanisms.cover_shortage import CoverShortage
from stress.mechanisms.tiered_margin import maintenance
from tests.venues import (
    account_cash,
    book_of,
    one_market_book,
    one_market_paths,
    paths_of,
    protocol_of,
    row_of,
    run_one,
)

pytestmark = pytest.mark.interpreted

LONG = one_market_book([300.0], [100.0], [100.0])
FEE = {"rule": "liquidation_fee", "liquidation_fee": 0.005}


def run_at(price, *, book=LONG, fees=None, margin=None, depth=np.inf, **rule):
    stages = {"size": {"rule": "cover_shortage", **rule}}
    stages |= {"fees": fees} if fees else {}
    stages |= {"margin": margin} if margin else {}
    return run_one(protocol_of(**stages), book, one_market_paths([100.0, price], depth=depth))


def test_one_fill_restores_the_requirement():
    # (100 - q) 2.475 = 200.
    venue, out = run_at(99.0)
    assert row_of(venue, "A0")[0] == pytest.approx(200.0 / 2.475)
    equity, requirement = assess(venue, 0, maintenance)
    assert equity == pytest.approx(requirement, rel=1e-11)
    assert equity >= requirement
    assert out["fills"] == 1


def test_a_target_above_one_leaves_a_margin():
    # 1.25 (100 - q) 2.475 = 200.
    venue, _ = run_at(99.0, target_ratio=1.25)
    assert row_of(venue, "A0")[0] == pytest.approx(200.0 / 2.475 / 1.25)


def test_the_fee_is_met_too():
    # 1.25 (100 - q) 2.475 = 200 - 0.495 q: 109.375 = 2.59875 q.
    venue, out = run_at(99.0, target_ratio=1.25, fees=FEE)
    closed = 109.375 / 2.59875
    assert row_of(venue, "A0")[0] == pytest.approx(100.0 - closed)
    assert out["fund_received"] == pytest.approx(0.495 * closed)
    equity, requirement = assess(venue, 0, maintenance)
    assert equity == pytest.approx(1.25 * requirement, rel=1e-11)


def test_the_root_is_found_across_tiers():
    # 2 % up to 5,000, 4 % above, deduction 100. At 99 the requirement is 396 - 100 = 296 > 200; the target
    # lies in the first tier: 2 % x 99 x s = 200 would be 101 > 50.5 contracts, so in the second:
    # 3.96 s - 100 = 200, s = 75.76.
    tiers = [
        {"above": 0, "leverage_cap": 25, "maintenance_to_initial_ratio": 0.5},
        {"above": 5000, "leverage_cap": 12.5, "maintenance_to_initial_ratio": 0.5},
    ]
    margin = {"rule": "tiered_margin", "markets": {"X": tiers}}
    venue, _ = run_at(99.0, margin=margin)
    assert row_of(venue, "A0")[0] == pytest.approx(300.0 / 3.96)
    # Cash 150, equity 50: in the first tier, 1.98 s = 50.
    venue, _ = run_at(99.0, margin=margin, book=one_market_book([150.0], [100.0], [100.0]))
    assert row_of(venue, "A0")[0] == pytest.approx(50.0 / 1.98)


def test_a_small_remainder_is_closed_too():
    left = 200.0 / 2.475 / 1.25 * 99.0  # 6,400 USD
    assert row_of(run_at(99.0, target_ratio=1.25, whole_below=left * 1.001)[0], "A0")[0] == 0.0
    assert row_of(run_at(99.0, target_ratio=1.25, whole_below=left * 0.999)[0], "A0")[0] > 0.0


@pytest.mark.parametrize("price", [97.0, 96.9])
def test_without_equity_nothing_but_the_whole_will_do(price):
    # At 97 equity is 0 exactly, below it negative: filled as far as the fund (10,000) covers.
    venue, out = run_one(
        protocol_of(
            size={"rule": "cover_shortage"}, waterfall=[{"rule": "insurance_fund", "insurance_fund": 10_000.0}]
        ),
        LONG,
        one_market_paths([100.0, price]),
    )
    assert row_of(venue, "A0")[0] == 0.0
    assert out["fund_paid"] == pytest.approx(100.0 * (97.0 - price))


def test_a_second_position_covers_what_the_first_cannot():
    # X: 10 at 100, Y: 100 at 100, cash 325. At X = 90: equity 225, requirement 22.5 + 250. Closing all of
    # X frees 22.5 and leaves 225 < 250; then (100 - q) 2.5 = 225: q = 10.
    book = book_of(("X", "Y"), [325.0], [[(0, 10.0, 100.0), (1, 100.0, 100.0)]])
    protocol = protocol_of(size={"rule": "cover_shortage"})
    venue, _ = run_one(protocol, book, paths_of([[[100.0, 100.0], [90.0, 100.0]]]))
    assert row_of(venue, "A0", 0)[0] == 0.0
    assert row_of(venue, "A0", 1)[0] == pytest.approx(90.0)
    assert account_cash(venue)["A0"] == pytest.approx(225.0)


def test_slippage_is_met_by_the_next_round():
    # Depth 10,000 at 1 %: the first fill costs a little, so that a second and third fill follow.
    venue, out = run_at(99.0, depth=10_000.0)
    equity, requirement = assess(venue, 0, maintenance)
    assert equity >= requirement
    assert equity == pytest.approx(requirement, rel=1e-4)
    assert out["fills"] > 1


@pytest.mark.parametrize(("key", "value"), [("target_ratio", 0.99), ("whole_below", -1.0), ("target", 1.2)])
def test_parameters_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        CoverShortage(**{key: value})
