"""The market model and its composition: layers in, blocks of paths out.

    regimes -> slow volatility -> jumps -> seasonality -> diffusion -> wicks -> depth -> premium

One layer is one file of this folder: equations, parameters, calibration, what it cannot produce. All
layers of one path run in one compiled kernel that releases the GIL. Every random number has an address
(`stress.kernels.rng`), so a path does not depend on block size, workers, further markets or the horizon.
Axes: `volatility` multiplies diffusive volatility and the size of jumps (compensators follow), `depth`
multiplies depth, `correlation` blends all regimes' matrices towards 1 (> 0) or independence (< 0); the
shocks are the same for all values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.errors import StudyError, did_you_mean
from stress.kernels.jit import entry
from stress.kernels.mean_reversion import knot_grid
from stress.kernels.rng import COMMON, market_id, round_keys, stream_of
from stress.kernels.venue import PathBlock
from stress.paths import (
    anchors,
    depth,
    diffusion,
    jumps,
    premium,
    regimes,
    replay,
    resampled,
    seasonality,
    shock,
    volatility,
    wicks,
)
from stress.paths.depth import Depth
from stress.paths.diffusion import DiffusionOfMarket
from stress.paths.jumps import Jumps, JumpsOfMarket
from stress.paths.premium import Premium
from stress.paths.regimes import Regimes
from stress.paths.replay import PriceHistory, PriceReport
from stress.paths.resampled import Resampled, ResampledTerms
from stress.paths.seasonality import Seasonality
from stress.paths.volatility import SlowVolatility
from stress.paths.wicks import Wicks, WicksOfMarket
from stress.scenarios import STATIONARY, AnchorScenario, RegimeScenario, ReplayScenario, ShockScenario
from stress.stages import format_duration

KNOT_SECONDS = 300.0  # grid of the noise of depth and premium


class Source(BaseModel):
    """Where parameters come from: `of` names the keys, `sure` whether it was read at its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: str
    text: str
    date: str
    sure: bool


class PriceData(BaseModel):
    """A price file that a calibration read: its name, BLAKE2b-128 of its bytes, its markets."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str
    blake2b: str
    markets: tuple[str, ...]


class DepthData(BaseModel):
    """Depth samples that a calibration read: files, first and last hour (UTC), and hours behind the fit by market."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data: tuple[PriceData, ...]
    span: tuple[str, str]
    hours: dict[str, int]


class Calibration(BaseModel):
    """Where fitted parameters come from and how sure they are; no path depends on it.

    span : first and last hour, UTC. hours : number of returns of each market. standard_errors : by key, from
    `bootstrap`. kept : keys that prices cannot identify, taken from `template`. wicks : Parkinson volatility
    (highs and lows) over close-to-close volatility, of each market. co_jumps : hours in which most
    majors jumped, and of them the share in which each market did. depth : samples of depth, if any were given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    data: tuple[PriceData, ...]
    span: tuple[str, str]
    hours: dict[str, int]
    template: str
    kept: tuple[str, ...]
    occupancy: dict[str, float]
    wicks: dict[str, float]
    co_jumps: dict[str, float] = {}
    depth: DepthData | None = None
    bootstrap: str
    standard_errors: dict[str, float]
    warnings: tuple[str, ...]


class Market(DiffusionOfMarket, JumpsOfMarket, WicksOfMarket):
    """One market: the venue's scale, and its part of each layer.

    price : USD at t = 0. depth_usd : within 1 % of the mid, one side, on this venue, in the first regime
    at median volatility. open_interest_usd : one side. quoted_in : the market in whose asset the price is stated and
    moves, for wrapped, staked and bridged assets: their own layers are the peg. A replay has prices in USD.
    """

    price: Annotated[float, Field(gt=0)]
    depth_usd: Annotated[float, Field(gt=0)]
    open_interest_usd: Annotated[float, Field(gt=0)]
    quoted_in: str | None = None


class MarketModel(BaseModel):
    """A market file: markets in their fixed order, and the layers; a layer left out is off."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    schema_version: Literal[1] = Field(alias="schema")
    name: str
    title: str = ""
    stream: str | None = None
    sources: tuple[Source, ...] = ()
    markets: dict[str, Market] = Field(min_length=1)
    correlation: dict[str, dict[str, float]] = {}
    regimes: Regimes = Regimes()
    volatility: SlowVolatility | None = None
    seasonality: Seasonality | None = None
    jumps: Jumps = Jumps()
    wicks: Wicks | None = None
    depth: Depth | None = None
    premium: Premium | None = None
    resampled: Resampled | None = None
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _layers_fit_together(self) -> Self:
        diffusion.correlation_matrix(list(self.markets), self.correlation)
        ids = [market_id(name) for name in self.markets]
        if COMMON in ids or len(set(ids)) < len(ids):
            raise ValueError("two markets share a permanent id; rename one")
        for name, market in self.markets.items():
            base = self.markets.get(market.quoted_in or "")
            if market.quoted_in is not None and (base is None or base.quoted_in is not None):
                raise ValueError(f"{name} is quoted in {market.quoted_in}, which must be a market quoted in USD")
        if self.premium is not None and set(self.premium.mean) != set(self.regimes.states):
            raise ValueError(f"premium.mean must name every regime: {', '.join(self.regimes.states)}")
        return self


class PathAxes(NamedTuple):
    """Path axes: multiples of volatility and depth, and a blend of correlation in [-1, 1]."""

    volatility: float = 1.0
    depth: float = 1.0
    correlation: float = 0.0


AS_CALIBRATED = PathAxes()


class Terms(NamedTuple):
    """Everything the kernel reads besides the keys."""

    regime: regimes.RegimeTerms
    volatility: volatility.VolatilityTerms
    season: seasonality.SeasonTerms
    jump: jumps.JumpTerms
    diffusion: diffusion.DiffusionTerms
    wick: wicks.WickTerms
    depth: depth.DepthTerms
    premium: premium.PremiumTerms
    ids: np.ndarray  # (m,) uint64, permanent ids of the selected markets
    prices: np.ndarray  # (m,) USD
    clock: np.ndarray  # (S + 1,) int64, hour of each step
    starts: np.ndarray  # (hours + 1,) int64, first point of each hour, then S + 1
    step: float
    steps_per_knot: int
    knots: int


class Scratch(NamedTuple):
    """Work space of one thread; every path overwrites it."""

    regime: np.ndarray  # (hours,) int8
    slow: np.ndarray  # (hours,) ln volatility over its median
    scale: np.ndarray  # (hours,) the same with its season
    jumps: np.ndarray  # (S, m) log points
    travelled: np.ndarray  # (S, m) sum of absolute jumps
    shocks: np.ndarray  # (k, S) independent normals
    knots: np.ndarray  # (knots,)
    noise: np.ndarray  # (S + 1,)


def _scratch(terms: Terms) -> Scratch:
    steps, hours = len(terms.clock) - 1, terms.clock[-1] + 1
    jumps_shape = (steps, len(terms.ids))
    return Scratch(
        regime=np.empty(hours, np.int8),
        slow=np.empty(hours),
        scale=np.empty(hours),
        jumps=np.zeros(jumps_shape),
        travelled=np.zeros(jumps_shape),
        shocks=np.empty((len(terms.diffusion.ids), steps)),
        knots=np.empty(terms.knots),
        noise=np.empty(steps + 1),
    )


@entry
def _generate(keys, terms, scratch, first_path, world, depths, premiums, regime):
    """Fill the arrays of a block, (P, S + 1, m) and (P, S + 1)."""
    paths, _, markets = world.shape
    state, slow, scale, jump, travelled, shocks, knots, noise = scratch
    for p in range(paths):
        path = first_path + p
        regimes.walk(keys, path, terms.regime, state)
        volatility.walk(keys, path, terms.volatility, slow)
        if terms.jump.active:
            jump[:] = 0.0
            travelled[:] = 0.0
            jumps.place(keys, path, terms.jump, terms.ids, terms.clock, terms.step, state, jump, travelled)
        for i in range(markets):
            world[p, 0, i] = terms.prices[i]
        seasonality.walk(keys, path, terms.season, slow, scale)
        diffusion.walk(
            keys, path, terms.diffusion, terms.starts, terms.step, state, scale, jump, shocks, noise, world[p]
        )
        if terms.wick.active:
            if not terms.jump.active:
                travelled[:] = 0.0
            wicks.walk(keys, path, terms.wick, terms.ids, terms.clock, terms.step, state, scale, world[p], travelled)
        depth.walk(
            keys, path, terms.depth, terms.ids, terms.starts, terms.steps_per_knot, state, slow, travelled, knots, noise,
            depths[p],
        )  # fmt: skip
        premium.walk(
            keys, path, terms.premium, terms.ids, terms.starts, terms.steps_per_knot, state, jump, knots, noise,
            premiums[p],
        )  # fmt: skip
        for hour in range(len(terms.starts) - 1):
            regime[p, terms.starts[hour] : terms.starts[hour + 1]] = state[hour]


@dataclass(frozen=True)
class PathSource:
    """A pure function from path numbers to paths; picklable, and safe to call from many threads.

    initial_prices : (m,) float64, W at t = 0 in USD. paths_available : None = any number; 1 for a replay
    or a shock. terms : of the layers, or of anchors. impact_scale : share by which a replay scales own
    impact; already in its depth (D / share). report : what a replay met in its price file, else None.
    overlay : the one path of a shock that comes on top of every path, else None. quoted : pairs (market, market in
    whose asset it is quoted). outage : (S + 1,) action bits that the venue cannot perform, by the scenario.
    """

    scenario: Any
    markets: tuple[str, ...]
    step: float
    steps: int
    initial_prices: np.ndarray
    keys: np.ndarray
    terms: Terms | anchors.AnchorTerms | ResampledTerms | None
    fixed: PathBlock | None = None
    impact_scale: float = 1.0
    report: PriceReport | None = None
    overlay: PathBlock | None = None
    quoted: tuple[tuple[int, int], ...] = ()
    outage: np.ndarray | None = None

    @property
    def paths_available(self) -> int | None:
        """Number of distinct paths, None if unlimited."""
        return None if self.fixed is None else 1

    def generate(self, first_path: int, count: int) -> PathBlock:
        """Return paths first_path .. first_path + count - 1, prices in USD."""
        block = self._drawn(first_path, count)
        if self.outage is not None:
            block = block._replace(venue_outage=block.venue_outage | self.outage)
        if not self.quoted:
            return block
        world = block.world.copy()
        for market, base in self.quoted:
            world[:, :, market] *= block.world[:, :, base]
        return block._replace(world=world)

    def _drawn(self, first_path: int, count: int) -> PathBlock:
        """Return the paths with every price in what it is quoted in."""
        if self.fixed is not None:
            if (first_path, count) != (0, 1):
                raise StudyError(
                    "a replay or a shock is one path",
                    key=f"scenarios.{self.scenario.name}",
                    value=f"paths {first_path} to {first_path + count - 1}",
                    fix="ask for path 0 only",
                )
            return self.fixed
        assert self.terms is not None  # a source has terms or is fixed
        if isinstance(self.terms, anchors.AnchorTerms):
            return anchors.generate(self.keys, self.terms, first_path, count)
        if isinstance(self.terms, ResampledTerms):
            return _resampled(self.keys, self.terms, first_path, count)
        shape = (count, self.steps + 1, len(self.markets))
        world, depths, premiums = np.empty((3, *shape))  # of one piece: large enough for large pages of memory
        regime = np.empty(shape[:2], np.int8)
        _generate(self.keys, self.terms, _scratch(self.terms), first_path, world, depths, premiums, regime)
        block = PathBlock(
            first_path=first_path,
            world=world,
            depth=depths,
            premium=premiums,
            external_premium=premiums,
            oracle_outage=np.zeros(shape, np.uint8),
            venue_outage=np.zeros(shape[:2], np.uint8),
            regime=regime,
        )
        return block if self.overlay is None else shock.on_top(self.overlay, block)


def _resampled(keys: np.ndarray, terms: ResampledTerms, first_path: int, count: int) -> PathBlock:
    """Return resampled paths; depth falls with realised volatility, as in a replay."""
    world = resampled.generate(keys, terms, first_path, count)
    hours, markets = terms.steps // terms.legs, world.shape[2]
    depths = np.empty_like(world)
    bars = np.empty((hours, 4))
    for p in range(count):
        for i in range(markets):
            within = world[p, 1:, i].reshape(hours, terms.legs)
            bars[:, 0], bars[:, 3] = world[p, : -1 : terms.legs, i], within[:, -1]
            bars[:, 1] = np.maximum(within.max(axis=1), bars[:, 0])
            bars[:, 2] = np.minimum(within.min(axis=1), bars[:, 0])
            ratio = replay.realised_volatility(bars, regimes.HOUR, terms.sigma[i]) / terms.sigma[i]
            thin = np.maximum(np.maximum(ratio, 1.0) ** -terms.phi, terms.floor)
            depths[p, :, i] = terms.depth[i] * np.concatenate([thin[:1], np.repeat(thin, terms.legs)])
    zero = np.zeros(world.shape)
    return PathBlock(
        first_path=first_path,
        world=world,
        depth=depths,
        premium=zero,
        external_premium=zero,
        oracle_outage=np.zeros(world.shape, np.uint8),
        venue_outage=np.zeros(world.shape[:2], np.uint8),
        regime=np.full(world.shape[:2], -1, np.int8),
    )


def _steps(model: MarketModel, horizon: float, step: float) -> int:
    steps = horizon / step
    if steps < 1 or abs(steps - round(steps)) > 1e-9:
        raise StudyError(
            "the horizon must be a whole number of steps",
            key="horizon",
            value=format_duration(horizon),
            fix=f"use a multiple of step = {format_duration(step)}",
        )
    moving = model.volatility is not None and model.volatility.sd > 0
    hourly = len(model.regimes.states) > 1 or moving or model.seasonality is not None
    parts = regimes.HOUR / step
    if hourly and (parts < 1 or abs(parts - round(parts)) > 1e-9):
        raise StudyError(
            "regimes, slow volatility and seasonality move every full hour, so an hour must be a whole number of steps",
            key="step",
            value=format_duration(step),
            fix="use a step that divides 1h",
        )
    return round(steps)


def _check_axes(axes: PathAxes) -> None:
    for name, rule, holds in (
        ("volatility", "must be positive", 0 < axes.volatility < np.inf),
        ("depth", "must be positive", 0 < axes.depth < np.inf),
        ("correlation", "must lie in [-1, 1]", -1 <= axes.correlation <= 1),
    ):
        if not holds:
            raise StudyError(rule, key=f"axes.{name}", value=getattr(axes, name))


def compose(
    model: MarketModel,
    scenario: RegimeScenario | ReplayScenario | ShockScenario | AnchorScenario,
    *,
    markets: Sequence[str],
    horizon: float,
    step: float,
    seed: int,
    axes: PathAxes = AS_CALIBRATED,
    history: PriceHistory | None = None,
) -> PathSource:
    """Return the source of paths of one scenario; horizon and step in seconds, any selection of markets."""
    source = _compose(
        model, scenario, markets=markets, horizon=horizon, step=step, seed=seed, axes=axes, history=history
    )
    times = np.arange(source.steps + 1) * step
    for key, outage in scenario.outages.items():
        bits = outage.bits(times, step, f"scenarios.{scenario.name}.{key}")
        source = replace(source, outage=bits if source.outage is None else source.outage | bits)
    quoted = {name: model.markets[name].quoted_in for name in markets if model.markets[name].quoted_in is not None}
    if not quoted or isinstance(scenario, ReplayScenario):
        return source
    for name, base in quoted.items():
        if base not in markets:
            fix = f"add {base} to the study's markets"
            raise StudyError(f"{name} is quoted in {base}, which the study leaves out", key="markets", fix=fix)
    pairs = tuple((list(markets).index(name), list(markets).index(str(base))) for name, base in quoted.items())
    prices = source.initial_prices.copy()
    for one, other in pairs:
        prices[one] *= source.initial_prices[other]
    return replace(source, quoted=pairs, initial_prices=prices)


def _compose(
    model: MarketModel,
    scenario: RegimeScenario | ReplayScenario | ShockScenario | AnchorScenario,
    *,
    markets: Sequence[str],
    horizon: float,
    step: float,
    seed: int,
    axes: PathAxes,
    history: PriceHistory | None,
) -> PathSource:
    """Return the source with every price in what it is quoted in."""
    known = list(model.markets)
    for name in markets:
        if name not in known:
            raise StudyError("is not a market of the model", key="markets", value=name, fix=did_you_mean(name, known))
    if not 0 <= seed < 2**64:
        raise StudyError("must be a whole number in [0, 2^64)", key="seed", value=seed)
    _check_axes(axes)
    steps = _steps(model, horizon, step)
    of = [model.markets[name] for name in markets]
    prices = np.array([market.price for market in of])
    depth_usd = axes.depth * np.array([market.depth_usd for market in of])
    keys = round_keys(seed, stream_of(model.stream or model.name))
    if isinstance(scenario, RegimeScenario) and model.resampled is not None:
        if scenario.start != STATIONARY:
            raise StudyError(
                "resampled hours have no regime to start in",
                key=f"scenarios.{scenario.name}",
                value=scenario.start,
                fix=f"use `{STATIONARY}`, or a market file without `resampled`",
            )
        if history is None:
            raise StudyError(
                "resampled hours need their price file", key="market.resampled", value=model.resampled.file
            )
        drawn = resampled.build(
            model.resampled, history.table, history.file, markets=markets, prices=prices, depth=depth_usd / prices,
            sigma=np.array([market.volatility for market in of]) / np.sqrt(diffusion.YEAR),
            phi=model.depth.phi if model.depth else 0.0, floor=model.depth.floor if model.depth else 0.0,
            volatility=axes.volatility, steps=steps, step=step, key="market.resampled",
        )  # fmt: skip
        return PathSource(scenario, tuple(markets), step, steps, prices, keys, drawn)
    if isinstance(scenario, RegimeScenario):
        terms = _terms(
            model, scenario, of, [known.index(name) for name in markets], prices, depth_usd, steps, step, axes
        )
        return PathSource(scenario, tuple(markets), step, steps, prices, keys, terms)
    beta = np.array([market.jump_beta for market in model.markets.values()])
    if isinstance(scenario, ShockScenario):
        one = np.ones(len(markets))  # on top of paths a shock is factors
        block = shock.build(
            scenario, markets=markets, known=known, beta=beta, prices=one if scenario.on else prices,
            depth=one if scenario.on else depth_usd / prices, steps=steps, step=step,
        )  # fmt: skip
        if scenario.on is None:
            return PathSource(scenario, tuple(markets), step, steps, prices, keys, None, block)
        terms = _terms(
            model, RegimeScenario(name=scenario.on, start=scenario.on), of, [known.index(name) for name in markets],
            prices, depth_usd, steps, step, axes,
        )  # fmt: skip
        return PathSource(scenario, tuple(markets), step, steps, prices, keys, terms, overlay=block)
    sigma = np.array([market.volatility for market in of]) / np.sqrt(diffusion.YEAR)
    phi, floor = (model.depth.phi, model.depth.floor) if model.depth else (0.0, 0.0)
    if isinstance(scenario, AnchorScenario):
        selected = [known.index(name) for name in markets]
        matrix = diffusion.blend(diffusion.correlation_matrix(known, model.correlation), axes.correlation)
        anchor_terms = anchors.build(
            scenario, markets=markets, known=known, beta=beta, prices=prices, depth=depth_usd / prices, sigma=sigma,
            phi=phi, floor=floor, half_life=replay.REALISED_HALF_LIFE,
            ids=np.array([market_id(name) for name in known], dtype=np.uint64)[: max(selected) + 1],
            loading=diffusion.cholesky(matrix)[selected, : max(selected) + 1],
            noise=axes.volatility / np.sqrt(diffusion.YEAR), steps=steps, step=step,
        )  # fmt: skip
        return PathSource(scenario, tuple(markets), step, steps, prices, keys, anchor_terms)
    if history is None:
        raise StudyError("a replay needs its price file", key=f"scenarios.{scenario.name}", value=scenario.replay)
    for name in (*scenario.map, *scenario.volatility_to):
        if name not in known:
            key = f"scenarios.{scenario.name}.{'map' if name in scenario.map else 'volatility_to'}"
            raise StudyError("is not a market of the model", key=key, value=name, fix=did_you_mean(name, known))
    block, report = replay.build(
        scenario, history, markets=markets, prices=prices, year=diffusion.YEAR, depth_usd=depth_usd, sigma=sigma,
        phi=phi, floor=floor, steps=steps, step=step,
    )  # fmt: skip
    return PathSource(
        scenario, tuple(markets), step, steps, block.world[0, 0], keys, None, block, scenario.impact_share[0], report
    )


def _terms(
    model: MarketModel,
    scenario: RegimeScenario,
    of: list[Market],
    selected: list[int],
    prices: np.ndarray,
    depth_usd: np.ndarray,
    steps: int,
    step: float,
    axes: PathAxes,
) -> Terms:
    chain = model.regimes
    if scenario.start not in (*chain.states, STATIONARY):
        raise StudyError(
            "is not a regime of the market model",
            key=f"scenarios.{scenario.name}",
            value=scenario.start,
            fix=did_you_mean(scenario.start, chain.states),
        )
    ids = np.array([market_id(name) for name in model.markets], dtype=np.uint64)
    try:
        jump_terms, compensator = jumps.build(
            model.jumps, of, chain.values("jump_intensity"), axes.volatility * chain.values("jump_size")
        )
    except ValueError as infinite:
        raise StudyError(str(infinite), key="axes.volatility", value=axes.volatility) from None
    steps_per_knot, knots = knot_grid(steps, step, KNOT_SECONDS)
    # 1e-9: an hour boundary must not fall into the hour before by rounding of t x step.
    clock = np.floor(np.arange(steps + 1) * (step / regimes.HOUR) + 1e-9).astype(np.int64)
    return Terms(
        regime=regimes.build(chain, None if scenario.start == STATIONARY else scenario.start, scenario.held),
        volatility=volatility.build(model.volatility, regimes.HOUR),
        season=seasonality.build(model.seasonality),
        jump=jump_terms,
        diffusion=diffusion.build(
            ids,
            np.array(selected),
            diffusion.correlation_matrix(list(model.markets), model.correlation),
            chain.values("correlation"),
            axes.correlation,
            axes.volatility * np.outer(chain.values("volatility"), [market.volatility for market in of]),
            np.array([market.drift for market in of]) - compensator,
        ),
        wick=wicks.build(
            model.wicks,
            of,
            axes.volatility * np.outer(chain.values("volatility"), [market.volatility for market in of]),
            diffusion.YEAR,
            step,
        ),
        depth=depth.build(
            model.depth, depth_usd / prices, chain.values("depth"), chain.values("volatility"), step, steps_per_knot
        ),
        premium=premium.build(model.premium, chain.states, step, steps_per_knot),
        ids=ids[selected],
        prices=prices,
        clock=clock,
        starts=np.searchsorted(clock, np.arange(clock[-1] + 2)),
        step=step,
        steps_per_knot=steps_per_knot,
        knots=knots,
    )
