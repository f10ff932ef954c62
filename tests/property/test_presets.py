"""Every preset through random crashes, interpreted, and what its rules make impossible; compiled in `make slow`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stress import engine
from stress.config import load_protocol, load_study
from stress.kernels.jit import INTERPRETED
from tests.venues import book_of, paths_of

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "configs/protocols").glob("*.yaml"))
PRICES = np.array([60_000.0, 3_000.0])
each_preset = pytest.mark.parametrize("preset", PRESETS, ids=lambda file: file.stem)


def book():
    """Sixty accounts of 3x to 9x on either side, small to large."""
    cash, rows = [], []
    for k in range(60):
        market = k % 2
        notional = 2_000.0 * 1.2 ** (k % 40)
        side = 1.0 if k % 3 else -1.0
        cash.append(notional / (3.0 + k % 7))
        rows.append([(market, side * notional / PRICES[market], PRICES[market])])
    return book_of(("BTC", "ETH"), cash, rows)


def crashes(paths=6, steps=90):
    """Walks with a fall of a tenth to a half within a few steps, and a book that thins out meanwhile."""
    draw = np.random.default_rng(26)
    moves = draw.normal(0.0, 0.002, (paths, steps, 2))
    for p in range(paths):
        moves[p, 20 : 20 + 3 * (p + 1), :] += np.log(1.0 - 0.1 * (p + 1) * 0.8) / (3 * (p + 1))
    world = PRICES * np.exp(np.concatenate([np.zeros((paths, 1, 2)), np.cumsum(moves, axis=1)], axis=1))
    thin = np.ones((paths, steps + 1, 1))
    thin[:, 20:50] = 0.1
    return paths_of(world, depth=thin * np.array([30.0, 600.0]), premium=0.0005)


def check(preset):
    protocol = load_protocol(preset)
    cell = engine.build_cell(protocol, book(), prices=PRICES, step=60.0)
    venue, outcome = engine.replay_venue(engine.compose(protocol), cell, crashes())
    out = outcome.paths
    assert (out["violation"] == 0).all()
    assert (out["ledger_residual"] <= 1e-9).all()
    assert (out["liquidated_notional"] > 0.0).any()
    rules = {mechanism.name for mechanism, _ in protocol.rules()}
    if not any(name.startswith("adl_") for name in rules):
        assert (out["adl_notional"] == 0.0).all()
    if not rules & {"socialized_loss", "withdrawal_haircut", "adl_pool_profit"}:
        assert (out["socialized_loss"] == 0.0).all()
    if not rules & {"backstop_vault", "pool_equity"}:
        assert (out["provider_default_loss"] == 0.0).all()
    if "insurance_fund" not in rules:
        assert (out["fund_paid"] == 0.0).all()
    assert venue.traders == 60
    return outcome


@pytest.mark.interpreted
@each_preset
def test_identities_hold_and_impossible_parts_are_zero(preset):
    check(preset)


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="compiled kernels are what this test is about")
@each_preset
def test_identities_hold_compiled(preset):
    check(preset)


@pytest.mark.interpreted
def test_the_study_of_all_venues_has_one_book_that_none_of_them_would_liquidate_at_once():
    from stress.sweep.workbench import Workbench

    bench = Workbench(load_study(ROOT / "configs/studies/venues.yaml"))
    prices = bench.source(0).initial_prices
    books = {id(bench.book(cell, prices)) for cell in bench.plan.cells}
    assert len(books) == 1
    assert {cell.protocol.name for cell in bench.plan.cells} == {file.stem for file in PRESETS} - {
        "layered",
        "collateral",
    }
