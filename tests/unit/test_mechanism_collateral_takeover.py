"""Liquidators take collateral at a discount for an account's debt."""

from __future__ import annotations

import math

import pytest

from stress.mechanisms.collateral_takeover import (
    asset_for_liability,
    component,
    fund_fee,
    liability_for_asset,
    liability_to_cover,
)
from tests.venues import account_cash, book_of, paths_of, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted


def test_formulas_by_hand():
    assert component(0.8, 1.1, 0.88, 0.0) == pytest.approx(1.0)
    assert component(0.8, 1.1, 0.9, 0.01) == pytest.approx(0.97)
    # 10 / (100 x (1.2 - 0.8)); with a fee of 1 % of 1.2 it is 0.388.
    assert liability_to_cover(10.0, 1.2, 0.8, 0.0, 100.0) == pytest.approx(0.25)
    assert liability_to_cover(10.0, 1.2, 0.8, 0.01, 100.0) == pytest.approx(10.0 / 38.8)
    assert liability_to_cover(10.0, 1.2, 1.3, 0.0, 100.0) == math.inf
    assert fund_fee(5.0, 100.0, 1.1, 1.01, 0.05) == pytest.approx(0.04 / 1.1)
    assert fund_fee(5.0, 100.0, 1.1, 0.5, 0.05) == 0.05
    assert fund_fee(90.0, 100.0, 1.1, 0.5, 0.05) == 0.0
    assert asset_for_liability(90.0, 60.0, 1.0, 2.0, 1.1, 1.0, 1.0) == pytest.approx(33.0)
    assert asset_for_liability(33.4, 60.0, 1.0, 2.0, 1.1, 1.0, 1.0) == 33.4  # 0.8 USD would be left
    assert liability_for_asset(33.0, 2.0, 1.0, 1.1, 1.0) == pytest.approx(60.0)


def taken(fee=0.0):
    """Long 100 at 10 with 20 ETH at 5, weight 0.9; X falls to 9.05: a debt of 95 against 100 of ETH."""
    weights = {"initial_weight": 0.9, "maintenance_weight": 0.9}
    protocol = protocol_of(
        collateral=[{"rule": "collateral_weights", "markets": {"ETH": weights}}],
        execution=[
            {"rule": "collateral_takeover", "asset_multiplier": 1.04, "fund_fee_cap": fee},
            {"rule": "order_book", "deficit_fill": "any"},
        ],
        waterfall=[{"rule": "insurance_fund", "insurance_fund": 0.0}],
    )
    book = book_of(("X", "ETH"), [0.0], [[(0, 100.0, 10.0), (1, 20.0, 0.0)]])
    return run_one(protocol, book, paths_of([[(10.0, 5.0), (9.05, 5.0)]]))


def test_it_takes_what_cures_the_shortage():
    v, out = taken()
    # Equity 5, haircut 10: shortage 5, over 1 - 0.9 x 1.04 = 0.064: 78.125 of debt, 81.25 USD of ETH.
    assert out["fills"] == 2
    assert row_of(v, "A0", 1)[0] == pytest.approx(20.0 - 81.25 / 5.0)
    assert account_cash(v)["A0"] == pytest.approx(-95.0 + 78.125)
    equity = account_cash(v)["A0"] + row_of(v, "A0", 1)[0] * 5.0
    assert equity == pytest.approx(0.1 * row_of(v, "A0", 1)[0] * 5.0)
    assert out["ledger_residual"] < 1e-12


def test_the_fund_receives_its_fee():
    v, out = taken(fee=0.01)
    # f = min(1 %, 1 - 0.936 - 5 / 95): 5 / (0.99 - 0.936) = 92.59 of debt.
    assert out["fund_received"] == pytest.approx(0.01 * 5.0 / 0.054)
    assert account_cash(v)["insurance_fund"] == pytest.approx(out["fund_received"])
    assert out["ledger_residual"] < 1e-12


def test_contracts_pass_to_the_next_venue():
    v, _ = taken()
    assert row_of(v, "A0", 0)[0] == 0.0
