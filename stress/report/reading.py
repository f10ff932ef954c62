"""What the report reads out of a run: the headline cells, their estimates, and the words of a scenario."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from stress.measures import Standing, standing
from stress.report.formats import axis_field, axis_label, axis_value, how_often, probability, span, stated
from stress.scenarios import STATIONARY

EVENTS = {
    "mutualised_loss": "mutualised loss",
    "fund_exhaustion": "insurance fund exhausted",
    "adl": "auto-deleveraging",
    "market_makers_default": "market makers below zero",
}

# The parts of who pays, in the order in which a loss meets them.
PARTS: dict[str, str] = {
    "fund_paid": "insurance fund",
    "provider_default_loss": "backstop vault",
    "adl_shortfall": "ADL (deleveraged winners)",
    "socialized_loss": "socialized loss",
    "unresolved_bad_debt": "unresolved bad debt",
}
# The rules (adl_: a family, by how its names begin) without which a part cannot occur; unresolved bad debt needs none.
_MAKERS = {
    "fund_paid": ("insurance_fund", "market_insurance_funds", "adaptive_fund"),
    "provider_default_loss": ("backstop_vault", "pool_equity"),
    "adl_shortfall": ("adl_",),
    "socialized_loss": ("socialized_loss", "withdrawal_haircut", "adl_pool_profit"),
}
# Axes that a heat map shows first, rows before columns; the others become slices.
_HEAT_MAP_AXES = ("leverage_cap", "oracle_delay", "maintenance_to_initial_ratio")
# A multiplier of 1 leaves the calibrated market as it is; a correlation shift of 0 likewise.
_NEUTRAL = {"volatility": 1.0, "depth": 1.0, "correlation": 0.0}

Index = Mapping[str, int]


@dataclass(frozen=True)
class Estimate:
    """A probability with everything that it needs to be a result."""

    events: int
    paths: int
    value: float
    low: float
    high: float
    exact_low: float
    exact_high: float

    def __str__(self) -> str:
        return self.said()

    def said(self, more: int = 0) -> str:
        """Return the estimate in words, with `more` digits than it takes by itself."""
        if not self.paths:
            return "failed"
        exact = (self.exact_low, self.exact_high)
        return probability(self.events, self.paths, self.value, self.low, self.high, exact, more)

    @property
    def open(self) -> bool:
        """Whether the event happened on some paths and not on others, so that the estimate itself is printed."""
        return 0 < self.events < self.paths


@dataclass(frozen=True)
class ScenarioView:
    """One scenario with its place in the store and the words that qualify its probabilities.

    `share` is the regime's share of time, for scenarios from which the chain runs free. `one_path`:
    history or a stated shock, whose result is an outcome and not a probability.
    """

    index: int
    name: str
    kind: str
    given: str
    share: float | None
    one_path: bool


class Reading:
    """A run as the report sees it: the store, the study, and which cells and slices to show."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.data: xr.Dataset = run.data
        self.study: Any = run.study
        self.plan: Any = run.plan
        self._arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
        self._traces: dict[str, np.ndarray] = {}
        self.cell_axes = tuple(self.plan.cell_axes)
        self.path_axes = tuple(name for name in self.plan.path_axes if name != "scenario")
        self.scenarios = tuple(self._scenario(i, s) for i, s in enumerate(self.plan.path_axes["scenario"]))
        self.current = self._cell(self.plan.current_index)
        self.proposed = self._cell(self.plan.proposed_index)
        tolerance = self.study.tolerance
        self.event: str = "mutualised_loss" if tolerance is None else tolerance.measure
        self.tolerance: float | None = None if tolerance is None else tolerance.probability
        self.neutral = {name: self._neutral(name) for name in self.path_axes}

    # ---------------------------------------------------------------- cells

    def _cell(self, index: tuple[int, ...] | None) -> dict[str, int] | None:
        return None if index is None else dict(zip(self.cell_axes, index, strict=True))

    def _neutral(self, axis: str) -> int:
        values = np.asarray(self.plan.path_axes[axis], dtype=float)
        return int(np.argmin(np.abs(values - _NEUTRAL.get(axis, values[0]))))

    @property
    def headline(self) -> dict[str, int]:
        """The cell that the verdict is about: the proposed one, else the current one, else the first."""
        return self.proposed or self.current or dict.fromkeys(self.cell_axes, 0)

    @property
    def pair(self) -> list[tuple[str, dict[str, int]]]:
        """The headline cells by name: current and proposed, as far as the study names them; a venue by its own name."""
        if self.compares:
            return [(self.value_of("protocol", self.headline["protocol"]), self.headline)]
        named = [("current", self.current), ("proposed", self.proposed)]
        found = [(name, cell) for name, cell in named if cell is not None]
        return found or [("first cell", self.headline)]

    @property
    def compares(self) -> bool:
        """Whether the study puts venues side by side: a list of them, nothing proposed and no tolerance."""
        return len(self.protocols) > 1 and self.proposed is None and self.tolerance is None

    @property
    def shown(self) -> list[tuple[str, dict[str, int]]]:
        """The cells of tables by name: the venues where they are compared, else the headline cells."""
        if not self.compares:
            return self.pair
        venues = range(len(self.protocols))
        return [(self.value_of("protocol", i), {**self.headline, "protocol": i}) for i in venues]

    @property
    def changed(self) -> list[str]:
        """The axes on which the proposed cell differs from the current one."""
        if self.current is None or self.proposed is None:
            return []
        return [name for name in self.cell_axes if self.current[name] != self.proposed[name]]

    def value_of(self, axis: str, position: int) -> str:
        """Return one value of an axis as text: the study's own words for it, or the value with its unit."""
        if axis in self.study.labels:
            return str(self.study.labels[axis][position])
        return axis_value(axis, (self.plan.cell_axes | self.plan.path_axes)[axis][position])

    def describe(self, cell: Index, axes: tuple[str, ...] | None = None) -> str:
        """Return a cell in words: leverage cap 40x, oracle delay 60s."""
        names = self.cell_axes if axes is None else axes
        labelled = self.study.labels
        said = ((name, self.value_of(name, cell[name])) for name in names)
        return ", ".join(words if name in labelled else f"{axis_label(name)} {words}" for name, words in said)

    def cells(self) -> Iterator[dict[str, int]]:
        """Yield every cell in the order of the store."""
        sizes = (range(len(self.plan.cell_axes[name])) for name in self.cell_axes)
        for index in itertools.product(*sizes):
            yield dict(zip(self.cell_axes, index, strict=True))

    # ------------------------------------------------------------ estimates

    def place(self, scenario: ScenarioView, cell: Index | None = None) -> dict[str, int]:
        """Return the position on the path axes, and on the cell axes if a cell is given."""
        return {"scenario": scenario.index, **self.neutral, **(cell or {})}

    def array(self, name: str, scenario: ScenarioView, cell: Index) -> np.ndarray:
        """Return what a variable holds for one cell: a scalar, or its own dimensions (market, block, bin)."""
        values, dims = self._held(name)
        at = self.place(scenario, cell)
        return values[tuple(at.get(dim, slice(None)) for dim in dims)]

    def _held(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        if name not in self._arrays:
            variable = self.data[name]
            self._arrays[name] = np.asarray(variable.values), tuple(str(dim) for dim in variable.dims)
        return self._arrays[name]

    def number(self, name: str, scenario: ScenarioView, cell: Index) -> float:
        """Return a scalar variable for one cell."""
        return float(self.array(name, scenario, cell))

    def estimate(self, scenario: ScenarioView, cell: Index, event: str | None = None) -> Estimate:
        """Return the probability of an event in one cell; by default the event that the tolerance is about."""
        event = event or self.event
        stem = f"probability_{event}"
        return Estimate(
            int(self.number(f"events_{event}", scenario, cell)),
            int(self.number("paths", scenario, cell)),
            *(
                self.number(f"{stem}{end}", scenario, cell)
                for end in ("", "_low", "_high", "_exact_low", "_exact_high")
            ),
        )

    def standing(self, estimate: Estimate) -> Standing | None:
        """Return where the whole exact interval lies, or None where the study asks for no tolerance."""
        asked = self.study.tolerance
        if asked is None:
            return None
        return str(standing(estimate.events, estimate.paths, asked.probability, asked.confidence))  # type: ignore[return-value]

    def failed(self, scenario: ScenarioView, cell: Index) -> bool:
        """Whether the cell has no path at all; one that lost some paths shows how many it has left."""
        return not self.number("paths", scenario, cell)

    def possible(self, part: str, cell: Index) -> bool:
        """Whether the cell's venue has a rule for this part of the loss (a number that is there is never hidden)."""
        if part not in _MAKERS or _has(self.protocols[cell.get("protocol", 0)], part):
            return True
        axes = {name: at for name, at in cell.items() if name in self.data[f"mean_{part}"].dims}
        return bool((self.data[f"mean_{part}"].isel(axes).fillna(0) != 0).any())

    # ------------------------------------------------------------- scenarios

    def _scenario(self, index: int, name: str) -> ScenarioView:
        scenario = self._named(name)
        if scenario.kind == "replay":
            share = scenario.impact_share[0]
            own = "without own impact" if share == 0 else f"with {stated(share)} of own impact"
            return ScenarioView(index, name, scenario.kind, f"on one historical path, {own}", None, True)
        if scenario.kind == "shock" and scenario.one_path:
            return ScenarioView(index, name, scenario.kind, "on one stated path", None, True)
        if scenario.kind == "shock":
            start = "a day drawn at random" if scenario.on == STATIONARY else f"a day that starts in {scenario.on}"
            return ScenarioView(index, name, scenario.kind, f"given the stated move, on top of {start}", None, False)
        if scenario.kind == "anchors":
            return ScenarioView(index, name, scenario.kind, "on anchor paths, not historical data", None, False)
        if scenario.start == STATIONARY:
            return ScenarioView(index, name, scenario.kind, "on a day drawn at random", None, False)
        share = self._share(scenario.start)
        if scenario.held:
            # Pinned for the whole horizon: no start of the free chain, so no part of an unconditional probability.
            return ScenarioView(index, name, scenario.kind, f"given {scenario.start} held all day", None, False)
        given = f"given a day that starts in {scenario.start} ({how_often(share)})"
        return ScenarioView(index, name, scenario.kind, given, share, False)

    def _named(self, name: str) -> Any:
        return next(point.scenario for point in self.plan.path_points if point.values["scenario"] == name)

    def _share(self, regime: str) -> float:
        regimes = self.study.market.regimes
        return float(dict(zip(regimes.states, regimes.stationary, strict=True))[regime])

    # ---------------------------------------------------------------- words

    @property
    def title(self) -> str:
        """What the report is called."""
        return f"{self.study.name}: {' and '.join(protocol.title for protocol in self.protocols)}"

    @property
    def asked(self) -> str:
        """The probability that the study asks for: P(mutualised loss within 24h)."""
        return f"P({EVENTS[self.event]} within {self.horizon})"

    @property
    def horizon(self) -> str:
        """The horizon as text."""
        return span(self.study.horizon)

    @property
    def protocols(self) -> tuple[Any, ...]:
        """The resolved presets."""
        return tuple(self.study.protocols)

    @property
    def parts(self) -> dict[str, str]:
        """The parts of who pays in words, whose providers are a vault, the depositors of a pool, or either by venue."""
        pools = [any(mechanism.name == "pool_equity" for mechanism, _ in p.rules()) for p in self.protocols]
        if not any(pools):
            return PARTS
        return PARTS | {"provider_default_loss": "pool" if all(pools) else "backstop vault or pool"}

    def never(self, protocol: Any) -> list[str]:
        """Return the parts of a loss that the rules of one preset make impossible, in words."""
        return [self.parts[part] for part in _MAKERS if not _has(protocol, part)]

    @property
    def fund(self) -> float:
        """The insurance fund's balance at the start in the headline cell, USD."""
        return self.number("fund", self.scenarios[0], self.headline)

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, by name and reason, as the store records it."""
        listed = self.data.attrs.get("failures", ())
        return tuple(str(entry) for entry in listed)

    # --------------------------------------------------------------- replays

    def start_of(self, scenario: ScenarioView) -> datetime | None:
        """The moment at which a replay starts; None where time has no date."""
        found = self._named(scenario.name)
        return found.from_ if found.kind == "replay" else None

    def seconds_per_step(self, scenario: ScenarioView) -> float:
        """How much of history one step of a replay is."""
        return float(self.study.step * self._named(scenario.name).time_compression)

    def scenario(self, view: ScenarioView) -> Any:
        """The scenario behind a view."""
        return self._named(view.name)

    def impact_share(self, scenario: ScenarioView) -> float:
        """The share of the venue's own impact that a replay adds to history."""
        return float(self._named(scenario.name).impact_share[0])

    def trace(self, scenario: ScenarioView) -> np.ndarray:
        """Return (S + 1, m) records of vocabulary.TRACE of the scenario's path in the headline cell."""
        if scenario.name not in self._traces:
            self._traces[scenario.name] = self.run.trace(scenario.name, self.headline)
        return self._traces[scenario.name]

    # ------------------------------------------------------------- heat maps

    @functools.cached_property
    def heat_axes(self) -> tuple[str, ...]:
        """The axes of the heat map's rows and columns (at most two, of more than one value)."""

        def rank(name: str) -> int:
            field = axis_field(name)
            return _HEAT_MAP_AXES.index(field) if field in _HEAT_MAP_AXES else len(_HEAT_MAP_AXES)

        wide = [name for name in self.cell_axes if len(self.plan.cell_axes[name]) > 1]
        return tuple(sorted(wide, key=rank)[:2])

    @property
    def slice_axes(self) -> tuple[str, ...]:
        """The remaining cell axes, one heat map per combination of their values."""
        return tuple(name for name in self.cell_axes if name not in self.heat_axes)

    def lines(self, point: Index) -> list[list[dict[str, int]]]:
        """Return the cells of one slice as the rows of a heat map; a single axis makes a single row."""
        *_, rows, columns = (None, *self.heat_axes)
        across = range(len(self.plan.cell_axes[columns]))
        if rows is None:
            return [[{**point, columns: x} for x in across]]
        return [[{**point, rows: y, columns: x} for x in across] for y in range(len(self.plan.cell_axes[rows]))]

    def slices(self) -> list[dict[str, int]]:
        """Return every combination of the slice axes, the headline's own first."""
        own = {name: self.headline[name] for name in self.slice_axes}
        sizes = (range(len(self.plan.cell_axes[name])) for name in self.slice_axes)
        every = [dict(zip(self.slice_axes, index, strict=True)) for index in itertools.product(*sizes)]
        return [own, *(point for point in every if point != own)]


def _has(protocol: Any, part: str) -> bool:
    makers = _MAKERS[part]
    families = tuple(name for name in makers if name.endswith("_"))
    return any(rule.name in makers or rule.name.startswith(families) for rule, _ in protocol.rules())


def is_number(value: float) -> bool:
    """Whether a stored value is a result at all (failed cells hold NaN)."""
    return math.isfinite(value)
