"""Historical replay: price bars become one path that visits the wick inside every bar.

World price  per market and bar, the median over its spot series of open, high, low and close, each on its
             own (medians keep low <= open, close <= high). Spot series: the symbols the scenario names,
             else those of the file that are the market's own name or its pair with USD, USDT or USDC;
             a symbol that says PERP or SWAP is a derivative and left out.
Inside a bar open -> first extreme -> second extreme -> close, log-linear, reached after 1/3, 2/3 and 3/3
             of the bar's steps (rounded down). A bar that closes at or above its open visits its low
             first, another its high (a convention: bars do not tell the order).
Gaps         a bar that no series has. `hold`: the last close stands, for at most `longest_hold`.
Bad prints   an open, high, low or close a factor 10 outside the previous close and the next open of its
             series. `winsorise`: cut to the range of the two neighbouring bars.
Depth        D0 max((sigma / sigma0)^-phi, floor) / impact share, phi and floor of the market's depth layer;
             sigma is realised (Parkinson from highs and lows, exponentially weighted with a half-life of
             30 minutes, the running bar included), taken not below sigma0, the first regime's volatility.
             Share 0 is unlimited depth: no own impact. Premium 0: it is part of history that spot lacks.
Transforms   all bars of a market, from its first open O_0: P -> start (P / O_0)^power, where power is severity x
             beta of `map`, or severity x `volatility_to` / realised volatility of closes on the path's clock;
             start is O_0, or the market file's price for a mapped market. `time_compression` c: a bar of the
             file takes bar / c of the path.
Cannot       say what would have happened with other liquidations, or between the extremes of a bar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from stress.errors import PriceFileError, StudyError
from stress.kernels.mean_reversion import kept
from stress.kernels.venue import PathBlock
from stress.scenarios import ReplayScenario
from stress.stages import format_duration

FIELDS = ("open", "high", "low", "close")
BAD_PRINT_FACTOR = 10.0
REALISED_HALF_LIFE = 1800.0
_QUOTES = ("USD", "USDT", "USDC")


@dataclass(frozen=True)
class PriceHistory:
    """Bars of a price file, checked by its reader (`stress.observations`).

    table : columns ts (UTC, start of the bar), venue ('' where the file has none), symbol, open, high,
        low, close (float64, > 0), row (1-based line or row of the file); sorted by venue, symbol, ts.
    bar : length of a bar in seconds. out_of_order : rows that stood before an earlier one.
    """

    file: str
    table: pd.DataFrame
    bar: float
    out_of_order: int


@dataclass(frozen=True)
class PriceReport:
    """What a replay met in its stretch of the file, and what was done about it."""

    file: str
    series: Mapping[str, tuple[str, ...]]  # market -> "venue symbol"
    bars: int  # in the stretch
    gaps: Mapping[str, tuple[tuple[str, int], ...]]  # market -> (start, bars) of each stretch that was held
    bad_prints: tuple[str, ...]  # "venue symbol ts field value (row)", treated by `on_bad_print`
    on_bad_print: str
    out_of_order: int

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.bars} bars per market"]
        for market, names in self.series.items():
            held = f"{sum(bars for _, bars in self.gaps[market])} bars held"
            start, longest = max(self.gaps[market], key=lambda gap: gap[1], default=("", 0))
            held += f", at most {longest} in a row (from {start})" if longest else ""
            lines.append(f"  {market}: median of {', '.join(names)}; {held}")
        lines += [f"  bad print, {self.on_bad_print}: {row}" for row in self.bad_prints]
        if self.out_of_order:
            lines.append(f"  {self.out_of_order} rows of the file were out of order in time and sorted")
        return "\n".join(lines)


def is_spot(symbol: str, market: str) -> bool:
    """Return whether `symbol` is the market itself or its spot pair with a dollar quote."""
    parts = re.sub(r"[-_/:]", "", symbol.upper())
    return parts == market.upper() or parts in {market.upper() + quote for quote in _QUOTES}


def _series(history: PriceHistory, scenario: ReplayScenario, market: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    named = scenario.symbols.get(market)
    found = [
        (key, rows)
        for key, rows in history.table.groupby(["venue", "symbol"], sort=True, observed=True)
        if (key[1] in named if named else is_spot(key[1], market))
        and (scenario.venues is None or key[0] in scenario.venues)
    ]
    if not found:
        raise PriceFileError(
            "has no spot series of this market",
            file=history.file,
            key=market,
            value=named,
            fix=f"name its series in `symbols: {{{market}: [...]}}`, or drop the market; the file has "
            + ", ".join(sorted({str(symbol) for symbol in history.table["symbol"].unique()})[:60]),
        )
    return found


def _bad_prints(bars: np.ndarray) -> np.ndarray:
    """Return flags (bars, 4) of prints a factor outside the previous close and the next open."""
    before = np.concatenate([bars[1:2, 0], bars[:-1, 3]])  # the first bar has only its next open
    after = np.concatenate([bars[1:, 0], bars[-2:-1, 3]])
    if len(bars) < 2:
        return np.zeros(bars.shape, bool)
    low, high = np.minimum(before, after)[:, None], np.maximum(before, after)[:, None]
    return (bars < low / BAD_PRINT_FACTOR) | (bars > high * BAD_PRINT_FACTOR)


def _clean(rows: pd.DataFrame, name: str, history: PriceHistory, rule: str) -> tuple[np.ndarray, list[str]]:
    """Return the bars (n, 4) of one series after the rule for bad prints, and what was found."""
    bars = rows[list(FIELDS)].to_numpy(dtype=np.float64, copy=True)
    flags = _bad_prints(bars)
    found = []
    for b, f in zip(*np.nonzero(flags), strict=True):
        stamp, row = rows["ts"].iloc[b].isoformat(), int(rows["row"].iloc[b])
        found.append(f"{name} {stamp} {FIELDS[f]} {bars[b, f]:g} (row {row})")
        if rule == "refuse":
            raise PriceFileError(
                f"is a factor {BAD_PRINT_FACTOR:g} outside the bars next to it: a bad print",
                file=history.file,
                line=row,
                key=f"{FIELDS[f]} of {name}",
                value=float(bars[b, f]),
                fix="state `on_bad_print: winsorise` (cut it to its neighbours' range) or `keep`",
            )
    if rule == "winsorise" and found:
        neighbours = np.stack([np.roll(bars, 1, axis=0), np.roll(bars, -1, axis=0)])
        neighbours[0, 0], neighbours[1, -1] = bars[1], bars[-2]
        low, high = neighbours[:, :, 2].min(axis=0)[:, None], neighbours[:, :, 1].max(axis=0)[:, None]
        bad = flags.any(axis=1)
        bars[bad] = np.clip(bars, low, high)[bad]
    return bars, found


def _stretches(missing: np.ndarray, times: pd.DatetimeIndex) -> tuple[tuple[str, int], ...]:
    """Return (start, bars) of every run of missing bars."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(np.int8), [0]])))
    return tuple(
        (times[start].isoformat(), int(end - start)) for start, end in zip(edges[::2], edges[1::2], strict=True)
    )


def _market_bars(
    history: PriceHistory, scenario: ReplayScenario, market: str, bars: int
) -> tuple[np.ndarray, tuple[str, ...], tuple[tuple[str, int], ...], list[str]]:
    """Return median bars (bars, 4) without gaps, the series used, stretches held, bad prints."""
    before = round(scenario.longest_hold / history.bar)  # bars in which a close before the stretch still stands
    grid = pd.date_range(
        scenario.from_ - timedelta(seconds=before * history.bar),
        periods=before + bars,
        freq=pd.Timedelta(seconds=history.bar),
    )
    stacked, names, bad = [], [], []
    for (venue, symbol), rows in _series(history, scenario, market):
        rows = rows[(rows["ts"] >= grid[0]) & (rows["ts"] <= grid[-1])]
        name = f"{venue} {symbol}".strip()
        values, found = _clean(rows, name, history, scenario.on_bad_print)
        stacked.append(pd.DataFrame(values, index=pd.DatetimeIndex(rows["ts"])).reindex(grid).to_numpy())
        names.append(name)
        bad += found
    block = np.stack(stacked)  # (series, before + bars, 4)
    missing = np.isnan(block[:, :, 3]).all(axis=0)
    median = np.full(block.shape[1:], np.nan)
    median[~missing] = np.nanmedian(block[:, ~missing], axis=0)
    close = pd.Series(median[:, 3]).ffill().to_numpy()
    median[missing] = close[missing][:, None]
    gaps = _stretches(missing[before:], grid[before:])
    _check_gaps(history, scenario, market, median[before:], gaps)
    return median[before:], tuple(names), gaps, bad


def _check_gaps(
    history: PriceHistory,
    scenario: ReplayScenario,
    market: str,
    bars: np.ndarray,
    gaps: tuple[tuple[str, int], ...],
) -> None:
    def refuse(rule: str, value: object, fix: str) -> PriceFileError:
        return PriceFileError(rule, file=history.file, key=market, value=value, fix=fix)

    if gaps and scenario.on_gap == "refuse":
        raise refuse(
            "has missing bars, and the scenario refuses gaps", gaps[0][0], "state `on_gap: hold`, or complete the file"
        )
    if np.isnan(bars[0, 3]):
        raise refuse(
            "has no price at the start of the replay nor within `longest_hold` before it",
            scenario.from_.isoformat(),
            "start later, or complete the file",
        )
    start, longest = max(gaps, key=lambda gap: gap[1], default=("", 0))
    if longest * history.bar > scenario.longest_hold:
        raise refuse(
            f"has a gap of {format_duration(longest * history.bar)} from {start}, longer than `longest_hold`",
            format_duration(scenario.longest_hold),
            "raise `longest_hold` if a price that stands this long is acceptable, or complete the file",
        )


def visit(bars: np.ndarray, steps_per_bar: int) -> np.ndarray:
    """Return prices (bars x steps_per_bar + 1,) of bars (n, 4: open, high, low, close); see the module."""
    up = bars[:, 3] >= bars[:, 0]
    first, second = np.where(up, bars[:, 2], bars[:, 1]), np.where(up, bars[:, 1], bars[:, 2])
    knots = np.log(np.stack([bars[:, 0], first, second, bars[:, 3]], axis=1))
    at = np.array([0, steps_per_bar // 3, 2 * steps_per_bar // 3, steps_per_bar])
    inside = np.arange(1, steps_per_bar + 1)
    legs = np.stack([np.interp(inside, at, row) for row in knots])
    # The knots themselves are written as given: exp(log(x)) may miss an extreme by one bit.
    prices = np.exp(legs)
    prices[:, at[1:] - 1] = np.stack([first, second, bars[:, 3]], axis=1)
    return np.concatenate([bars[:1, 0], prices.ravel()])


def realised_volatility(bars: np.ndarray, seconds: float, start: float) -> np.ndarray:
    """Return volatility per sqrt second of each bar (n,): Parkinson, exponentially weighted from `start`."""
    keep = kept(REALISED_HALF_LIFE, seconds)
    variance, now = np.empty(len(bars)), start * start
    for b, squared in enumerate(np.log(bars[:, 1] / bars[:, 2]) ** 2 / (4 * np.log(2) * seconds)):
        now = keep * now + (1 - keep) * squared
        variance[b] = now
    return np.sqrt(variance)


def transform(
    bars: np.ndarray, scenario: ReplayScenario, market: str, *, price: float, seconds: float, year: float
) -> np.ndarray:
    """Return bars (n, 4) after the scenario's transforms; see the module.

    price : where a mapped market starts. seconds : length of a bar on the path's clock. year : in seconds.
    """
    opened, power = bars[0, 0], scenario.severity * scenario.source_of(market).beta
    if market in scenario.volatility_to:
        moves = np.diff(np.log(np.concatenate([bars[:1, 0], bars[:, 3]])))
        realised = np.sqrt((moves**2).mean() / seconds * year)
        if realised == 0:
            raise StudyError(
                "a market that stands still has no volatility to rescale",
                key=f"scenarios.{scenario.name}.volatility_to",
                value=market,
            )
        power = scenario.severity * scenario.volatility_to[market] / realised
    start = price if market in scenario.map else opened
    return bars if (power, start) == (1.0, opened) else start * (bars / opened) ** power


def build(
    scenario: ReplayScenario,
    history: PriceHistory,
    *,
    markets: Sequence[str],
    prices: np.ndarray,
    year: float,
    depth_usd: np.ndarray,
    sigma: np.ndarray,
    phi: float,
    floor: float,
    steps: int,
    step: float,
) -> tuple[PathBlock, PriceReport]:
    """Return the one path and what was met on the way.

    prices, depth_usd, sigma (m,): the market file's prices in USD; D0 in USD with the depth axis applied; first
    regime's volatility per sqrt second. year : in seconds.
    """
    key = f"scenarios.{scenario.name}"
    if len(scenario.impact_share) != 1:
        raise StudyError("one path has one impact share", key=key, value=scenario.impact_share, fix="expand it first")
    if scenario.offset != (0,):
        raise StudyError("one path has one offset", key=key, value=scenario.offset, fix="expand it first")
    seconds = history.bar / scenario.time_compression
    each = seconds / step
    if abs(each - round(each)) > 1e-9 or round(each) < 3:
        raise StudyError(
            f"bars of {format_duration(seconds)} of the path need a step that divides them into at least three",
            key="step",
            value=format_duration(step),
            fix=f"set step: {format_duration(seconds / max(3, int(np.ceil(each))))}",
        )
    horizon = steps * step
    count = round(horizon / seconds)
    if abs(horizon / seconds - count) > 1e-9:
        raise StudyError("must be whole bars", key="horizon", value=format_duration(horizon))
    lasts = None if scenario.to is None else (scenario.to - scenario.from_).total_seconds() / scenario.time_compression
    if lasts is not None and abs(lasts - horizon) > 1e-6:
        raise StudyError(
            "a replay lasts as long as the study's horizon",
            key=f"{key}.to",
            value=str(scenario.to),
            fix=f"set horizon: {format_duration(lasts)}, or leave `to` out",
        )
    if scenario.from_.timestamp() % history.bar:
        raise StudyError(
            f"must be the start of a bar of {format_duration(history.bar)}",
            key=f"{key}.from",
            value=scenario.from_.isoformat(),
        )
    bars, series, gaps, bad = {}, {}, {}, []
    for i, market in enumerate(markets):
        source = scenario.source_of(market).source
        found, series[market], gaps[market], prints = _market_bars(history, scenario, source, count)
        bars[market] = transform(found, scenario, market, price=float(prices[i]), seconds=seconds, year=year)
        bad += prints
    world = np.stack([visit(bars[market], round(each)) for market in markets], axis=1)
    ratio = np.stack(
        [realised_volatility(bars[name], seconds, sigma[i]) / sigma[i] for i, name in enumerate(markets)], axis=1
    )
    thin = np.maximum(np.maximum(ratio, 1.0) ** -phi, floor)
    share = scenario.impact_share[0]
    base = depth_usd / world[0] / share if share > 0 else np.full(len(markets), np.inf)
    depth = base * np.concatenate([thin[:1], np.repeat(thin, round(each), axis=0)])
    shape = world.shape
    block = PathBlock(
        first_path=0,
        world=world[None],
        depth=depth[None],
        premium=np.zeros((1, *shape)),
        external_premium=np.zeros((1, *shape)),
        oracle_outage=np.zeros((1, *shape), np.uint8),
        venue_outage=np.zeros((1, shape[0]), np.uint8),
        regime=np.full((1, shape[0]), -1, np.int8),
    )
    report = PriceReport(history.file, series, count, gaps, tuple(bad), scenario.on_bad_print, history.out_of_order)
    return block, report
