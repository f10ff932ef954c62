"""The validation cases' small worlds: a market model of one or two markets, a venue of plain rules, a book."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stress import engine
from stress.accounts import Book
from stress.config import Protocol
from stress.kernels.venue import PathBlock
from stress.paths import MarketModel, PathSource, compose
from stress.scenarios import parse_scenario
from stress.stages import Seconds
from tests.validation.cases import Case
from tests.venues import book_of, paths_of, protocol_of

DAY = 86400.0
YEAR = 365 * DAY
SEED = 20261122
CHUNK = 2_000_000  # path-steps held at once

Positions = tuple[int, float, float]  # market, size, entry price


def market_model(case: Case, markets: dict[str, dict[str, Any]], **layers: Any) -> MarketModel:
    """A model of the given markets and layers; its name, and so its random stream, is the case's."""
    endless = {"depth_usd": 1e30, "open_interest_usd": 1.0}
    document = {"schema": 1, "name": case.name, "markets": {name: endless | own for name, own in markets.items()}}
    return MarketModel.model_validate({**document, **layers})


@dataclass(frozen=True)
class Paths:
    """Paths in blocks, changed on the way if `change` is given; `step` in seconds."""

    source: PathSource
    count: int
    step: float
    change: Callable[[PathBlock], PathBlock] | None = None

    def __iter__(self) -> Iterator[PathBlock]:
        chunk = max(1, CHUNK // (self.source.steps + 1))
        for first in range(0, self.count, chunk):
            block = self.source.generate(first, min(chunk, self.count - first))
            yield block if self.change is None else self.change(block)

    def changed(self, change: Callable[[PathBlock], PathBlock]) -> Paths:
        return replace(self, change=change)


def paths(model: MarketModel, count: float, years: float, steps: int, start: str | None = None) -> Paths:
    """`count` paths of a horizon in years of 365 days, cut into equal steps."""
    horizon = years * YEAR
    scenario = parse_scenario(start or next(iter(model.regimes.states)), model.regimes.states)
    source = compose(model, scenario, markets=tuple(model.markets), horizon=horizon, step=horizon / steps, seed=SEED)
    return Paths(source, int(count), horizon / steps)


def venue(
    held: Book, maintenance: float, *, oracle_delay: float = 0.0, heartbeat: float = 0.0, **stages: Any
) -> Protocol:
    """Mark = oracle, one maintenance rate, whole positions into the book at once, a fund that pays everybody."""
    tier = {"above": 0, "leverage_cap": 1, "maintenance_to_initial_ratio": maintenance}
    oracle = {"rule": "external_feed", "oracle_delay": Seconds(oracle_delay), "heartbeat": Seconds(heartbeat)}
    plain = {
        "oracle": oracle,
        "margin": {"rule": "tiered_margin", "markets": {"default": [tier]}},
        "execution": [{"rule": "order_book", "deficit_fill": "any"}],
        "waterfall": [{"rule": "insurance_fund", "insurance_fund": 10 * notional(held)}],
    }
    return protocol_of(**plain | stages)


def notional(held: Book) -> float:
    """Gross notional at entry. Funds are multiples of it: large enough for any loss, small enough for I1's residual."""
    return float(np.abs(held.size * held.entry_price).sum())


def account(cash: float, *rows: Positions) -> tuple[float, list[Positions]]:
    """Collateral in USD and positions of one account."""
    return cash, list(rows)


def book(accounts: list[tuple[float, list[Positions]]], markets: tuple[str, ...] = ("X",)) -> Book:
    """A book of such accounts."""
    cash, rows = zip(*accounts, strict=True)
    return book_of(markets, list(cash), list(rows))


def outcomes(protocol: Protocol, held: Book, blocks: Iterable[PathBlock], step: float | None = None) -> np.ndarray:
    """Records of PATH_OUTCOMES of all paths; every path must have kept the ledger's identities."""
    step = blocks.step if isinstance(blocks, Paths) else step
    composed, records, cell = engine.compose(protocol), [], None
    for block in blocks:
        cell = cell or engine.build_cell(protocol, held, prices=block.world[0, 0], step=step)
        records.append(engine.simulate(composed, cell, block).paths)
        assert not records[-1]["violation"].any()
    return np.concatenate(records)


def ladder(
    thresholds: np.ndarray, usd: float, x0: float, rounds: int | None, *, kappa_per_usd: float = 0.0, root: float = 0.0
) -> tuple[float, float]:
    """Let the price fall by x0 on a ladder of accounts; return the venue's drop and the USD sold at the first price.

    Account i holds `usd` at a price of 1 and acts once the mark has fallen by more than thresholds[i]:
    cash = usd (x_i + m (1 - x_i)). A sale moves mid and mark for good, by kappa_per_usd x USD sold so far
    or root x its square root, of the first price (additive impact, all of it seen by the oracle).
    """
    maintenance, total = 1e-3, usd * len(thresholds)
    impact = {"rule": "square_root_impact" if root else "linear_impact", "additive": True, "permanent": 1.0}
    held = book([account(usd * (x + maintenance * (1 - x)), (0, usd, 1.0)) for x in thresholds])
    protocol = venue(
        held,
        maintenance,
        impact=impact
        | {
            "impact_at_depth": root * total**0.5 if root else kappa_per_usd * total,
            "arbitrage_share": 1.0,
            "impact_max": 0.999,
        },
        rounds_per_step=rounds,
    )
    block = paths_of(np.array([[[1.0], [1.0 - x0]]]), depth=total)
    cell = engine.build_cell(protocol, held, prices=np.ones(1), step=60.0)
    after, outcome = engine.replay_venue(engine.compose(protocol), cell, block, trace_path=0)
    assert outcome.paths[0]["violation"] == 0
    sold = np.count_nonzero(after.rows["size"][: len(thresholds)] == 0.0)
    return 1.0 - float(outcome.trace["venue_mid"][-1, 0]), sold * usd
