"""Dutch auction: falls until somebody can sell on, waits, starts anew; stuck without liquidity."""

from __future__ import annotations

import numpy as np
import pytest

from stress.mechanisms.dutch_auction import asking_price
from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {
    "rule": "dutch_auction",
    "auction_premium": 0.0,
    "auction_drop": 0.1,
    "auction_length": "5m",
    "auction_reset": "2m",
}
BOOK = one_market_book([40.0], [10.0], [100.0])


def run(depth, steps=12, **changed):
    protocol = protocol_of(execution=[RULE | changed])
    return run_one(protocol, BOOK, one_market_paths([100.0] + [97.0] * steps, depth=depth))


def test_the_price_falls_in_a_straight_line_and_then_stands():
    assert [asking_price(100.0, 1.0, 0.1, age, 5.0) for age in (0, 1, 5, 9)] == pytest.approx([100.0, 98.0, 90.0, 90.0])
    assert asking_price(100.0, -1.0, 0.1, 5, 5.0) == pytest.approx(110.0)


def test_with_depth_it_sells_at_once_at_the_oracle_price():
    venue, _ = run(np.inf)
    assert account_cash(venue)["A0"] == pytest.approx(10.0)
    assert row_of(venue, "A0") == (0.0, 0.0)


def test_a_premium_waits_until_the_price_has_come_down():
    # Starts at 97 x 1.05 in step 1; 10 % over five steps: at or below the mid of 97 in step 4.
    venue, out = run(np.inf, auction_premium=0.05)
    assert out["first_liquidation_step"] == 4
    assert account_cash(venue)["A0"] == pytest.approx(40.0 - 10.0 * (100.0 - 97.0 * 1.05 * 0.94))


def test_without_liquidity_it_is_stuck_and_what_is_open_is_unresolved():
    deep = one_market_paths([100.0] + [90.0] * 12, depth=0.0)
    venue, out = run_one(protocol_of(execution=[RULE]), BOOK, deep)
    assert row_of(venue, "A0")[0] == 10.0
    assert out["fills"] == 0
    assert out["unresolved_bad_debt"] == pytest.approx(60.0)


def test_an_auction_that_failed_starts_anew_after_its_wait():
    # Steps 1 to 6 (ages 0 to 5) without depth, 7 and 8 wait, 9 starts anew at 97: depth comes back in step 7.
    venue, out = run([1.0] + [0.0] * 6 + [np.inf] * 6)
    assert out["first_liquidation_step"] == 9
    assert account_cash(venue)["A0"] == pytest.approx(10.0)
