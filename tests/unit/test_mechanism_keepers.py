"""Keepers: latency, gas, and what they do with their advantage."""

from __future__ import annotations

import numpy as np
import pytest

from stress.mechanisms.keepers import COMPETE, NONE, SANDWICH, WAIT, effective_discount
from tests.venues import account_cash, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

RULE = {"rule": "keepers", "keeper_discount": 0.005}
BOOK = one_market_book([40.0], [10.0], [100.0])


def run(depth=np.inf, **changed):
    protocol = protocol_of(execution=[RULE | changed])
    return run_one(protocol, BOOK, one_market_paths([100.0] + [97.0] * 6, depth=depth))


def left(venue):
    return account_cash(venue)["A0"]


def test_the_account_pays_the_discount():
    venue, out = run()
    assert left(venue) == pytest.approx(10.0 - 4.85)
    assert out["first_liquidation_step"] == 1


def test_a_share_of_the_discount_goes_by_what_keepers_do():
    assert effective_discount(0.01, NONE, 0.5) == 0.01
    assert effective_discount(0.01, COMPETE, 0.5) == 0.005
    assert effective_discount(0.01, SANDWICH, 0.5) == effective_discount(0.01, WAIT, 0.5) == 0.015
    assert left(run(extraction="sandwich", extraction_share=0.5)[0]) == pytest.approx(10.0 - 7.275)
    assert left(run(extraction="compete", extraction_share=1.0)[0]) == pytest.approx(10.0)


def test_latency_and_patience_count_from_the_first_step_in_which_it_is_due():
    assert run(keeper_reaction="2m")[1]["first_liquidation_step"] == 3
    waits = {"extraction": "wait", "extraction_share": 0.5, "keeper_patience": "1m"}
    assert run(keeper_reaction="2m", **waits)[1]["first_liquidation_step"] == 4


def test_gas_that_the_discount_does_not_pay_leaves_the_account_alone():
    # The discount is worth 0.005 x 970 = 4.85.
    assert run(gas=4.0)[1]["fills"] == 1
    assert run(gas=4.0, keeper_profit=0.25)[1]["fills"] == 0
    assert row_of(run(gas=5.0)[0], "A0")[0] == 10.0


def test_nobody_takes_what_nobody_buys():
    assert run(depth=0.0)[1]["fills"] == 0


def test_gas_leaves_the_ledger_by_name():
    venue, out = run(gas=4.0)
    assert out["keeper_gas"] == 4.0
    assert venue.venue[0]["external_flow"] == -4.0
    assert account_cash(venue)["outside_book"] == -4.0
    assert out["violation"] == 0
    assert out["ledger_residual"] < 1e-12
