"""What is timed: one factor at a time around a base point, and the points of the bars.

Every case is a study on the committed `benchmark_book`: the same objects that a run would use, built by
`stress.sweep.Workbench`. Severity is the regime in which all of a path's hours are held.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import yaml

from stress import config
from stress.sweep import Workbench

CONFIGS = Path(__file__).parents[2] / "configs"
STEP_SECONDS = 60

# Values of the cell axes; their first n give n^3 cells. The first of each is the preset's own value.
LEVERAGE_CAPS = (40, 30, 50, 25, 45, 35, 20, 28)
RATIOS = (0.5, 0.6, 0.4, 0.7, 0.55, 0.45, 0.65, 0.35)
DELAYS = ("60s", "0s", "120s", "300s", "180s", "240s", "420s", "600s")


@dataclasses.dataclass(frozen=True)
class Case:
    """One point: its factors, and the comparators that it is timed against where they finish in time."""

    accounts: int = 1_000
    markets: int = 4
    steps: int = 1_440
    cells: Literal[1, 64, 512] = 64
    severity: Literal["calm", "stress", "panic"] = "calm"
    preset: str = "reference"
    wide: bool = False  # every account holds three or more markets

    @property
    def name(self) -> str:
        """What differs from the base point."""
        differs = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default
        }
        return " ".join(f"{key}={value}" for key, value in differs.items()) or "base"


BASE = Case()
FACTORS: dict[str, tuple[Any, ...]] = {
    "accounts": (200, 1_000, 10_000, 100_000),
    "markets": (1, 4, 16),
    "steps": (288, 1_440, 8_640),
    "cells": (1, 64, 512),
    "severity": ("calm", "stress", "panic"),
    "preset": ("reference", "hyperliquid"),
}
# Least ratio of the exhaustive engine's time to the culled engine's.
BARS = {
    Case(accounts=10_000): 60.0,
    Case(accounts=10_000, severity="panic"): 15.0,
    Case(): 15.0,
    Case(severity="panic"): 8.0,
    Case(wide=True): 5.0,
}
# Least ratio of the NumPy engine's time to the culled engine's.
NUMPY_BARS = {Case(accounts=10_000): 500.0}


# Least ratio of the bare equity loop's time to the exhaustive engine's.
SCAN_BAR = 0.5
# The sweep of the goal: so many paths through 512 cells, and the seconds it may take on two cores.
GOAL, GOAL_PATHS, GOAL_SECONDS = Case(cells=512), 10_048, 180.0  # 10,000 paths, up to whole blocks of 64


# Most of each preset's time over that of the reference venue, in calm.
PRESET_BAR = 1.5


def venues(severity: str) -> dict[str, Workbench]:
    """Return a study of each preset on the benchmark book, which each margins by its own rules, and the same paths."""
    stated = yaml.safe_load((CONFIGS / "studies" / "venues.yaml").read_text())
    protocols = stated.pop("protocol")
    stated |= {
        "market": str(CONFIGS / stated["market"]),
        "book": _book(Case()),
        "scenarios": [{"name": severity, "start": severity, "held": True}],
        "current": {},
        "paths": 1_024,
    }
    return {Path(name).stem: Workbench(config.Study(protocol=str(CONFIGS / name), **stated)) for name in protocols}


def cases() -> list[Case]:
    """Return every case once, the base point first."""
    varied = [dataclasses.replace(BASE, **{factor: value}) for factor, values in FACTORS.items() for value in values]
    return list(dict.fromkeys([BASE, *varied, *BARS]))


def distinct_paths(case: Case) -> int:
    """Return how many paths a measurement takes: few train the branch predictor, and large books need fewer to be steady."""
    return 512 if case.accounts <= 1_000 else 128 if case.accounts <= 10_000 else 32


def bench(case: Case) -> Workbench:
    """Return the case's study with its books, cells, engine and paths, made on demand."""
    return Workbench(config.Study(**stated(case)))


def stated(case: Case, paths: int = 1_024) -> dict[str, Any]:
    """Return the case's study as a file would state it."""
    market = yaml.safe_load((CONFIGS / "markets" / "house.yaml").read_text())
    _more_markets(market, case.markets)
    protocol = yaml.safe_load((CONFIGS / "protocols" / f"{case.preset}.yaml").read_text())
    protocol["margin"]["markets"]["default"] = protocol["margin"]["markets"]["SOL"]
    values = round(case.cells ** (1 / 3))
    return {
        "schema": 1,
        "name": "benchmark",
        "question": "How fast is the engine?",
        "protocol": protocol,
        "book": _book(case),
        "market": market,
        "markets": list(market["markets"])[: case.markets],
        "scenarios": [{"name": case.severity, "start": case.severity, "held": True}],
        "horizon": f"{case.steps * STEP_SECONDS}s",
        "step": f"{STEP_SECONDS}s",
        "axes": {
            "leverage_cap": list(LEVERAGE_CAPS[:values]),
            "maintenance_to_initial_ratio": list(RATIOS[:values]),
            "oracle_delay": list(DELAYS[:values]),
        },
        "paths": paths,
        "seed": 20261122,
    }


def _more_markets(market: dict[str, Any], wanted: int) -> None:
    """Add, beyond the file's markets, the same again under other names, each at 0.9 with its original.

    All correlations between the two halves are 0.9 of those within one: a Kronecker product, so still a correlation matrix.
    """
    names = list(market["markets"])
    within = {frozenset((a, b)): rho for a, others in market["correlation"].items() for b, rho in others.items()}
    for k in range(wanted - len(names)):
        market["markets"][f"{names[k]}2"] = market["markets"][names[k]]
        market["correlation"][f"{names[k]}2"] = {
            **{b: 0.9 * within.get(frozenset((names[k], b)), 1.0) for b in names},
            **{f"{b}2": within[frozenset((names[k], b))] for b in names[:k]},
        }


def diffusion_alone(case: Case) -> dict[str, Any]:
    """Return the case's study with a market of which every layer but diffusion is left out."""
    study = stated(case)
    own = ("price", "depth_usd", "open_interest_usd", "volatility")
    markets = {name: {key: of[key] for key in own} for name, of in study["market"]["markets"].items()}
    market = {key: study["market"][key] for key in ("schema", "name", "correlation")} | {"markets": markets}
    return study | {"market": market, "scenarios": [{"name": case.severity, "start": "stationary"}]}


def _book(case: Case) -> dict[str, Any]:
    book = yaml.safe_load(Path(__file__).with_name("benchmark_book.yaml").read_text())
    book["accounts"] = case.accounts
    if case.wide:
        # The two kinds that hold other markets too, each of them with certainty; nothing isolated.
        book |= {"archetypes": _shares(directional=0.6, market_neutral=0.4), "other_markets": 1.0, "isolated": 0.0}
    elif case.markets == 1:
        book["archetypes"] = _shares(directional=0.78, funding_collecting=0.2, whale=0.02)
    return book


def _shares(**stated: float) -> dict[str, float]:
    kinds = ("directional", "hedged_pair", "market_neutral", "funding_collecting", "whale")
    return {kind: stated.get(kind, 0.0) for kind in kinds}
