"""Books that hold assets beside cash: collateral, and spot legs of basis trades."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stress.accounts import KINDS, make_book
from stress.accounts.holdings import with_holdings
from stress.accounts.synthetic import SyntheticBook
from stress.config import load_study
from stress.errors import BookError, StudyError
from stress.sweep import Workbench
from stress.traders import isolate, respond
from tests.venues import book_of

PRICES = np.array([100.0, 50.0, 1.0])


def plain():
    return book_of(("X",), [1000.0, 100.0, -5.0], [[(0, 2.0, 90.0)], [(0, -4.0, 100.0)], [(0, 1.0, 100.0)]])


def test_shares_of_equity_are_held_and_equity_does_not_move():
    before = plain()
    book = with_holdings(before, ["ETH", "USDT"], PRICES, {"ETH": 0.25, "USDT": 0.5}, {})
    assert book.markets == ("X", "ETH", "USDT")
    # Equity 1,020, 100 and -5: a quarter is 5.1 and 0.5 ETH; the third account owes and holds nothing.
    assert book.row_start.tolist() == [0, 3, 6, 7]
    assert book.row_market.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert book.size.tolist() == pytest.approx([2.0, 5.1, 510.0, -4.0, 0.5, 50.0, 1.0])
    assert book.is_holding.tolist() == [False, True, True, False, True, True, False]
    assert book.cash.tolist() == pytest.approx([235.0, 25.0, -5.0])
    assert book.equity(PRICES) == pytest.approx(before.equity(PRICES))


def test_funding_collectors_hold_what_they_are_short():
    book = plain()
    kind = np.full(3, KINDS.index("funding_collecting"), np.int8)
    from dataclasses import replace

    legs = with_holdings(replace(book, kind=kind), ["ETH", "USDT"], PRICES, {}, {"X": "ETH"})
    assert legs.size[legs.is_holding].tolist() == [4.0]  # only the short of 4
    assert legs.cash.tolist() == [1000.0, -100.0, -5.0]
    assert with_holdings(book, ["ETH", "USDT"], PRICES, {}, {"X": "ETH"}).is_holding.sum() == 0  # directional


@pytest.mark.parametrize(
    ("collateral", "legs", "text"),
    [
        ({"ETC": 0.5}, {}, "is no asset"),
        ({}, {"Y": "ETH"}, "is no market of the book"),
        ({"ETH": 0.6, "USDT": 0.6}, {}, "at most 1"),
    ],
)
def test_what_cannot_be_held_is_refused(collateral, legs, text):
    with pytest.raises(BookError, match=text):
        with_holdings(plain(), ["ETH", "USDT"], PRICES, collateral, legs)


def test_responses_move_positions_and_leave_holdings():
    book = with_holdings(plain(), ["ETH", "USDT"], PRICES, {"ETH": 0.25}, {})

    def margin(rate):
        return lambda market, size, price: np.where(market == 0, rate, 0.1) * np.abs(size) * price

    after = respond(
        book,
        "keep_utilisation",
        prices=PRICES,
        current=margin(0.1),
        proposed=margin(0.05),
        changed_markets=np.array([True, False, False]),
    )
    assert after.size[book.is_holding].tolist() == book.size[book.is_holding].tolist()
    assert after.size[~book.is_holding] == pytest.approx(2.0 * book.size[~book.is_holding])
    with pytest.raises(BookError, match="is not split"):
        isolate(book, margin(0.1), PRICES)


def test_a_book_of_a_study_holds_its_collateral():
    shares = {"directional": 1.0, "hedged_pair": 0.0, "market_neutral": 0.0, "funding_collecting": 0.0, "whale": 0.0}
    spec = SyntheticBook(accounts=20, collateral={"ETH": 0.5}, isolated=0.0, archetypes=shares)
    cap = 20.0
    book = make_book(
        spec,
        markets=("X",),
        prices=np.array([100.0, 50.0]),
        leverage_cap=np.array([cap]),
        seed=1,
        initial_margin=lambda market, size, price: np.abs(size) * price / cap,
        open_interest=np.array([1e6]),
        assets=("ETH",),
    )
    value = book.size[book.is_holding] * 50.0
    assert value == pytest.approx(0.5 * book.equity(np.array([100.0, 50.0])))


STUDY = """
schema: 1
question: What is collateral in ETH worth in a crash?
protocol: protocol.yaml
market: markets/house.yaml
markets: [{markets}]
book: {{kind: synthetic, accounts: 30, isolated: 0, collateral: {{ETH: 0.4}}}}
scenarios: [stress]
horizon: 1h
step: 60s
paths: 64
seed: 1
"""


def study_of(tmp_path: Path, markets: str) -> Workbench:
    configs = Path(__file__).parents[2] / "configs"
    text = (configs / "protocols/reference.yaml").read_text()
    weights = "  - {rule: collateral_weights, markets: {ETH: {initial_weight: 0.8, maintenance_weight: 0.9}}}\n"
    (tmp_path / "configs/markets").mkdir(parents=True)
    (tmp_path / "configs/protocol.yaml").write_text(text.replace("trigger:\n", f"collateral:\n{weights}trigger:\n", 1))
    (tmp_path / "configs/markets/house.yaml").write_text((configs / "markets/house.yaml").read_text())
    (tmp_path / "configs/study.yaml").write_text(STUDY.format(markets=markets))
    return Workbench(load_study(tmp_path / "configs/study.yaml"))


def test_a_study_with_collateral_builds_its_cells(tmp_path):
    bench = study_of(tmp_path, "BTC, SOL, ETH")
    cell = bench.cell(0, 0).cell
    assert cell.start.markets["holding"].tolist() == [0, 0, 1]
    assert cell.open_interest[2] == 0.0
    held = cell.start.rows["size"][cell.start.rows["market"] == 2]
    assert held[held > 0].sum() == pytest.approx(-held[held < 0].sum())
    cash, carry = cell.start.accounts["cash"], cell.start.rows["carry"]
    assert np.isfinite(cash).all()
    assert (carry[cell.start.rows["market"] == 2] == 0.0).all()


def test_assets_before_markets_are_refused(tmp_path):
    with pytest.raises(StudyError, match="stand after the markets"):
        study_of(tmp_path, "ETH, BTC, SOL").cell(0, 0)
