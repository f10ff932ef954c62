"""Collateral at weights: what of a holding counts, when it is sold, and what a freeze does."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stress.engine import build_cell
from stress.errors import StudyError
from stress.kernels.margin import assess
from stress.mechanisms.collateral_weights import CollateralWeights, bound, initial, maintenance, sale, scaled_weight
from stress.peers.standing import venue_of
from tests.venues import account_cash, book_of, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

ETH = {"initial_weight": 0.8, "maintenance_weight": 0.9}


def rule(**more):
    return {"rule": "collateral_weights", "markets": {"ETH": ETH | more}}


def venue(cash=0.0, size=10.0, **more):
    return venue_of({"ETH": 50.0}, [(cash, {0: (size, 0.0)})], collateral=[rule(**more)])


def test_a_holding_counts_in_full_as_equity_and_asks_for_its_haircut():
    v = venue(cash=100.0)
    assert assess(v, 0, maintenance) == pytest.approx((600.0, 50.0))
    assert initial(v, 0, 10.0, 50.0) == pytest.approx(100.0)
    assert bound(v, 0, 10.0, 40.0, 60.0) == pytest.approx(60.0)


def test_size_discount_scale_and_liability_weights_by_hand():
    # sqrt(10,000) x 0.005 = 0.5: 1.1 / 1.5.
    assert maintenance(venue(size_discount=0.005), 0, 1e4, 1.0) == pytest.approx(1e4 * (1.0 - 1.1 / 1.5))
    assert maintenance(venue(size_discount=0.005), 0, 1.0, 1.0) == pytest.approx(0.1)
    v = venue(scale_start=250.0)  # deposits are 500 USD
    assert scaled_weight(v, 0) == pytest.approx(0.4)
    borrowed = venue(initial_liability_weight=1.2, maintenance_liability_weight=1.1, size_discount=0.005)
    assert maintenance(borrowed, 0, -1.0, 50.0) == pytest.approx(5.0)
    assert maintenance(borrowed, 0, -1e4, 1.0) == pytest.approx(1e4 * 0.38)  # 0.88 + 0.5 - 1
    assert initial(borrowed, 0, -1.0, 50.0) == pytest.approx(10.0)


def test_sales_by_hand():
    once = venue(cash=-100.0, sale_share=0.2, sale_interval="1s", whole_sale_weight=0.5)  # step 1 s
    assert sale(once, 0, 0, 0.0, 0.0, 1) == pytest.approx(2.0)
    assert sale(venue(cash=-250.0, whole_sale_weight=0.5), 0, 0, 0.0, 0.0, 1) == 10.0
    frozen = venue(cash=-100.0)
    frozen.rows[0]["frozen_units"] = 2.5
    assert sale(frozen, 0, 0, 0.0, 0.0, 1) == pytest.approx(7.5)


def cross(world, cash=0.0, held=10.0, rows=(), **more):
    """One account in market X with ETH beside its cash; `world` lists (X, ETH) per step."""
    protocol = protocol_of(collateral=[rule(**more)])
    book = book_of(("X", "ETH"), [cash], [[*rows, (1, held, 0.0)]])
    return run_one(protocol, book, paths_of([world]))


def test_a_depeg_of_the_collateral_liquidates_a_position_whose_market_stands_still():
    # 100 at 10: requirement 2.5 % of 1,000 = 25. Held 10 x 5 = 50 with a haircut of 10 %: 50 >= 25 + 5.
    rows = [(0, 100.0, 10.0)]
    assert cross([(10.0, 5.0)] * 3, rows=rows)[1]["fills"] == 0
    v, out = cross([(10.0, 5.0), (10.0, 2.7)], rows=rows)  # 27 < 25 + 2.7: the position goes, the holding stays
    assert out["fills"] == 1
    assert row_of(v, "A0", 0)[0] == 0.0
    assert row_of(v, "A0", 1)[0] == 10.0
    assert out["ledger_residual"] < 1e-12


def test_a_debt_that_positions_left_is_paid_from_the_holding():
    # Long 100 at 10 with 50 of ETH; X falls to 9.55: cash -45 after the close, 50 - 45 = 5 is the haircut: not due.
    # At 9.54 the debt is 46, the equity 4: the holding is sold at 5 and 4 USD are left.
    rows = [(0, 100.0, 10.0)]
    v, out = cross([(10.0, 5.0), (9.55, 5.0)], rows=rows)
    assert out["fills"] == 1
    assert account_cash(v)["A0"] == pytest.approx(-45.0)
    v, out = cross([(10.0, 5.0), (9.54, 5.0)], rows=rows)
    assert out["fills"] == 2
    assert account_cash(v)["A0"] == pytest.approx(4.0)
    assert row_of(v, "A0", 1)[0] == 0.0
    assert account_cash(v)["outside_book"] == pytest.approx(-50.0)  # what it paid for the holding
    assert out["ledger_residual"] < 1e-12
    assert out["bad_debt"] == 0.0


def test_a_holding_worth_less_than_the_debt_leaves_bad_debt():
    _, out = cross([(10.0, 5.0), (9.0, 5.0)], rows=[(0, 100.0, 10.0)])
    assert out["bad_debt"] == pytest.approx(50.0)


def test_a_freeze_counts_out_its_share_while_it_lasts():
    rows = [(0, 100.0, 10.0)]
    freeze = {"frozen_share": 0.5, "frozen_from": "120s", "frozen_for": "60s"}
    v, out = cross([(10.0, 5.0)] * 5, rows=rows, **freeze)  # 50 < 25 + 27.5 in step 2
    assert out["first_liquidation_step"] == 2
    assert v.markets[1]["frozen"] == 0.0
    assert cross([(10.0, 5.0)] * 5, cash=10.0, rows=rows, **freeze)[1]["fills"] == 0


def test_a_report_says_what_is_frozen():
    frozen = CollateralWeights(markets={"ETH": ETH | {"frozen_share": 0.5, "frozen_from": "2h"}, "USDT": ETH})
    assert frozen.notes() == ("50% of every holding of ETH is frozen from 2h to the horizon.",)


def test_a_frozen_share_cannot_be_sold():
    freeze = {"frozen_share": 0.5, "frozen_from": "0s"}
    v, _ = cross([(10.0, 5.0), (9.54, 5.0)], rows=[(0, 100.0, 10.0)], **freeze)
    assert row_of(v, "A0", 1)[0] == pytest.approx(5.0)
    assert account_cash(v)["A0"] == pytest.approx(-21.0)


def test_debts_pay_interest_by_utilisation():
    # 100 owed of 125 credited: at the kink. An hour at 5 % a year; above it 4.75 x 0.05 = 23.75 % more.
    year = 365.0 * 24.0
    interest = {"borrow_base_rate": 0.05, "borrow_slope": 4.75, "borrow_kink": 0.8}
    for credit, rate in ((125.0, 0.05), (100.0 / 0.85, 0.05 + 4.75 * 0.05)):
        protocol = protocol_of(collateral=[rule() | interest])
        book = book_of(("X", "ETH"), [-100.0, credit], [[(1, 100.0, 0.0)], []])
        v, out = run_one(protocol, book, paths_of([[(10.0, 5.0)] * 61]))
        assert account_cash(v)["A0"] == pytest.approx(-100.0 - 100.0 * rate / year)
        assert account_cash(v)["treasury"] == pytest.approx(100.0 * rate / year)
        assert out["ledger_residual"] < 1e-12


def test_holdings_pay_no_funding():
    protocol = protocol_of(
        collateral=[rule()],
        funding={"rule": "premium_clamp_funding", "funding_interval": "60s", "funding_period": "10m"},
    )
    book = book_of(("X", "ETH"), [1e6], [[(0, 1.0, 10.0), (1, 10.0, 0.0)]])
    v, _ = run_one(protocol, book, paths_of([[(10.0, 5.0)] * 20], premium=0.05))
    assert v.markets[0]["funding_index"] > 0.0
    assert v.markets[1]["funding_index"] == 0.0


def test_assets_stand_after_the_markets():
    book = book_of(("ETH", "X"), [1e6], [[(0, 10.0, 0.0)]])
    with pytest.raises(StudyError, match="stand after the markets"):
        build_cell(protocol_of(collateral=[rule()]), book, prices=[5.0, 10.0], step=60.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"initial_weight": 0.95}, "counts no more to open than to keep"),
        ({"maintenance_liability_weight": 1.1}, "counts no less to open"),
        ({"frozen_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_weights_that_make_no_sense_are_refused(change, text):
    with pytest.raises(ValidationError, match=text):
        CollateralWeights(markets={"ETH": ETH | change})
