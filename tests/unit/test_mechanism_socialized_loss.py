"""Socialized loss: cash claims shared by all rows with positive equity except the outside book.

A0 is long 100 at 100 with cash 500. The book fills any deficit at the mark (infinite depth): at 92, A0
owes 300. There is no fund.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.ledger import equity
from stress.kernels.venue import MARKET_MAKERS, VAULT
from stress.mechanisms.socialized_loss import SocializedLoss
from tests.venues import account_cash, book_of, one_market_book, one_market_paths, paths_of, protocol_of, run_one

pytestmark = pytest.mark.interpreted

ANY = [{"rule": "order_book", "deficit_fill": "any"}]


def run(book, world=(100.0, 92.0), execution=ANY, **paths):
    protocol = protocol_of(waterfall=[{"rule": "socialized_loss"}], execution=execution)
    return run_one(protocol, book, one_market_paths(list(world), **paths))


def test_shares_follow_equity_at_the_marks_of_the_round():
    # At 92: A1 (short 60) 2,000 + 480, A2 (flat but for a trifle, 1e-9) 1,000, market_makers 5,000 + 320.
    book = one_market_book([500.0, 2000.0, 1000.0], [100.0, -60.0, 1e-9], [100.0] * 3, makers_equity=5000.0)
    venue, out = run(book)
    wealth = 2480.0 + 1000.0 + 5320.0
    cash = account_cash(venue)
    assert cash["A0"] == 0.0
    assert cash["A1"] == pytest.approx(2000.0 - 300.0 * 2480.0 / wealth)
    assert cash["A2"] == pytest.approx(1000.0 - 300.0 * 1000.0 / wealth)
    assert cash["market_makers"] == pytest.approx(5000.0 - 300.0 * 5320.0 / wealth)
    assert cash["outside_book"] == 0.0
    assert out["socialized_loss"] == out["mutualised_loss"] == pytest.approx(300.0)
    assert out["bad_debt"] == pytest.approx(300.0)
    assert out["violation"] == 0


def test_accounts_without_equity_pay_nothing():
    # A1 is short 60 from 80 with 600: at 92 it owes 120. market_makers alone carries 300 + 120.
    book = one_market_book([500.0, 600.0], [100.0, -60.0], [100.0, 80.0], makers_equity=5000.0)
    cash = account_cash(run(book)[0])
    assert (cash["A0"], cash["A1"]) == (0.0, 0.0)
    assert cash["market_makers"] == pytest.approx(5000.0 - 420.0)


def test_a_loss_larger_than_all_equity_takes_all_equity_and_the_rest_stays_owed():
    # At 50 A0 owes 4,500. The other side entered at 55: A1, short 90, has 100 + 450 = 550, A2, short 10, has
    # 20 + 50 = 70. (At the 100 of t = 0 both are far below water, but nobody looks before step 1.)
    book = one_market_book([500.0, 100.0, 20.0], [100.0, -90.0, -10.0], [100.0, 55.0, 55.0])
    venue, out = run(book, (100.0, 50.0))
    assert out["liquidatable_at_start"] == 2
    assert out["socialized_loss"] == pytest.approx(620.0)
    assert [equity(venue, a) for a in (1, 2)] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert account_cash(venue)["A0"] == pytest.approx(-4500.0 + 620.0)
    assert out["passed_balance"] >= 3880.0
    assert out["unresolved_bad_debt"] == pytest.approx(3880.0)
    assert out["mutualised_loss"] == pytest.approx(4500.0)
    assert out["violation"] == 0


def test_two_claims_that_cannot_be_paid_in_full_are_relieved_alike():
    # At 50: A0 owes 4,500, A1 (long 50, cash 250) 2,250; A2 short 150 from 55 has 93 + 750 = 843:
    # both are relieved of 843 / 6,750.
    book = one_market_book([500.0, 250.0, 93.0], [100.0, 50.0, -150.0], [100.0, 100.0, 55.0])
    venue, out = run(book, (100.0, 50.0))
    relief = 843.0 / 6750.0
    assert venue.accounts["cash"][:2] == pytest.approx([-4500.0 * (1 - relief), -2250.0 * (1 - relief)])
    assert out["socialized_loss"] == pytest.approx(843.0)


def test_nobody_has_anything():
    # A1 short 100 from 45 owes 500 - 100 too when it is bought in at 50: nobody can share.
    book = one_market_book([500.0, 100.0], [100.0, -100.0], [100.0, 45.0])
    venue, out = run(book, (100.0, 50.0))
    assert out["socialized_loss"] == 0.0
    assert account_cash(venue)["A0"] == pytest.approx(-4500.0)
    assert out["unresolved_bad_debt"] == pytest.approx(4500.0 + 400.0)


def test_an_account_that_falls_below_maintenance_by_it_is_liquidated_in_the_next_round():
    # A1 long 10 of Y with cash 26 against a requirement of 25; A0's debt of 300 costs it 300 x 26 / 1,026 = 7.6.
    # market_makers: short 100 X and 10 Y, equity 200 + 800.
    book = book_of(("X", "Y"), [500.0, 26.0], [[(0, 100.0, 100.0)], [(1, 10.0, 100.0)]], makers_equity=200.0)
    protocol = protocol_of(waterfall=[{"rule": "socialized_loss"}], execution=ANY)
    venue, out = run_one(protocol, book, paths_of([[[100.0, 100.0], [92.0, 100.0]]]))
    assert [venue.rows[r]["size"] for r in range(2)] == [0.0, 0.0]
    assert account_cash(venue)["A1"] == pytest.approx(26.0 - 300.0 * 26.0 / 1026.0)
    assert (out["rounds"], out["liquidated_accounts"]) == (2, 2)


def test_what_a_vault_shares_is_socialized_loss_and_no_default_of_the_vault():
    execution = [*ANY, {"rule": "backstop_vault", "vault_equity": 4000.0, "takeover_below": 0.1}]
    venue, out = run(one_market_book([500.0], [100.0], [100.0], makers_equity=200.0), execution=execution)
    # market_makers has 200 + 800, the vault 4,000: 60 and 240.
    assert venue.accounts[venue.traders + VAULT]["cash"] == pytest.approx(3760.0)
    assert equity(venue, venue.traders + MARKET_MAKERS) == pytest.approx(940.0)
    assert (out["provider_default_loss"], out["socialized_loss"]) == (
        pytest.approx(0.0, abs=1e-9),
        pytest.approx(300.0),
    )


def test_the_loss_is_attributed_to_the_markets_that_caused_it():
    # A0 loses 800 in X and 400 in Y (equity 1,000 - 1,200): 2/3 and 1/3 of 200.
    book = book_of(("X", "Y"), [1000.0], [[(0, 100.0, 100.0), (1, 100.0, 100.0)]], makers_equity=1e6)
    protocol = protocol_of(waterfall=[{"rule": "socialized_loss"}], execution=ANY)
    venue, out = run_one(protocol, book, paths_of([[[100.0, 100.0], [92.0, 96.0]]]))
    assert out["socialized_loss"] == pytest.approx(200.0)
    assert venue.out_market["socialized_loss"].sum() == pytest.approx(200.0)
    assert np.all(venue.out_market["socialized_loss"] > 0.0)


def test_it_has_no_parameters():
    with pytest.raises(ValidationError, match="share"):
        SocializedLoss(share=0.5)
