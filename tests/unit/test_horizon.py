"""Nothing is lost at the horizon: what is open is valued at the worse of world price and mark, and named by market."""

from __future__ import annotations

import numpy as np
import pytest

from stress import engine
from tests.venues import book_of, one_market_book, one_market_paths, paths_of, protocol_of, run_one

pytestmark = pytest.mark.interpreted

FUND = [{"rule": "insurance_fund", "insurance_fund": 100.0}]
NO_FUND = [{"rule": "insurance_fund", "insurance_fund": 0.0}]


def by_market(protocol, book, block, name):
    """Return what a run books to each market."""
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=60.0)
    return engine.simulate(engine.compose(protocol), cell, block).markets[name][0]


@pytest.mark.parametrize(
    ("world", "outage", "owed"),
    [
        ([100.0, 92.0], 0, 300.0),  # W and M at 92
        ([100.0, 92.0], 1, 300.0),  # M stays at 100, W counts
        ([100.0, 92.0, 100.0], [0, 0, 1], 300.0),  # M stays at 92, M counts
        ([100.0, 96.0], 1, 0.0),
    ],
)
def test_open_debt_is_valued_at_the_worse_of_world_price_and_mark(world, outage, owed):
    # Long 100 at 100 with 500: equity 0 at 95. No depth, so nothing is ever closed.
    book = one_market_book([500.0], [100.0], [100.0], makers_equity=1e6)
    outages = np.broadcast_to(np.asarray(outage, np.uint8), len(world)).reshape(1, -1, 1)
    block = one_market_paths(world, depth=0.0, oracle_outage=outages)
    _, out = run_one(protocol_of(waterfall=FUND), book, block)
    assert out["fund_paid"] == pytest.approx(min(owed, 100.0))
    assert out["unresolved_bad_debt"] == pytest.approx(max(0.0, owed - 100.0))
    assert out["mutualised_loss"] == out["unresolved_bad_debt"]
    assert out["fund_low_water"] == pytest.approx(100.0 - min(owed, 100.0))


def test_debt_at_the_world_price_belongs_to_the_market_that_fell_in_the_world():
    # Long 100 X and 100 Y at 100, cash 1,000. The oracle is silent: marks stand at 100 while X falls to 80.
    book = book_of(("X", "Y"), [1000.0], [[(0, 100.0, 100.0), (1, 100.0, 100.0)]], makers_equity=1e6)
    block = paths_of([[[100.0, 100.0], [80.0, 100.0]]], depth=0.0, oracle_outage=1)
    protocol = protocol_of(waterfall=NO_FUND)
    assert by_market(protocol, book, block, "unresolved_bad_debt") == pytest.approx([1000.0, 0.0])


def test_a_vaults_default_at_the_world_price_belongs_to_the_market_that_fell_in_the_world():
    # The vault takes 10 X and 10 Y at 95 (their bankruptcy price) and keeps them; then X falls to 60 unseen.
    vault = {"rule": "backstop_vault", "vault_equity": 1000.0, "takeover_below": 1.0, "unwind_share": 0.0}
    book = book_of(("X", "Y"), [100.0], [[(0, 10.0, 100.0), (1, 10.0, 100.0)]], makers_equity=1e6)
    silent = np.array([[[0, 0], [0, 0], [1, 1]]], np.uint8)
    block = paths_of([[[100.0, 100.0], [96.0, 96.0], [60.0, 96.0]]], depth=0.0, oracle_outage=silent)
    protocol = protocol_of(waterfall=NO_FUND, execution=[vault])
    lost = by_market(protocol, book, block, "provider_default_loss")
    assert lost == pytest.approx([10.0 * (95.0 - 60.0) - 10.0, 0.0])


def test_a_fee_that_the_vault_earns_hides_none_of_what_takeovers_cost_it():
    # A is sold into the book and pays 0.1 % to the vault; B goes to the vault at 95, which then falls to 90.
    execution = [
        {"rule": "order_book", "deficit_fill": "covered"},
        {"rule": "backstop_vault", "vault_equity": 1000.0, "takeover_below": 1.0, "unwind_share": 0.0},
    ]
    fees = {"rule": "liquidation_fee", "liquidation_fee": 0.001, "fee_to": "vault"}
    book = one_market_book([24.0, 50.0], [10.0, 10.0], [100.0, 100.0], makers_equity=1e6)
    # Deep while A is due (equity 14 at 99), no depth when B is (equity 10 at 96), which the vault keeps at 95.
    block = one_market_paths([100.0, 99.0, 96.0, 90.0], depth=[np.inf, np.inf, 0.0, 0.0])
    _, out = run_one(protocol_of(waterfall=NO_FUND, execution=execution, fees=fees), book, block)
    assert out["provider_default_loss"] == pytest.approx(10.0 * (95.0 - 90.0))
    assert out["backstop_pnl"] == pytest.approx(-50.0 + 0.001 * 10.0 * 99.0)
