"""What the tasks of one study share inside a process: plan, path sources, books, cells, engines."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stress import accounts, design, engine, grid, paths, traders
from stress.calibration import by_market
from stress.config import Protocol, Study, load_study
from stress.errors import StoreError, StudyError
from stress.observations import parse_rules
from stress.paths import PathSource
from stress.scenarios import ShockSet
from stress.sources import read_prices
from stress.sweep.margin import initial_margin, maintenance_margin
from stress.sweep.plan import Task, core_seconds, cost, layout, tasks

# Cells kept in memory, so that the next block finds them.
CELL_BYTES = 256 * 2**20


@dataclass(frozen=True)
class BuiltCell:
    """A cell ready to simulate, with the constants of `grid.CELL_TERMS`."""

    protocol: Protocol
    cell: engine.Cell
    constants: dict[str, float]


class Workbench:
    """What the tasks of one study share inside a process: plan, path sources, books, cells.

    Threads share it. Everything is built once, under one lock, and only read afterwards.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.plan = design.plan(study)
        self.layout = layout(study, self.plan)
        grid.refuse_axes(self.layout)
        self._lock = threading.RLock()
        self._built: dict[tuple[Any, ...], Any] = {}
        self._cells: dict[tuple[int, int], BuiltCell] = {}
        # Seconds that this process has spent on compiling so far.
        self.seconds_compile = 0.0

    def _once(self, key: tuple[Any, ...], build: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._built:
                self._built[key] = build()
            return self._built[key]

    def tasks(self) -> list[Task]:
        """Return every task of the study."""
        return tasks(self.study.content_hash, self.layout, cost(self.study, self._first_book().size.size))

    def forecast(self) -> tuple[int, float]:
        """Return the accounts of the first cell's book, and the run's estimated seconds on one core."""
        book = self._first_book()
        return book.cash.size, core_seconds(self.study, self.plan, book.size.size)

    def _first_book(self) -> accounts.Book:
        return self.book(self.plan.cells[0], self.source(0).initial_prices)

    def check(self) -> None:
        """Compose every path source and book, so that what is wrong with a file is said before any work."""
        venues = {cell.base.name: cell for cell in self.plan.cells}
        for point in range(self.layout.path_points):
            for cell in venues.values():
                self.book(cell, self.source(point).initial_prices)

    def describe(self, point: int, cell: int) -> str:
        """Return a cell by the names and values of its axes."""
        values = {**self.plan.path_points[point].values, **self.plan.cells[cell].values}
        return ", ".join(f"{name}={value}" for name, value in values.items())

    def source(self, point: int) -> PathSource:
        """Return the path source of a point of the path axes."""
        return self._once(("source", point), lambda: self._compose(self.plan.path_points[point]))

    def _compose(self, point: design.PathPoint) -> PathSource:
        study, scenario = self.study, point.scenario
        assert not isinstance(scenario, ShockSet)  # the plan holds its members
        drawn = study.market.resampled
        file = (
            scenario.replay
            if scenario.kind == "replay"
            else drawn.file
            if drawn and scenario.kind == "regime"
            else None
        )
        rules = scenario.repair if scenario.kind == "replay" else drawn.repair if drawn else ()
        history = None if file is None else read_prices(study.locate(file), parse_rules(rules, f"repair of {file}"))
        if history is not None and scenario.kind == "regime":
            history = by_market(history)
        return paths.compose(
            study.market,
            scenario,
            markets=study.markets,
            horizon=study.horizon,
            step=study.step,
            seed=study.seed,
            axes=point.axes,
            history=history,
        )

    def warm(self, source: PathSource) -> None:
        """Draw one path, so that the first use in a process compiles the generator, once and timed."""

        def draw() -> None:
            with self._timed():
                source.generate(0, 1)

        self._once(("generator", source.paths_available), draw)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the seconds of compiling: it makes millions of objects that stay, so the garbage collector rests."""
        began, collects = time.perf_counter(), gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()
        self.seconds_compile += time.perf_counter() - began

    def cell(self, point: int, index: int) -> BuiltCell:
        """Return a cell, with its book at the prices of t = 0 of the path point; the last ones asked for are kept.

        Building takes milliseconds, about as long as ten paths, and a grid may have more cells than memory holds.
        """
        with self._lock:
            kept = self._cells.pop((point, index), None)
            if kept is not None:
                self._cells[point, index] = kept  # the last asked for stands last
        if kept is None:
            kept = self._build_cell(point, index)
            with self._lock:
                self._cells[point, index] = kept
                while sum(built.cell.nbytes for built in self._cells.values()) > CELL_BYTES and len(self._cells) > 1:
                    del self._cells[next(iter(self._cells))]
        return kept

    def _build_cell(self, point: int, index: int) -> BuiltCell:
        study, cell, prices = self.study, self.plan.cells[index], self.source(point).initial_prices
        current, proposed = self._initial_margin(cell.base), self._initial_margin(cell.protocol)
        before = None
        if cell.response == "grandfather":
            proposed = traders.turned_over(current, proposed, cell.turnover)
            before = cell.base if any(cell.changed_markets) and cell.turnover < 1 else None
        book = traders.respond(
            self.book(cell, prices),
            cell.response,
            prices=prices,
            current=current,
            proposed=proposed,
            changed_markets=np.array(cell.changed_markets),
        )
        if cell.margin_mode == "isolated":
            book = traders.isolate(book, proposed, prices)
        built = engine.build_cell(
            cell.protocol, book, prices=prices, step=study.step, before=before, turnover=cell.turnover
        )
        interest = float(built.open_interest.sum())
        constants = {
            "open_interest": interest,
            "gross_notional": built.gross_notional,
            "trader_equity": float(book.equity(prices).sum()),
            "vault_equity_at_start": built.vault_equity,
            "fund": built.fund,
            "loss_floor": study.loss_floor * interest,
            "vault_loss_floor": study.vault_loss_floor * built.vault_equity,
        }
        return BuiltCell(cell.protocol, built, constants)

    def liquidatable(self, point: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what a cell's terms do to the book as it stands, before any trader responds.

        (A,) bool, whether an account's equity lies strictly below its maintenance requirement at the
        prices of t = 0, and (A,) its gross notional [USD].
        """
        study, cell, prices = self.study, self.plan.cells[index], self.source(point).initial_prices
        book = self.book(cell, prices)
        if cell.margin_mode == "isolated":
            book = traders.isolate(book, self._initial_margin(cell.base), prices)
        price = prices[book.row_market]
        margin = maintenance_margin(cell.protocol, study.markets, study.step)(book.row_market, book.size, price)
        requirement = book.per_account(margin)
        return (requirement > 0) & (book.equity(prices) < requirement), book.per_account(np.abs(book.size) * price)

    def _initial_margin(self, protocol: Protocol) -> accounts.InitialMargin:
        study = self.study
        interest = np.array([study.market.markets[name].open_interest_usd for name in study.markets], float)
        return initial_margin(protocol, study.markets, study.step, interest)

    def book(self, cell: design.CellPoint, prices: np.ndarray) -> accounts.Book:
        """Return the book before any response: made once, at the current parameters of the study's first venue."""
        base = self.plan.cells[0].base
        return self._once(("book", prices.tobytes()), lambda: self._make_book(base, prices))

    def _make_book(self, base: Protocol, prices: np.ndarray) -> accounts.Book:
        study, requirement = self.study, self._initial_margin(base)
        assets = tuple(name for name in study.markets if name in base.holdings())
        markets = tuple(name for name in study.markets if name not in assets)
        if study.markets != (*markets, *assets):
            fix = f"write markets: [{', '.join((*markets, *assets))}]"
            raise StudyError("assets held as collateral stand after the markets", key="markets", fix=fix)
        market = np.arange(len(markets))
        # A millionth of a unit lies in the first tier of any table, so its margin gives that tier's cap.
        size = np.full(len(market), 2.0**-20)
        return accounts.make_book(
            self._located_book(),
            markets=markets,
            prices=prices,
            leverage_cap=size * prices[market] / requirement(market, size, prices[market]),
            seed=study.seed,
            initial_margin=requirement,
            open_interest=np.array([study.market.markets[name].open_interest_usd for name in markets]),
            assets=assets,
        )

    def _located_book(self) -> accounts.BookSpec:
        spec = self.study.book
        return spec.model_copy(update={"path": str(self.study.locate(spec.path))}) if spec.kind == "snapshot" else spec

    def compiled(self, built: BuiltCell) -> engine.Engine:
        """Return the engine of a cell; its first use in a process compiles it, once and timed."""
        composed = engine.compose(built.protocol, grandfathered=built.cell.grandfathered)
        return self._once(("engine", composed.rules, composed.grandfathered), lambda: self._compile(composed, built))

    def _compile(self, composed: engine.Engine, built: BuiltCell) -> engine.Engine:
        with self._timed():
            engine.simulate(composed, built.cell, self.source(0).generate(0, 1))
        return composed


_WORKBENCHES: dict[str, Workbench] = {}
_OPENING = threading.Lock()


def workbench(folder: Path, study_hash: str) -> Workbench:
    """Return this process's workbench of the study in a run's folder; one per folder."""
    with _OPENING:
        bench = _WORKBENCHES.get(str(folder))
        if bench is None:
            bench = _WORKBENCHES[str(folder)] = Workbench(load_study(folder / "study.json"))
    if bench.study.content_hash != study_hash:
        raise StoreError(
            "the study in this folder is another one",
            file=str(folder / "study.json"),
            value=bench.study.content_hash,
            fix=f"expected {study_hash}; use another results folder",
        )
    return bench


def forget(folder: Path) -> None:
    """Drop the workbench of a folder that is about to get another name."""
    with _OPENING:
        _WORKBENCHES.pop(str(folder), None)
