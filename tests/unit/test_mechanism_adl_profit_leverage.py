"""Auto-deleveraging by rank: (M / E)^side x N / equity, the highest first, down to the last contract.

A is long 100 at 100 with cash 500; at 92 its equity is -300, its bankruptcy price 95. No depth.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.mechanisms.adl_profit_leverage import AdlProfitLeverage, choose
from tests.venues import account_cash, at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

ADL_RULE = {"rule": "adl_profit_leverage", "adl_price": "bankruptcy", "adl_when": "negative_equity"}


def run(cash, size, entry, *, world=(100.0, 92.0), makers=0.0, **rule):
    book = one_market_book(cash, size, entry, makers)
    protocol = protocol_of(waterfall=[ADL_RULE | rule])
    return run_one(protocol, book, one_market_paths(list(world), depth=0.0))


def sizes(venue, count):
    return [row_of(venue, f"A{a}")[0] for a in range(count)]


def test_a_short_that_gained_more_goes_first():
    # Same equity and notional at 92: A1 sold 100 at 120 (equity 5,000 + 2,800), A2 at 100 (7,000 + 800).
    # Side-aware 120/92 beats 100/92; the literal index (92/120 against 92/100) would say the reverse.
    # A3 keeps the market at zero and is no winner (long).
    venue, _ = run([500.0, 5000.0, 7000.0, 1e6], [100.0, -100.0, -100.0, 100.0], [100.0, 120.0, 100.0, 100.0])
    assert sizes(venue, 3) == [0.0, 0.0, -100.0]


def test_a_short_with_more_leverage_goes_first():
    # Same entry; equities at 92: 5,800 and 3,800.
    venue, _ = run([500.0, 5000.0, 3000.0, 1e6], [100.0, -100.0, -100.0, 100.0], [100.0] * 4)
    assert sizes(venue, 3) == [0.0, -100.0, 0.0]


def test_profit_and_leverage_multiply():
    # A1: 110/92 x 9,200/6,800 = 1.618; A2: 100/92 x 9,200/5,800 = 1.724: A2 first.
    venue, _ = run([500.0, 5000.0, 5000.0, 1e6], [100.0, -100.0, -100.0, 100.0], [100.0, 110.0, 100.0, 100.0])
    assert sizes(venue, 3) == [0.0, -100.0, 0.0]


@pytest.mark.parametrize("lot", [100.0, 0.125])
def test_longs_rank_by_their_own_profit(lot):
    # Bankrupt short at 108; winners long with equity 78 a contract each: A1 bought at 80, A2 at 100.
    cash = [5.0 * lot, 50.0 * lot, 70.0 * lot, 1e6]
    venue, _ = run(cash, [-lot, lot, lot, -lot], [100.0, 80.0, 100.0, 100.0], world=(100.0, 108.0))
    assert sizes(venue, 3) == [0.0, 0.0, lot]


def test_the_index_by_hand_of_the_vector_and_its_mirror():
    # vectors hyperliquid.json, hl.adl_index: mark 90,000, entry 100,000, notional 900,000, account value
    # 100,000. Literal for a short: 8.1. Side-aware: 100,000/90,000 x 9 = 10, above a leverage of 9.45 at no
    # profit, which the literal index would put first.
    book = one_market_book([1e9] * 3, [20.5, -10.0, -10.5], [90_000.0] * 3)
    venue = at_rest(protocol_of(waterfall=[ADL_RULE]), book, [90_000.0])
    for a, size, entry, value in ((1, -10.0, 100_000.0, 100_000.0), (2, -10.5, 90_000.0, 100_000.0)):
        row = venue.rows[a]
        row["entry_notional"] = row["carry"] = size * entry
        venue.accounts[a]["cash"] = value - size * (90_000.0 - entry)
    assert choose(venue, 0, 1.0, 3.0, 0.0, 1, None, None) == (1, 3.0)
    venue.accounts[2]["cash"] *= 0.9  # leverage 10.5 now
    assert choose(venue, 0, 1.0, 3.0, 0.0, 1, None, None) == (2, 3.0)
    assert choose(venue, 0, 1.0, 99.0, 0.0, 1, None, None) == (2, 10.5)  # no more than it holds
    assert choose(venue, 0, -1.0, 1.0, 0.0, 1, None, None) == (0, 1.0)  # against a bankrupt short the long is asked


def test_equal_ranks_go_by_account_id():
    venue, _ = run([500.0, 5000.0, 5000.0, 1e6], [100.0, -100.0, -100.0, 100.0], [100.0] * 4)
    assert sizes(venue, 3) == [0.0, 0.0, -100.0]


def test_the_next_is_asked_when_the_first_is_used_up():
    # A2 (higher leverage) holds 60, A1 100: 60 from A2, the other 40 from A1, at 95 each.
    venue, out = run([500.0, 5000.0, 2000.0, 1e6], [100.0, -100.0, -60.0, 60.0], [100.0] * 4)
    assert sizes(venue, 3) == [0.0, -60.0, 0.0]
    cash = account_cash(venue)
    assert [cash["A0"], cash["A1"], cash["A2"]] == pytest.approx([0.0, 5200.0, 2300.0], abs=1e-9)
    assert out["adl_shortfall"] == pytest.approx(300.0)
    assert (out["fills"], out["violation"]) == (2, 0)


def test_market_makers_are_ranked_like_anyone():
    # market_makers holds the 100 that nobody else sold; equity 1,000 + 800 makes it the most leveraged.
    venue, _ = run([500.0, 50_000.0, 1e6], [100.0, -50.0, 50.0], [100.0] * 3, makers=1000.0)
    assert row_of(venue, "market_makers")[0] == 0.0
    assert sizes(venue, 2) == [0.0, -50.0]


def test_closed_at_the_previous_mark_as_on_hyperliquid():
    # At 100: winners give up the 8 a contract that they had gained; A walks away with its 500.
    venue, out = run([500.0, 5000.0], [100.0, -100.0], [100.0, 100.0], adl_price="previous_mark")
    assert account_cash(venue)["A0"] == pytest.approx(500.0)
    assert [out[f"adl_{part}"] for part in ("loss", "shortfall", "gain", "residual", "overshoot")] == pytest.approx(
        [300.0, 800.0, 0.0, 0.0, 500.0]
    )
    assert out["mutualised_loss"] == pytest.approx(800.0)


def test_nobody_left_to_ask():
    # The other side is one account that is bankrupt itself.
    venue, out = run([500.0, 100.0], [100.0, -100.0], [100.0, 90.0])
    assert sizes(venue, 2) == [100.0, -100.0]
    assert out["adl_notional"] == 0.0
    assert out["passed_eligibility"] > 0.0
    assert out["unresolved_bad_debt"] == pytest.approx(300.0 + 100.0)


@pytest.mark.parametrize(("key", "value"), [("adl_price", "last"), ("adl_when", "never"), ("literal", True)])
def test_parameters_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        AdlProfitLeverage(**{"adl_price": "mark", key: value})
