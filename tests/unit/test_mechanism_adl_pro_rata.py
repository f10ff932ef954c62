"""Auto-deleveraging pro rata, with the three prices, I5 by hand, and who may be asked.

A is long 100 at 100 with cash 500; at 92 its equity is -300 and its bankruptcy price 95. The book has no
depth, so that nothing is sold.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import ADL
from stress.mechanisms.adl_pro_rata import AdlProRata
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


def run(book, world=(100.0, 92.0), *, price="bankruptcy", when="negative_equity", fund=0.0, below=(), **paths):
    layers = [
        {"rule": "insurance_fund", "insurance_fund": fund},
        {"rule": "adl_pro_rata", "adl_price": price, "adl_when": when},
        *below,
    ]
    return run_one(protocol_of(waterfall=layers), book, one_market_paths(list(world), depth=0.0, **paths))


def identity_holds(out):
    parts = out["adl_shortfall"] - out["adl_gain"] + out["adl_residual"] - out["adl_overshoot"]
    return out["adl_loss"] == pytest.approx(parts, abs=1e-9)


# A and two shorts of 60 and 40 with plenty of cash: market_makers holds nothing.
TWO_SHORTS = one_market_book([500.0, 5000.0, 5000.0], [100.0, -60.0, -40.0], [100.0] * 3)


def test_two_winners_give_up_the_same_share():
    # A's contracts are 100 of 100: all go. A second long of 100 that survives is closed against market_makers'
    # 100 more, so that 100 contracts of A meet 200 of winners: each gives a half.
    book = one_market_book([500.0, 5000.0, 5000.0, 50_000.0], [100.0, -60.0, -40.0, 100.0], [100.0] * 4, 50_000.0)
    venue, out = run(book)
    assert [row_of(venue, name)[0] for name in ("A0", "A1", "A2", "market_makers")] == pytest.approx(
        [0.0, -30.0, -20.0, -50.0]
    )
    # Each winner bought back at 95 what it had sold at 100: 5 a contract instead of 8.
    cash = account_cash(venue)
    assert [cash["A0"], cash["A1"], cash["A2"]] == pytest.approx([0.0, 5150.0, 5100.0])
    assert out["adl_shortfall"] == pytest.approx(300.0)
    assert out["adl_notional"] == pytest.approx(9200.0)
    assert out["first_adl_step"] == 1
    assert identity_holds(out)


def test_the_last_winner_takes_what_rounding_left():
    # Three winners of a third each: no contract of A is left over.
    sizes = [100.0, -100.0 / 3, -100.0 / 3, -100.0 / 3]
    venue, out = run(one_market_book([500.0] + [5000.0] * 3, sizes, [100.0] * 4))
    assert row_of(venue, "A0") == (0.0, 0.0)
    assert out["fills"] == 3


def test_at_the_bankruptcy_price_the_account_ends_at_zero():
    venue, out = run(TWO_SHORTS)
    assert account_cash(venue)["A0"] == pytest.approx(0.0, abs=1e-9)
    assert [out[f"adl_{part}"] for part in ("loss", "shortfall", "gain", "residual", "overshoot")] == pytest.approx(
        [300.0, 300.0, 0.0, 0.0, 0.0], abs=1e-9
    )
    assert out["bad_debt"] == pytest.approx(300.0)


def test_at_the_mark_winners_lose_nothing_and_the_account_owes_all():
    # A: 500 - 800 = -300, left to the layers below.
    venue, out = run(TWO_SHORTS, price="mark", below=[{"rule": "socialized_loss"}])
    assert [out[f"adl_{part}"] for part in ("loss", "shortfall", "gain", "residual", "overshoot")] == pytest.approx(
        [300.0, 0.0, 0.0, 300.0, 0.0]
    )
    assert out["socialized_loss"] == pytest.approx(300.0)
    assert out["bad_debt"] == pytest.approx(300.0)
    assert account_cash(venue)["A0"] == pytest.approx(0.0, abs=1e-9)


def test_at_a_previous_mark_on_the_far_side_winners_gain_and_the_account_owes_more():
    # Mark 100, 90 (deleveraging blocked), 94. In step 2 equity is -100 and the bankruptcy price 95; closed
    # at 90: winners get 4 a contract more than the mark gave, A owes 500.
    blocked = np.array([[0, ADL, 0]], np.uint8)
    venue, out = run(TWO_SHORTS, (100.0, 90.0, 94.0), price="previous_mark", venue_outage=blocked)
    assert [out[f"adl_{part}"] for part in ("loss", "shortfall", "gain", "residual", "overshoot")] == pytest.approx(
        [100.0, 0.0, 400.0, 500.0, 0.0]
    )
    assert identity_holds(out)
    assert account_cash(venue)["A0"] == pytest.approx(-500.0)
    assert account_cash(venue)["A1"] == pytest.approx(5600.0)
    # What A owes beyond its loss at the mark went to the winners: unresolved, and no more than that.
    assert out["unresolved_bad_debt"] == pytest.approx(500.0)
    assert out["bad_debt"] == pytest.approx(100.0)


def test_at_a_previous_mark_between_bankruptcy_price_and_mark_the_loss_is_split():
    # Mark 100, 94 (blocked), 92: closed at 94, that is 2 of the 3 a contract.
    blocked = np.array([[0, ADL, 0]], np.uint8)
    out = run(TWO_SHORTS, (100.0, 94.0, 92.0), price="previous_mark", venue_outage=blocked)[1]
    assert [out[f"adl_{part}"] for part in ("loss", "shortfall", "gain", "residual", "overshoot")] == pytest.approx(
        [300.0, 200.0, 0.0, 100.0, 0.0]
    )
    assert identity_holds(out)


def test_a_bankrupt_short_mirrors():
    # Short 100 at 100, cash 500, at 108: bankruptcy price 105.
    book = one_market_book([500.0, 5000.0, 5000.0], [-100.0, 60.0, 40.0], [100.0] * 3)
    venue, out = run(book, (100.0, 108.0))
    assert [row_of(venue, name)[0] for name in ("A0", "A1", "A2")] == pytest.approx([0.0, 0.0, 0.0])
    assert account_cash(venue)["A1"] == pytest.approx(5300.0)
    assert out["adl_shortfall"] == pytest.approx(300.0)
    assert identity_holds(out)


# --------------------------------------------------------------------------------- when, and who


@pytest.mark.parametrize(("fund", "closed"), [(299.0, True), (300.0, False), (1000.0, False)])
def test_while_the_fund_can_carry_the_claim_it_waits(fund, closed):
    venue, out = run(TWO_SHORTS, when="fund_exhausted", fund=fund)
    assert (row_of(venue, "A0")[0] == 0.0) is closed
    if not closed:  # nothing else closes it: at the horizon the fund pays
        assert out["fund_paid"] == pytest.approx(300.0)
        assert out["mutualised_loss"] == 0.0


def test_negative_equity_alone_is_enough_where_the_rule_says_so():
    venue, out = run(TWO_SHORTS, fund=1e6)
    assert row_of(venue, "A0")[0] == 0.0
    assert out["fund_paid"] == 0.0


@pytest.mark.parametrize(("price", "closed"), [(95.0, False), (94.9, True)])
def test_equity_of_zero_is_not_negative(price, closed):
    venue, _ = run(TWO_SHORTS, (100.0, price))
    assert (row_of(venue, "A0")[0] == 0.0) is closed


def test_winners_without_equity_are_not_asked_and_the_rest_stays_open():
    # A1's short was sold at 80: at 92 it has lost 720 of 500, and has nothing to give. 40 are left to close.
    book = one_market_book([500.0, 500.0, 5000.0], [100.0, -60.0, -40.0], [100.0, 80.0, 100.0])
    venue, out = run(book)
    # A1 is bankrupt itself and meets A as soon as A has equity; A never has.
    assert row_of(venue, "A0")[0] == pytest.approx(60.0)
    assert row_of(venue, "A2") == (0.0, 0.0)
    assert out["passed_eligibility"] > 0.0
    assert out["unresolved_bad_debt"] == pytest.approx(60.0 * 3.0 + 220.0)


def test_the_outside_book_is_never_deleveraged():
    # A first short is liquidated into the book (infinite depth), which is then short of nothing but long 10.
    book = one_market_book([500.0, 20.0], [100.0, -10.0], [100.0, 100.0], makers_equity=1e6)
    layers = [{"rule": "adl_pro_rata", "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    # Up to 101: the short of 10 (equity 10 < 25) is bought from the book, which is short 10. Down to 92:
    # A is bankrupt; market_makers (short 90) takes all it has, 10 stay open though the book is short 10.
    paths = one_market_paths([100.0, 101.0, 92.0], depth=np.array([0.0, np.inf, 0.0]))
    venue, _ = run_one(protocol_of(waterfall=layers), book, paths)
    assert row_of(venue, "outside_book")[0] == -10.0
    assert row_of(venue, "market_makers")[0] == 0.0
    assert row_of(venue, "A0")[0] == pytest.approx(10.0)


def test_a_halt_of_deleveraging_lets_the_loss_pass_for_want_of_time():
    blocked = np.array([[0, ADL]], np.uint8)
    venue, out = run(TWO_SHORTS, venue_outage=blocked)
    assert row_of(venue, "A0")[0] == 100.0
    assert out["passed_time"] >= 300.0
    assert out["unresolved_bad_debt"] == pytest.approx(300.0)


def test_every_position_of_the_account_is_closed_and_together_they_lose_its_deficit():
    # Long 100 X and short 100 Y at 100, cash 500: X at 92, Y at 103: equity -600. Maintenance 230 + 257.5,
    # by which the deficit is split. Winners: market_makers, on both.
    book = book_of(("X", "Y"), [500.0], [[(0, 100.0, 100.0), (1, -100.0, 100.0)]], makers_equity=1e6)
    layers = [{"rule": "adl_pro_rata", "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    venue, out = run_one(protocol_of(waterfall=layers), book, paths_of([[[100.0, 100.0], [92.0, 103.0]]], depth=0.0))
    assert [row_of(venue, "A0", m)[0] for m in (0, 1)] == [0.0, 0.0]
    assert account_cash(venue)["A0"] == pytest.approx(0.0, abs=1e-9)
    assert venue.out_market["adl_shortfall"] == pytest.approx([600.0 * 230.0 / 487.5, 600.0 * 257.5 / 487.5])
    assert out["adl_shortfall"] == pytest.approx(600.0)


@pytest.mark.parametrize(
    ("key", "value"), [("adl_price", "world"), ("adl_price", None), ("adl_when", "always"), ("rank", "profit")]
)
def test_parameters_that_make_no_sense_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        AdlProRata(**{"adl_price": "mark", key: value})
