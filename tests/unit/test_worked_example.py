"""One bankruptcy by hand: fund, then ADL, then socialized loss, with every row's cash written out.

t = 0, price 100. A is long 100 at 100 with cash 500. B is short 60 at 100 with cash 2,000.
market_makers is short 40 at 100 with cash 50,000. Fund 200. W and M fall to 92: A's equity at the mark
is -300, its bankruptcy price 95. The book fills at an average of 91 (a premium of 91/92 - 1 and no
impact: depth is infinite).
"""

from __future__ import annotations

import numpy as np
import pytest

from stress.kernels.venue import COUNTERPARTIES, HOLDERS, MARK_UPDATE
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

LONG_A, SHORT_B = 0, 1
BALANCES = COUNTERPARTIES[HOLDERS:]


def book():
    return one_market_book(cash=[500.0, 2000.0], size=[100.0, -60.0], entry=[100.0, 100.0], makers_equity=50_000.0)


def crash(mid=91.0):
    """One step from 100 to 92, with the venue's mid at `mid`."""
    return one_market_paths([100.0, 92.0], premium=[0.0, mid / 92.0 - 1.0])


def waterfall(fund, price="bankruptcy"):
    return [
        {"rule": "insurance_fund", "insurance_fund": fund},
        {"rule": "adl_pro_rata", "adl_price": price, "adl_when": "negative_equity"},
        {"rule": "socialized_loss"},
    ]


# A vault of 300 that takes nobody who owes: in the variants in which it plays no part.
IDLE_VAULT = {"rule": "backstop_vault", "vault_equity": 300.0, "takeover_below": 1.0, "takes_insolvent": False}


def venue_like(fund, *, price="bankruptcy", fill="covered", vault=IDLE_VAULT):
    execution = [{"rule": "order_book", "deficit_fill": fill}, vault]
    return protocol_of(waterfall=waterfall(fund, price), execution=execution)


def written_out(venue, total, **rows):
    """Hold every row of the venue against (cash, size, entry notional); what is not named has nothing."""
    names = account_cash(venue)
    found = {name: (cash, *row_of(venue, name)) for name, cash in names.items() if name not in BALANCES}
    found |= {name: (names[name], 0.0, 0.0) for name in BALANCES}
    expected = dict.fromkeys(found, (0.0, 0.0, 0.0)) | rows
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name] == pytest.approx(row, abs=1e-9), name
    assert sum(cash - entry for cash, _, entry in expected.values()) == pytest.approx(total)
    assert sum(size for _, size, _ in expected.values()) == 0.0


def test_covered_fills_then_adl_at_the_bankruptcy_price():
    venue, out = run_one(venue_like(200.0), book(), crash())
    written_out(
        venue,
        53_000.0,
        A1=(2150.0, -30.0, -3000.0),  # 30 of 60 bought back at 95
        market_makers=(50_100.0, -20.0, -2000.0),  # 20 of 40
        outside_book=(0.0, 50.0, 4550.0),
        vault=(300.0, 0.0, 0.0),
    )
    assert out["fund_paid"] == pytest.approx(200.0)
    assert out["adl_notional"] == pytest.approx(50 * 92.0)
    assert out["adl_loss"] == out["adl_shortfall"] == pytest.approx(150.0)
    assert out["bad_debt"] == pytest.approx(350.0)  # 50 x (95 - 91) + 50 x (95 - 92)
    assert out["adl_residual"] == pytest.approx(0.0, abs=1e-9)
    assert out["adl_overshoot"] == pytest.approx(0.0, abs=1e-9)
    assert out["mutualised_loss"] == pytest.approx(150.0)
    assert out["exhaustion_step"] == 1
    assert out["violation"] == 0


def test_any_fill_leaves_nothing_to_deleverage_and_is_socialized():
    venue, out = run_one(venue_like(200.0, fill="any"), book(), crash())
    # A owes 400; the fund pays 200, and 200 is shared by equity: B 2,480, market_makers 50,320, the vault 300.
    each = 200.0 / 53_100.0
    written_out(
        venue,
        53_000.0,
        A1=(2000.0 - each * 2480.0, -60.0, -6000.0),
        market_makers=(50_000.0 - each * 50_320.0, -40.0, -4000.0),
        outside_book=(0.0, 100.0, 9100.0),
        vault=(300.0 - each * 300.0, 0.0, 0.0),
    )
    assert out["socialized_loss"] == pytest.approx(200.0)
    assert out["adl_notional"] == 0.0
    assert out["mutualised_loss"] == pytest.approx(200.0)
    assert out["paid_to_book"] == pytest.approx(100.0)
    assert out["bad_debt"] == pytest.approx(400.0)


def test_adl_at_the_previous_mark_overshoots_and_the_excess_stays_with_the_closed_account():
    # No book: the order book has no depth.
    paths = one_market_paths([100.0, 92.0], depth=0.0)
    venue, out = run_one(venue_like(200.0, price="previous_mark"), book(), paths)
    written_out(
        venue,
        53_000.0,
        A0=(500.0, 0.0, 0.0),  # walks away with all it had
        A1=(2000.0, 0.0, 0.0),  # closed 60 at 100, its entry
        market_makers=(50_000.0, 0.0, 0.0),
        vault=(300.0, 0.0, 0.0),
        insurance_fund=(200.0, 0.0, 0.0),
    )
    assert out["adl_loss"] == pytest.approx(300.0)
    assert out["adl_shortfall"] == pytest.approx(800.0)
    assert out["adl_overshoot"] == pytest.approx(500.0)
    assert out["adl_gain"] == out["adl_residual"] == out["fund_paid"] == 0.0


def test_vault_takes_the_account_whole_and_defaults_to_the_fund():
    vault = {
        "rule": "backstop_vault",
        "vault_equity": 300.0,
        "takeover_below": 1.0,
        "takeover_limit": 1e6,
        "unwind_share": 1.0,
    }
    # No depth while the account defaults, all of it one step later, when the vault sells at 91.
    paths = one_market_paths([100.0, 92.0, 92.0], premium=[0.0, 0.0, 91.0 / 92.0 - 1.0], depth=[1.0, 0.0, np.inf])
    venue, out = run_one(venue_like(100.0, vault=vault), book(), paths)
    # 300 + 500 - 800 = 0 at the mark, - 100 by the sale: a claim on the fund, which has just that.
    written_out(
        venue,
        52_900.0,
        A1=(2000.0, -60.0, -6000.0),
        market_makers=(50_000.0, -40.0, -4000.0),
        outside_book=(0.0, 100.0, 9100.0),
    )
    assert out["provider_default_loss"] == pytest.approx(300.0)
    assert out["fund_paid"] == pytest.approx(100.0)
    assert out["mutualised_loss"] == pytest.approx(300.0)


def test_settling_funding_of_one_row_does_not_move_the_ledger_sum():
    from stress.kernels.ledger import audit, settle_funding, touch

    venue, _ = run_one(protocol_of(waterfall=waterfall(200.0)), book(), one_market_paths([100.0, 100.0]))
    unit = venue.venue[0]["audit_unit"]
    assert venue.venue[0]["audited"] * unit == pytest.approx(53_000.0 - 300.0)  # no vault in this protocol
    venue.markets[0]["funding_index"] += 1.0
    short_row = int(venue.accounts[SHORT_B]["row_start"])
    cash = venue.accounts["cash"].sum()
    touch(venue, SHORT_B)
    settle_funding(venue, short_row)
    assert venue.accounts["cash"].sum() - cash == pytest.approx(60.0)
    assert audit(venue) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_a_claim_that_waits_is_recorded_once():
    # No fund, no socialized loss, no book: A's debt passes every layer, in each of nine steps.
    paths = one_market_paths([100.0] + [92.0] * 9, depth=0.0)
    layers = [{"rule": "insurance_fund", "insurance_fund": 0.0}]
    execution = [{"rule": "order_book", "deficit_fill": "any"}]
    lone = one_market_book(cash=[500.0], size=[100.0], entry=[100.0], makers_equity=50_000.0)
    deep = paths._replace(depth=np.where(np.arange(10) == 1, np.inf, 0.0).reshape(1, 10, 1))
    _, out = run_one(protocol_of(waterfall=layers, execution=execution), lone, deep)
    assert out["passed_balance"] == pytest.approx(300.0)  # 500 - 100 x (100 - 92), once
    assert out["unresolved_bad_debt"] == pytest.approx(300.0)


def test_an_insolvent_vault_is_deleveraged_even_when_nothing_else_happens():
    execution = [
        {
            "rule": "backstop_vault",
            "vault_equity": 301.0,
            "takeover_below": 1.0,
            "takeover_limit": 1e9,
            "unwind_share": 0.0,
        }
    ]
    layers = [{"rule": "adl_pro_rata", "adl_price": "bankruptcy", "adl_when": "negative_equity"}]
    # The vault takes A's 100 at 95 when the mark is 92, keeps 1 of equity, and loses it at 91.
    paths = one_market_paths([100.0, 92.0, 91.0, 91.0])
    venue, out = run_one(protocol_of(waterfall=layers, execution=execution), book(), paths)
    assert row_of(venue, "vault")[0] == 0.0
    assert out["adl_notional"] == pytest.approx(100 * 91.0)
    assert out["unresolved_bad_debt"] == 0.0


@pytest.mark.parametrize(("outage", "age"), [([0, 0], 60.0), ([0, 0, 0], 60.0), ([0, MARK_UPDATE, 0], 120.0)])
def test_the_age_of_the_previous_mark_counts_from_the_step_that_set_it(outage, age):
    # Deleveraged in the last step, at 100: set one step before, or, where step 1 could not set it, at t = 0.
    paths = one_market_paths([100.0] * (len(outage) - 1) + [92.0], depth=0.0, venue_outage=outage)
    _, out = run_one(protocol_of(waterfall=waterfall(200.0, price="previous_mark")), book(), paths)
    assert out["adl_shortfall"] == pytest.approx(800.0)
    assert out["adl_notional_age"] / out["adl_notional"] == pytest.approx(age)


def test_other_prices_of_deleveraging_have_no_age():
    _, out = run_one(protocol_of(waterfall=waterfall(200.0)), book(), crash())
    assert out["adl_notional"] > 0.0
    assert out["adl_notional_age"] == 0.0


def test_each_limit_records_the_whole_account_once():
    # Long 100 X and 100 Y at 100, cash 1,000, both at 92: A owes 600, half in each market. The fund is
    # empty, so the book (at 74) fills nothing, and the only winner, market_makers, has no equity.
    two = book_of(("X", "Y"), [1000.0], [[(0, 100.0, 100.0), (1, 100.0, 100.0)]], makers_equity=-1600.0)
    blocked = paths_of([[[100.0, 100.0], [92.0, 92.0], [92.0, 92.0]]], premium=-0.2)
    _, out = run_one(protocol_of(waterfall=waterfall(0.0)), two, blocked)
    assert out["adl_notional"] == 0.0
    assert out["passed_balance"] == pytest.approx(600.0)
    assert out["passed_eligibility"] == pytest.approx(600.0)
    assert out["unresolved_bad_debt"] == pytest.approx(600.0)


@pytest.mark.parametrize(
    ("fund", "depth", "limits"),
    [
        ({"insurance_fund": 1e6, "fund_cap_per_market": 200.0}, np.inf, {"cap": 150.0}),
        ({"insurance_fund": 1e6}, 0.0, {"cap": 300.0}),  # a book without depth
        ({"insurance_fund": 200.0}, np.inf, {"balance": 150.0}),
    ],
)
def test_what_the_book_could_not_take_names_its_limit(fund, depth, limits):
    # A's 100 contracts are each 3 below its bankruptcy price. A fund that pays 200 covers 50 of them at 91.
    layers = [{"rule": "insurance_fund", **fund}, *waterfall(0.0)[1:]]
    block = crash()._replace(depth=np.full((1, 2, 1), depth))
    _, out = run_one(protocol_of(waterfall=layers), book(), block)
    found = {name: out[f"passed_{name}"] for name in ("balance", "cap", "eligibility", "time") if out[f"passed_{name}"]}
    assert found == pytest.approx(limits)
