"""The benchmark book is what it says it is, comparators solve the engine's problem, and measuring works."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from stress import config, engine
from stress.sweep import Workbench
from tests.benchmarks.comparators import equity_loop, numpy_engine
from tests.benchmarks.measuring import measure
from tests.benchmarks.quoting import QUOTED, ROOT, table
from tests.benchmarks.registry import BARS, FACTORS, NUMPY_BARS, Case, bench, cases, diffusion_alone


@functools.cache
def _made(severity: str) -> tuple[Workbench, object, object]:
    made = bench(Case(severity=severity, cells=1))
    return made, made.cell(0, 0), made.source(0).generate(0, 96)


def _liquidated(severity: str) -> float:
    _, built, block = _made(severity)
    outcome = engine.simulate(engine.compose(built.protocol), built.cell, block).paths
    return float(outcome["liquidated_accounts"].mean()) / built.cell.traders


def test_severities_of_the_benchmark_book():
    assert 0.005 <= _liquidated("calm") <= 0.02
    assert _liquidated("panic") >= 0.3


def test_hedged_accounts_hold_two_fifths_of_gross():
    made, _, _ = _made("calm")
    prices = made.source(0).initial_prices
    book = made.book(made.plan.cells[0], prices)
    value = book.size * prices[book.row_market]
    gross, net = book.per_account(np.abs(value)), np.abs(book.per_account(value))
    assert gross[net < 0.2 * gross].sum() / gross.sum() == pytest.approx(0.4, abs=0.03)


def test_wide_book_holds_three_markets_everywhere():
    made = bench(Case(wide=True))
    book = made.book(made.plan.cells[0], made.source(0).initial_prices)
    assert np.diff(book.row_start).min() >= 3


def test_numpy_engine_finds_the_engines_first_liquidation():
    _, built, block = _made("panic")
    outcome = engine.simulate(engine.compose(built.protocol), built.cell, block).paths
    found = [numpy_engine(built.cell, block, p).first_liquidation_step for p in range(6)]
    assert found == outcome["first_liquidation_step"][:6].tolist()
    assert max(found) > 0


def test_equity_loop_counts_negative_equity():
    _, built, block = _made("panic")
    start, traders = built.cell.start, built.cell.traders
    assert equity_loop(start.accounts, start.rows, traders, block.world[:1, :2]) == 0
    assert equity_loop(start.accounts, start.rows, traders, 0.01 * block.world[:1, :2]) > traders / 4


def test_a_case_is_measured():
    row = measure(Case(accounts=200, cells=1, severity="panic"), paths=16)
    assert row["exhaustive_over_culled"] > 1.0
    assert 0 < row["share_evaluated"] < 1
    assert row["numpy_over_culled"] > 0


def test_paths_of_diffusion_alone_have_no_other_layer():
    source = Workbench(config.Study(**diffusion_alone(Case()))).source(0)
    block = source.generate(0, 2)
    assert not source.terms.jump.active
    assert not source.terms.wick.active
    assert not block.premium.any()
    assert np.all(block.depth == block.depth[:, :1])
    assert np.all(np.diff(block.world, axis=1) != 0.0)


def test_every_factor_varies_around_one_base_point():
    listed = cases()
    for factor, values in FACTORS.items():
        assert {getattr(case, factor) for case in listed} >= set(values)
    assert set(BARS) | set(NUMPY_BARS) <= set(listed)
    assert len({case.name for case in listed}) == len(listed)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_case_is_a_sound_study(case):
    assert len(bench(case).study.markets) == case.markets


def test_readme_quotes_a_committed_record():
    found = QUOTED.search((ROOT / "README.md").read_text())
    assert found is not None
    assert found[0] == f"{found[1]}{table(ROOT / found['record'])}{found[3]}", "python -m tests.benchmarks --quote FILE"
