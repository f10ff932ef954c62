"""Fit a market model to hourly price bars: what prices identify is fitted, the rest is kept from a template.

    returns -> seasonality -> regimes -> local level -> flags -> betas, sizes -> volatility, correlation

Each fit stands beside its layer in `stress.paths`; here they meet, and what several layers share is read together in
`states`. The evidence (flags, levels) is made once; an estimate is a function of the evidence and of how often each hour
counts, so that a bootstrap replicate is the same function with other counts. States are read anew in every replicate,
flags and local levels are given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from scipy.stats import gamma, rankdata

from stress.calibration.depth_samples import CALM_AFTER_JUMP, DepthSamples
from stress.calibration.depth_samples import FEWEST_HOURS as FEWEST_DEPTH_HOURS
from stress.calibration.errors import SAID, standard_errors
from stress.calibration.states import LEAST_SD, Fit, States
from stress.errors import PriceFileError, StudyError, did_you_mean
from stress.observations import market_of
from stress.paths import (
    Calibration,
    DepthData,
    MarketModel,
    PriceData,
    depth,
    diffusion,
    regimes,
    resampled,
    seasonality,
    wicks,
)
from stress.paths.jumps import fitting
from stress.paths.replay import BAD_PRINT_FACTOR, PriceHistory

HOUR = pd.Timedelta(hours=1)
LEVEL_WINDOW = 169  # hours of local bipower volatility, centred: a week, so that weekdays cancel
MAJOR_COVERAGE = 0.9  # of the longest history
FEWEST_HOURS = 2000
REPLICATES = 100
LARGE = 1.5  # thresholds
MEAN_BLOCK = 336  # hours


@dataclass(frozen=True)
class Panel:
    """Hourly log returns (n, m), NaN across a gap; squared log range (n, m) of highs and lows; last closes (m,).

    high, low : logs over the previous close, (n, m), NaN across a gap or where they are bad prints.
    """

    markets: tuple[str, ...]
    hours: pd.DatetimeIndex
    returns: np.ndarray
    squared_range: np.ndarray
    high: np.ndarray
    low: np.ndarray
    last: np.ndarray
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What the hours show, made once. majors (m,) bool; hour, size, intensity (n,)."""

    panel: Panel
    majors: np.ndarray
    fit: Fit
    states: States
    hour: np.ndarray
    power: np.ndarray  # (n,) squared returns over their level without its hour of the day
    jump_size: np.ndarray
    jump_intensity: np.ndarray
    level: np.ndarray  # (n, m) local standard deviation of an hour
    seen: fitting.Seen
    diffusive: np.ndarray  # (n, m) returns over season, NaN where flagged
    correlation: np.ndarray  # (m, m) of diffusive returns in the first regime
    chance: np.ndarray | None  # selection of common jumps, None without one
    beyond: np.ndarray  # (n, m, 2) how far low and high reach beyond the body, in local standard deviations
    log_depth: np.ndarray | None  # (n, m) ln USD over its regime's depth, NaN where unknown or after a jump

    @property
    def clusters(self) -> bool:
        """Whether there is slow volatility to speak of."""
        return self.states.sd > LEAST_SD


class Estimate(NamedTuple):
    """The fitted part of a market file, warnings, and errors by the likelihood on the scale of each parameter, by key."""

    fitted: dict[str, Any]
    warnings: list[str]
    errors: dict[str, float]


class Fitted(NamedTuple):
    """A market model fitted to a panel; draws: the model of each bootstrap replicate."""

    model: MarketModel
    panel: Panel
    draws: tuple[MarketModel, ...]


def by_market(history: PriceHistory) -> PriceHistory:
    """Return the history with each contract named by its market (BTCUSDT -> BTC)."""
    names = {symbol: market_of(symbol) for symbol in history.table["symbol"].unique()}
    return replace(history, table=history.table.assign(symbol=history.table["symbol"].map(names)))


def panel(histories: Sequence[PriceHistory], order: Sequence[str], markets: Sequence[str] | None = None) -> Panel:
    """Return the hours of `markets` (None: all); those of `order` come first, in that order, the others by name."""
    if markets is not None:
        histories = [_only(history, markets) for history in histories]
    closes: dict[str, pd.Series] = {}
    ranges: dict[str, pd.Series] = {}
    extremes: dict[str, pd.DataFrame] = {}
    warnings = []
    for history in histories:
        if history.bar != 3600.0:
            raise PriceFileError(
                "calibration reads hourly bars",
                file=history.file,
                key="bar",
                value=f"{history.bar:g} s",
                fix=f"give 1h bars, at least {FEWEST_HOURS:,} of each market; shorter ones are for replays",
            )
        for (venue, name), rows in history.table.groupby(["venue", "symbol"], sort=True, observed=True):
            symbol = str(name)
            if symbol in closes:
                raise PriceFileError(
                    "a market has one price series; this is its second",
                    file=history.file,
                    key="symbol",
                    value=f"{venue} {symbol}".strip(),
                    fix="give one venue for each market, or name a repair: --repair venues=median",
                )
            close, missing, odd = _bars(rows)
            closes[symbol] = close
            body = rows[["open", "close"]].agg(["min", "max"], axis=1)
            bad = (rows["low"] < body["min"] / BAD_PRINT_FACTOR) | (rows["high"] > body["max"] * BAD_PRINT_FACTOR)
            spread = np.where(bad, np.nan, np.log(rows["high"] / rows["low"]) ** 2)
            times = pd.DatetimeIndex(rows["ts"])
            ranges[symbol] = pd.Series(spread, index=times)
            extremes[symbol] = (
                rows[["high", "low"]].where(~np.repeat(bad.to_numpy()[:, None], 2, axis=1)).set_axis(times)
            )
            if missing or odd or bad.any():
                warnings.append(
                    f"{symbol}: {missing} missing hours, {odd} closes and {int(bad.sum())} highs or lows a factor "
                    f"{BAD_PRINT_FACTOR:g} off; returns and ranges that touch them are left out"
                )
    names = [name for name in order if name in closes] + sorted(set(closes) - set(order))
    short = [name for name in names if len(closes[name]) < FEWEST_HOURS]
    if short:
        raise StudyError(
            f"a calibration needs {FEWEST_HOURS} hours of each market",
            key="markets",
            value={name: len(closes[name]) for name in short},
            fix="leave them out with --markets",
        )
    longest = max(len(closes[name]) for name in names)
    # Common jumps are read off the first market, so it must be one with a long history.
    anchor = next(name for name in names if len(closes[name]) >= MAJOR_COVERAGE * longest)
    names = [anchor, *(name for name in names if name != anchor)]
    table = pd.DataFrame({name: closes[name] for name in names})
    hours = pd.date_range(table.index[0], table.index[-1], freq=HOUR)
    prices = table.reindex(hours)
    spreads = pd.DataFrame({name: ranges[name] for name in names}).reindex(hours)
    x = np.log(prices.to_numpy())
    high, low = (
        np.log(pd.DataFrame({name: extremes[name][field] for name in names}).reindex(hours).to_numpy())[1:] - x[:-1]
        for field in ("high", "low")
    )
    return Panel(
        tuple(names),
        hours[1:],
        np.diff(x, axis=0),
        spreads.to_numpy()[1:],
        high,
        low,
        np.array([closes[name].dropna().iloc[-1] for name in names]),
        tuple(warnings),
    )


def _bars(rows: pd.DataFrame) -> tuple[pd.Series, int, int]:
    """Return closes by hour (NaN where a factor off both neighbours), hours missing, closes left out."""
    close = pd.Series(rows["close"].to_numpy(), index=pd.DatetimeIndex(rows["ts"]))
    x = np.log(close.to_numpy())
    off = np.zeros(len(x), bool)
    limit = np.log(BAD_PRINT_FACTOR)
    step = np.diff(x)
    off[1:-1] = (np.abs(step[:-1]) > limit) & (np.abs(step[1:]) > limit) & (step[:-1] * step[1:] < 0)
    missing = int((close.index[-1] - close.index[0]) / HOUR) + 1 - len(close)
    return close.mask(off), missing, int(off.sum())


def observe(data: Panel, template: MarketModel, samples: Sequence[DepthSamples] = ()) -> Evidence:
    """Find seasonality, states, local levels and flags, each refined once with the flags of the first pass."""
    returns, count = data.returns, len(data.markets)
    present = (~np.isnan(returns)).sum(axis=0)
    majors = present >= MAJOR_COVERAGE * present.max()
    one = np.ones(len(returns))
    of_day, season, power, start = one, one, one, None
    hour, weekday = data.hours.hour.to_numpy(), data.hours.day_of_week.to_numpy()
    for _ in range(3):
        level = _level(returns, season * np.sqrt(power))
        with np.errstate(invalid="ignore"):
            calm = np.where(np.abs(returns) > fitting.THRESHOLD * level, np.nan, returns)
        of_day = seasonality.fit_hours(_power(calm, level / of_day[:, None]), hour, one)[hour]
        calm = calm[:, majors] / of_day[:, None]
        fit = Fit(calm, weekday, template.regimes.values("volatility"), template.regimes.matrix, start)
        states, start = fit.read(), fit.theta
        season, power = of_day * states.weekdays[weekday], states.power
    level = _level(returns, season * np.sqrt(power))
    seen = fitting.see(returns, level, majors)
    unseen = np.where(seen.flags, np.nan, returns)
    calm = unseen / season[:, None]
    correlation = diffusion.fit_correlation(calm, states.chance, one)[0]
    chance = None
    if count > 2 and seen.common.any():
        beta, dispersion, *_ = fitting.fit_beta(returns, level, seen, correlation, one)
        known = majors & ~np.isnan(beta)
        if known.sum() > 2:
            deviation = diffusion.fit_volatility(calm, one, power)[known]
            chance = fitting.selection(beta[known], dispersion[known], deviation, correlation[np.ix_(known, known)])
    state = states.chance.argmax(axis=1)
    return Evidence(
        data, majors, fit, states, hour, _power(unseen, level / of_day[:, None]),
        template.regimes.values("jump_size")[state], template.regimes.values("jump_intensity")[state],
        level, seen, calm, correlation, chance, wicks.excess(returns, data.high, data.low, level),
        _log_depth(data, samples, seen, states.chance @ np.log(template.regimes.values("depth"))),
    )  # fmt: skip


def _level(returns: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return local standard deviations (n, m): centred bipower over LEVEL_WINDOW of what `common` (n,) leaves, times it.

    Returns are held at 4 typical deviations first, so that a jump hardly lifts its own threshold.
    """
    scale = common[:, None]
    plain = returns / scale
    typical = np.sqrt(np.nanmean(diffusion.bipower(plain), axis=0))
    products = pd.DataFrame(diffusion.bipower(np.clip(plain, -4 * typical, 4 * typical)))
    local = products.rolling(LEVEL_WINDOW, center=True, min_periods=24).mean()
    return np.sqrt(local.ffill().bfill().to_numpy()) * scale


def _log_depth(
    data: Panel, samples: Sequence[DepthSamples], seen: fitting.Seen, regime: np.ndarray
) -> np.ndarray | None:
    """Return ln depth (n, m) over its regime's, ln (n,); markets with too few hours, and hours after jumps, are left out."""
    if not samples:
        return None
    table = pd.concat([one.log_depth for one in samples]).groupby(level=0).median()
    values = table.reindex(index=data.hours, columns=list(data.markets)).to_numpy() - regime[:, None]
    jumped = pd.DataFrame(seen.flags.astype(float)).rolling(CALM_AFTER_JUMP + 1, min_periods=1).max().to_numpy() > 0
    values = np.where(jumped, np.nan, values)
    return np.where(np.isfinite(values).sum(axis=0) >= FEWEST_DEPTH_HOURS, values, np.nan)


def _power(returns: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the mean over markets of squared returns over their level, (n,); NaN where none is known."""
    squares = (returns / level) ** 2
    count = np.isfinite(squares).sum(axis=1)
    return np.where(count > 0, np.nansum(squares, axis=1) / np.maximum(count, 1), np.nan)


def estimate(
    evidence: Evidence,
    template: MarketModel,
    weight: np.ndarray | None = None,
    draws: np.random.Generator | None = None,
) -> Estimate:
    """Return the fitted part of a market file; a replicate with weight (n,) of hours and its own draws."""
    data, seen, warnings = evidence.panel, evidence.seen, []
    found = evidence.states if weight is None else evidence.fit.read(weight, draws)
    by_states = evidence.fit.errors(list(template.regimes.states)) if weight is None else {}
    weight = np.ones(len(data.hours)) if weight is None else weight
    names, states = data.markets, list(template.regimes.states)
    sigma = diffusion.fit_volatility(evidence.diffusive, weight, found.power)
    correlation = diffusion.fit_correlation(evidence.diffusive, found.chance, weight)[0]
    mixed = _correlation_weights(evidence, found, sigma, correlation, weight)
    beta, dispersion, hours, of_beta = fitting.fit_beta(
        data.returns, evidence.level, seen, evidence.correlation, weight
    )
    hours_of_day = seasonality.fit_hours(evidence.power, evidence.hour, weight)
    common, errors, said = _common(evidence, template, weight)
    warnings += said
    phi, calm_depth, said = _depth(evidence, found, template, weight)
    warnings += said
    common_wicks, of_markets, said = _wicks(evidence, template, weight)
    warnings += said
    markets = {}
    for i, name in enumerate(names):
        kept = template.markets.get(name)
        if np.isnan(beta[i]):
            beta[i], dispersion[i] = (kept.jump_beta, kept.jump_dispersion) if kept else (1.0, 0.0)
            source = "kept from the template" if kept else "set to 1 and 0"
            warnings.append(f"{name}: {hours[i]} common jumps; jump_beta and jump_dispersion are {source}")
        own, of_own, said = _own(evidence, i, weight)
        warnings += said
        errors |= {f"markets.{name}.{key}": error for key, error in of_own.items()}
        errors |= {f"markets.{name}.jump_{key}": of_beta[i, k] for k, key in enumerate(("beta", "dispersion"))}
        markets[name] = {
            "price": float(data.last[i]),
            "volatility": float(sigma[i]),
            "jump_beta": float(beta[i]),
            "jump_dispersion": float(dispersion[i]),
            "own_jumps": own,
            **of_markets[name],
        }
        if name in calm_depth:
            markets[name]["depth_usd"] = calm_depth[name]
    fitted = {
        "markets": markets,
        "correlation": {
            name: {names[j]: float(correlation[i, j]) for j in range(i)} for i, name in enumerate(names) if i
        },
        "regimes": {
            "states": {
                state: {"volatility": float(found.multiples[s]), "correlation": float(mixed[s])}
                for s, state in enumerate(states)
            },
            "hourly_transition": found.transition.tolist(),
        },
        "occupancy": dict(zip(states, np.average(found.chance, axis=0, weights=weight).tolist(), strict=True)),
        "volatility": {"half_life": 3600.0 * found.half_life, "sd": found.sd} if evidence.clusters else None,
        "seasonality": {"hours": hours_of_day.tolist(), "weekdays": found.weekdays.tolist()},
        "jumps": {"common": common},
        "wicks": common_wicks,
        "depth": None if phi is None else {"phi": phi},
    }
    return Estimate(fitted, warnings, errors | by_states)


def _correlation_weights(
    evidence: Evidence, found: States, sigma: np.ndarray, correlation: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the weights of regimes from pairs of neighbouring majors and of the first with each."""
    majors = np.flatnonzero(evidence.majors)
    pairs = sorted({*itertools.pairwise(majors), *((majors[0], other) for other in majors[1:])})
    if not pairs:
        return np.zeros(found.chance.shape[1])
    a, b = np.array(pairs).T
    scaled = evidence.diffusive / (sigma * np.sqrt(3600.0 / diffusion.YEAR))
    return regimes.fit_correlation_weights(
        scaled[:, a], scaled[:, b], found.chance, found.variance, correlation[a, b], weight
    )


def _depth(
    evidence: Evidence, found: States, template: MarketModel, weight: np.ndarray
) -> tuple[float | None, dict[str, float], list[str]]:
    """Return phi (None where it is the template's), depth at calm median volatility by market in USD, and warnings."""
    values, names = evidence.log_depth, evidence.panel.markets
    if values is None:
        return None, {}, []
    known = np.isfinite(values).any(axis=0)
    few = [name for name, enough in zip(names, known, strict=True) if not enough]
    warnings = []
    if few:
        said = f"fewer than {FEWEST_DEPTH_HOURS} hours of depth beside returns; depth_usd is kept from the template"
        warnings.append(f"{', '.join(few)}: {said}")
    if not known.any() or template.depth is None:
        return None, {}, [*warnings, "depth.phi is kept from the template: no market has depth enough to fit it"]
    phi, level = depth.fit_elasticity(values[:, known], found.log_volatility, weight)
    calm = dict(zip(np.array(names)[known].tolist(), np.exp(level).tolist(), strict=True))
    if phi < 0:
        warnings.append(f"depth rises with volatility in these samples (phi = {phi:.2f}); depth.phi is 0")
    return max(phi, 0.0), calm, warnings


def _common(
    evidence: Evidence, template: MarketModel, weight: np.ndarray
) -> tuple[dict[str, Any] | None, dict[str, float], list[str]]:
    """Return the train of common jumps (exponential sizes each way, in the first regime's size), errors and warnings."""
    kept = template.jumps.common
    returns, seen = evidence.panel.returns[:, 0], evidence.seen
    hours = np.flatnonzero(seen.common & seen.flags[:, 0])
    if evidence.chance is None or weight[hours].sum() < fitting.FEWEST:
        if evidence.majors.sum() > 2 and kept:
            return kept.model_dump(), {}, [f"{len(hours)} common jumps: jumps.common is kept from the template"]
        said = (
            "fewer than three markets of a long history: common jumps cannot be told from own ones; all jumps are own"
        )
        return None, {}, [said]
    threshold = fitting.THRESHOLD * evidence.level[:, 0] / evidence.jump_size
    usable = ~np.isnan(evidence.panel.returns).any(axis=1, where=evidence.majors) & ~np.isnan(threshold)
    exposure = fitting.expose(threshold[usable], evidence.jump_intensity[usable], weight[usable])
    size = np.abs(returns) / evidence.jump_size
    sides, warnings = [], []
    for name, sign in (("down", -1), ("up", 1)):
        mine = hours[sign * returns[hours] > 0]
        used = mine
        if weight[mine].sum() < 3:
            warnings.append(f"{len(mine)} common jumps {name}: their mean size is that of all common jumps")
            used = hours
        train = fitting.fit_exponential(size[used], threshold[used], weight[used], exposure, evidence.chance)
        share = weight[mine].sum() / weight[used].sum()
        sides.append((train, train.intensity * share))
    (down, often_down), (up, often_up) = sides
    total = often_down + often_up
    law = {"law": "kou", "p_down": often_down / total, "mean_down": down.size, "mean_up": up.size}
    errors = {
        "jumps.common.intensity": np.hypot(often_down * down.intensity_error, often_up * up.intensity_error) / total,
        "jumps.common.size.p_down": np.hypot(down.intensity_error, up.intensity_error),
        "jumps.common.size.mean_down": down.size_error,
        "jumps.common.size.mean_up": up.size_error,
    }
    return {"intensity": total, "size": law}, errors, warnings


def _own(evidence: Evidence, i: int, weight: np.ndarray) -> tuple[dict[str, Any] | None, dict[str, float], list[str]]:
    """Return the train of own jumps of market i (None where too few were seen), errors and warnings."""
    name, seen = evidence.panel.markets[i], evidence.seen
    hours = np.flatnonzero(seen.own[:, i])
    if weight[hours].sum() < fitting.FEWEST:
        return None, {}, [f"{name}: {len(hours)} own jumps seen, too few for a law; own_jumps is off"]
    present = ~np.isnan(evidence.panel.returns[:, i])
    threshold = fitting.THRESHOLD * evidence.level[:, i] / evidence.jump_size
    exposure = fitting.expose(threshold[present], evidence.jump_intensity[present], weight[present])
    ordinary = present & ~seen.flags[:, i]
    quiet = float(np.average(seen.quiet[ordinary, i], weights=weight[ordinary]))
    size = np.abs(evidence.panel.returns[hours, i]) / evidence.jump_size[hours]
    train = fitting.fit_normal(size, threshold[hours], weight[hours], exposure, quiet)
    errors = {"own_jumps.size.sd": train.size_error, "own_jumps.intensity": train.intensity_error}
    law = {"intensity": train.intensity, "size": {"law": "normal", "sd": train.size}}
    return law, errors, [_alone(evidence, i)] if train.bound else []


def _alone(evidence: Evidence, i: int) -> str:
    """Say why own jumps of market i hardly exceed what is seen as one: how many flags were alone, by size."""
    seen, name = evidence.seen, evidence.panel.markets[i]
    flags = seen.flags[:, i]
    large = np.abs(evidence.panel.returns[flags, i]) > LARGE * fitting.THRESHOLD * evidence.level[flags, i]
    own = seen.own[flags, i]
    return (
        f"{name}: own jumps hardly exceed what is seen as one, so their sd is held at half the threshold; of moves up to {LARGE:g} "
        f"thresholds {own[~large].sum()} of {(~large).sum()} were this market's alone, of larger ones {own[large].sum()} of {large.sum()}"
    )


def _wicks(
    evidence: Evidence, template: MarketModel, weight: np.ndarray
) -> tuple[dict[str, float], dict[str, dict[str, Any]], list[str]]:
    """Return rates of the common train, each market's wicks to both sides, and warnings."""
    names, warnings = evidence.panel.markets, []
    half_life = (template.wicks or wicks.Wicks()).half_life
    common: dict[str, float] = {}
    of_markets: dict[str, dict[str, Any]] = {name: {} for name in names}
    for side, word in enumerate(("down", "up")):
        beyond = evidence.beyond[:, :, side]
        found = [wicks.fit_sizes(beyond[:, i], weight, half_life) for i in range(len(names))]
        share = wicks.fit_common(beyond[:, evidence.majors], weight)
        common[f"common_{word}"], parts = wicks.split(found, share)
        for name, part in zip(names, parts, strict=True):
            of_markets[name][f"wick_{word}"] = part and part.model_dump()
            if part is None:
                warnings.append(f"{name}: fewer than {wicks.FEWEST} wicks {word}; wick_{word} is off")
    return common, of_markets, warnings


def blocks(hours: int, mean_block: float, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each hour counts in each replicate, (n,): stationary bootstrap (Politis and Romano 1994)."""
    draws = np.random.default_rng(seed)
    for _ in range(replicates):
        restart = draws.random(hours) < 1.0 / mean_block
        restart[0] = True
        starts = draws.integers(hours, size=int(restart.sum()))
        first = np.flatnonzero(restart)
        block = np.cumsum(restart) - 1
        drawn = (starts[block] + np.arange(hours) - first[block]) % hours
        yield np.bincount(drawn, minlength=hours).astype(np.float64)


def flat(values: object, prefix: str = "") -> dict[str, float]:
    """Return every number of nested data by its dotted key."""
    if isinstance(values, Mapping):
        items: Sequence[tuple[Any, Any]] = list(values.items())
    elif isinstance(values, list | tuple):
        items = list(enumerate(values))
    else:
        return {prefix: float(values)} if isinstance(values, int | float) else {}
    found: dict[str, float] = {}
    for key, value in items:
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


def errors_of(made: Estimate, replicas: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return standard errors by key, in each parameter's unit, from the replicates' fitted parts; see `errors`."""
    drawn: dict[str, list[float]] = {}
    for replica in replicas:
        for key, value in flat(replica).items():
            drawn.setdefault(key, []).append(value)
    fitted, slow = flat(made.fitted), made.fitted["volatility"]
    memory = slow["half_life"] / 3600.0 / np.log(2) if slow else 0.0
    wide = float(np.sqrt(1 + memory / MEAN_BLOCK))
    on_volatility = [key for key in fitted if key == "depth.phi" or key.endswith(".depth_usd")]
    return standard_errors(fitted, drawn, made.errors, dict.fromkeys(on_volatility, wide))


def calibrate(
    histories: Sequence[PriceHistory],
    template: MarketModel,
    *,
    name: str,
    data: Sequence[PriceData],
    samples: Sequence[DepthSamples] = (),
    markets: Sequence[str] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Fitted:
    """Return the fitted market model with its bootstrap; `markets` selects, default all that the files hold.

    From the template: names of the regimes and their multiples of jumps and depth, depth, open interest, premium,
    whether jumps are compensated. A market that the template does not know gets the template's smallest depth
    and open interest, and a warning. samples : of depth, to which phi and calm depth are fitted.
    """
    prices = panel(histories, list(template.markets), markets)
    absent = [market for market in markets or () if market not in prices.markets]
    if absent:
        raise StudyError(
            "is in no price file", key="markets", value=absent[0], fix=did_you_mean(absent[0], prices.markets)
        )
    evidence = observe(prices, template, samples)
    made = estimate(evidence, template)
    fitted, warnings, _ = made
    generator = np.random.default_rng([seed, 1])
    replicas = [
        estimate(evidence, template, weight, generator)[0]
        for weight in blocks(len(prices.hours), MEAN_BLOCK, replicates, seed)
    ]
    errors = errors_of(made, replicas)
    whole = _assemble(
        evidence, template, fitted, errors, [*prices.warnings, *warnings], name, data, samples, replicates
    )
    chains = _chains(
        fitted["regimes"]["hourly_transition"], [r["regimes"]["hourly_transition"] for r in replicas], prices
    )
    for replica, chain in zip(replicas, chains, strict=True):
        replica["regimes"]["hourly_transition"] = chain.tolist()
    draws = (_assemble(evidence, template, replica, {}, [], name, data, samples, replicates) for replica in replicas)
    return Fitted(whole, prices, tuple(draws))


def _chains(whole: list[list[float]], moved: list[list[list[float]]], data: Panel) -> np.ndarray:
    """Return the hourly chain of each replicate, (replicates, S, S), from chances moved to first order.

    Those may be negative where an event was seen once or twice. A replicate takes the quantile, at its rank, of the Gamma law
    with the mean and the deviation of the chance; no state is left more rarely than once in the span of the data.
    """
    mean, first = np.array(whole), np.array(moved)
    chains = np.tile(mean, (len(first), 1, 1))
    away = ~np.eye(len(mean), dtype=bool)
    deviation = first.std(axis=0, ddof=1) if len(first) > 1 else np.zeros_like(mean)
    for i, j in zip(*np.nonzero(away & (deviation > 0) & (mean > 0)), strict=True):
        rank = (rankdata(first[:, i, j]) - 0.5) / len(first)
        chains[:, i, j] = gamma.ppf(rank, (mean[i, j] / deviation[i, j]) ** 2, scale=deviation[i, j] ** 2 / mean[i, j])
    for i in range(len(mean)):
        left = chains[:, i] * away[i]
        total = left.sum(axis=1)
        if len(mean) > 1:
            left[total < 1 / len(data.hours)] = mean[i] * away[i] / mean[i][away[i]].sum() / len(data.hours)
            left /= np.maximum(left.sum(axis=1, keepdims=True) / 0.5, 1.0)
        chains[:, i] = left
        chains[:, i, i] = 1 - left.sum(axis=1)
    return chains


def _only(history: PriceHistory, markets: Sequence[str]) -> PriceHistory:
    table = history.table[history.table["symbol"].isin(list(markets))]
    return PriceHistory(history.file, table, history.bar, history.out_of_order)


# Measured by tests/validation/test_recovery.py.
NARROW = (
    "the chance to move from panic straight to calm rests on a few moves and comes out high: of five simulated years, the interval of "
    "two errors held the truth in 88 of 100 samples instead of 95",
)
KEPT_DEPTH = ("depth.jump_sensitivity", "depth.half_life", "depth.sd", "depth.floor")
KEPT = (
    "markets.*.open_interest_usd",
    "regimes.states.*.depth",
    "regimes.states.*.jump_intensity",
    "regimes.states.*.jump_size",
    "wicks.half_life",
    "premium",
)


def _assemble(
    evidence: Evidence,
    template: MarketModel,
    fitted: dict[str, Any],
    errors: dict[str, float],
    warnings: list[str],
    name: str,
    data: Sequence[PriceData],
    samples: Sequence[DepthSamples],
    replicates: int,
) -> MarketModel:
    """Put the fitted numbers and the template's together."""
    prices = evidence.panel
    smallest = min(template.markets.values(), key=lambda market: market.depth_usd)
    for market, values in fitted["markets"].items():
        kept = template.markets.get(market, smallest)
        values.setdefault("depth_usd", kept.depth_usd)
        values["open_interest_usd"] = kept.open_interest_usd
        if kept is smallest and market not in template.markets:
            warnings.append(
                f"{market}: unknown to the template; depth and open interest are those of its smallest market"
            )
    for state, values in fitted["regimes"]["states"].items():
        kept_state = template.regimes.states[state]
        values |= kept_state.model_dump(include={"jump_intensity", "jump_size", "depth"})
    ratios = {}
    for i, market in enumerate(prices.markets):
        both = ~np.isnan(prices.returns[:, i]) & ~np.isnan(prices.squared_range[:, i])
        parkinson = prices.squared_range[both, i].mean() / (4 * np.log(2))
        ratios[market] = float(np.sqrt(parkinson / (prices.returns[both, i] ** 2).mean()))
    slow, elastic = fitted["volatility"], fitted["depth"]
    for one in samples:
        for market, count in one.cut.items():
            warnings.append(f"{market}: {count} depth samples of {one.data.file} end before 1 % of the mid; left out")
    years = len(prices.hours) / 8760
    for state, share in fitted["occupancy"].items():
        if share * years * 365 < 10:
            warnings.append(f"{state}: {share * years * 365:.1f} days of {years:.1f} years; its numbers are weak")
    return MarketModel.model_validate(
        {
            "schema": 1,
            "name": name,
            "title": f"Fitted to hourly bars of {len(prices.markets)} markets",
            "stream": template.stream or template.name,
            "markets": fitted["markets"],
            "correlation": fitted["correlation"],
            "regimes": fitted["regimes"],
            "volatility": slow and {"half_life": f"{slow['half_life']:.0f}s", "sd": slow["sd"]},
            "seasonality": fitted["seasonality"],
            "jumps": {**template.jumps.model_dump(exclude={"common"}), **fitted["jumps"]},
            "wicks": {**(template.wicks or wicks.Wicks()).model_dump(), **fitted["wicks"]},
            "depth": template.depth and {**template.depth.model_dump(), **(elastic or {})},
            "premium": template.premium,
            "sources": [source for source in template.sources if _is_kept(source.of)],
            "calibration": Calibration(
                data=tuple(data),
                span=(prices.hours[0].isoformat(), prices.hours[-1].isoformat()),
                hours={
                    market: int(count)
                    for market, count in zip(prices.markets, (~np.isnan(prices.returns)).sum(axis=0), strict=True)
                },
                template=template.name,
                kept=(*KEPT, *(KEPT_DEPTH if elastic else ("markets.*.depth_usd", "depth"))),
                occupancy=fitted["occupancy"],
                wicks=ratios,
                co_jumps=_co_jumps(evidence),
                depth=_depth_data(evidence, samples),
                bootstrap=f"stationary block bootstrap, mean block {MEAN_BLOCK} h, {replicates} replicates; {SAID}",
                standard_errors=errors,
                warnings=(*warnings, *(NARROW if errors else ())),
            ),
        }
    )


def _depth_data(evidence: Evidence, samples: Sequence[DepthSamples]) -> DepthData | None:
    if evidence.log_depth is None:
        return None
    hours = pd.concat([one.log_depth for one in samples]).index
    counts = np.isfinite(evidence.log_depth).sum(axis=0)
    return DepthData(
        data=tuple(one.data for one in samples),
        span=(hours.min().isoformat(), hours.max().isoformat()),
        hours={name: int(count) for name, count in zip(evidence.panel.markets, counts, strict=True) if count},
    )


def _co_jumps(evidence: Evidence) -> dict[str, float]:
    """Return the number of common-jump hours, and the share of them in which each market jumped, where it has data."""
    hours = evidence.seen.common
    found = {"hours": float(hours.sum())}
    for i, market in enumerate(evidence.panel.markets):
        known = hours & ~np.isnan(evidence.panel.returns[:, i])
        if known.sum() >= fitting.FEWEST:
            found[market] = round(float(evidence.seen.flags[known, i].mean()), 4)
    return found


def with_hours(
    model: MarketModel,
    law: str,
    data: Panel,
    repair: Sequence[str] = (),
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> MarketModel:
    """Return a fitted model whose paths are drawn from the hours of its one price file, repaired by the same rules.

    Standard errors of its GARCH laws join those of the parameters.
    """
    facts = model.calibration
    assert facts is not None  # a fitted model carries its calibration
    if law not in ("block_bootstrap", "garch_fhs"):
        raise StudyError("is no layer", key="--layer", value=law, fix="use parametric, block_bootstrap or garch_fhs")
    if len(facts.data) != 1:
        raise StudyError(
            "hours are drawn from one file", key="prices", value=len(facts.data), fix="put the bars into one file first"
        )
    file = facts.data[0]
    returns = {market: data.returns[:, i] for i, market in enumerate(data.markets)}
    layer = resampled.calibrated(law, file.file, file.blake2b, returns, repair)
    errors = dict(facts.standard_errors)
    for market, garch in layer.garch.items():
        weights = blocks(len(data.hours), MEAN_BLOCK, replicates, seed)
        for key, error in resampled.garch_errors(returns[market], garch, weights).items():
            errors[f"resampled.garch.{market}.{key}"] = error
    surer = facts.model_copy(update={"standard_errors": errors})
    return model.model_copy(update={"resampled": layer, "calibration": surer})


def _is_kept(of: str) -> bool:
    """Return whether a source of the template names what the fitted file keeps."""
    return of in {"depth", "premium"} or of.endswith(("open_interest_usd", "depth_usd"))


def as_yaml(model: MarketModel) -> str:
    """Return the text of a market file."""
    values = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
