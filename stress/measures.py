"""Estimators with intervals: from counts, sums and loss rows to probabilities, tails and differences.

Wilson intervals are for display, Clopper-Pearson intervals for decisions. A probability of an event
is always `events / paths` of one cell; nothing here smooths over neighbouring cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from scipy import optimize, special, stats

from stress.errors import StoreError
from stress.grid import BIN_EDGES, CELL_TERMS, EVENTS, describe
from stress.vocabulary import PATH_OUTCOMES

Standing = Literal["safe", "risky", "undecided", "failed"]
STANDINGS: tuple[Standing, ...] = ("safe", "undecided", "risky", "failed")

CONFIDENCE = 0.95
TAIL = 0.99
# Below these the spread between blocks says too little about the spread of a difference.
_FEWEST_BLOCKS = 8
_FEWEST_DISCORDANT = 20
# Below this the spread of the losses that happened says too little about the error of their mean.
_FEWEST_EVENTS = 10


# ----------------------------------------------------------------------------------- intervals


def wilson(events: Any, paths: Any, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Return the Wilson score interval of a proportion (Wilson 1927); not a number where paths = 0."""
    x, n = np.asarray(events, dtype=np.float64), _positive(paths)
    z = stats.norm.ppf(0.5 + confidence / 2)
    p = x / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def clopper_pearson(events: Any, paths: Any, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact (conservative) interval of a proportion (Clopper and Pearson 1934)."""
    x, n = np.asarray(events, dtype=np.float64), _positive(paths)
    alpha = 1 - confidence
    low = np.where(x > 0, stats.beta.ppf(alpha / 2, np.maximum(x, 1), n - x + 1), 0.0)
    high = np.where(x < n, stats.beta.ppf(1 - alpha / 2, x + 1, np.maximum(n - x, 1)), 1.0)
    return np.where(np.isnan(n), np.nan, low), np.where(np.isnan(n), np.nan, high)


def confidence_sequence(
    events: int, paths: int, prior: tuple[float, float] = (1.0, 1.0), confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return a beta-binomial mixture confidence sequence: valid at every number of paths at once.

    The set {p : B(x + a, n - x + b) / (B(a, b) p^x (1 - p)^(n - x)) <= 1 / alpha} (Robbins 1970;
    Howard, Ramdas, McAuliffe, Sekhon 2021). A prior near the tolerance, such as (0.5, 500) for
    p around 0.001, narrows it there.
    """
    x, n = events, paths
    a, b = prior
    level = special.betaln(x + a, n - x + b) - special.betaln(a, b) + math.log(1 - confidence)

    def excess(p: float) -> float:
        return float(level - special.xlogy(x, p) - special.xlog1py(n - x, -p))

    # `excess` is convex with its minimum at x / n and grows without bound towards 0 and 1.
    centre = x / n if n else 0.5
    low = 0.0 if x == 0 else optimize.brentq(excess, 1e-300, centre, xtol=1e-300, rtol=1e-13)
    high = 1.0 if x == n else optimize.brentq(excess, centre, 1 - 1e-16, xtol=1e-300, rtol=1e-13)
    return float(low), float(high)


def _positive(paths: Any) -> np.ndarray:
    n = np.asarray(paths, dtype=np.float64)
    return np.where(n > 0, n, np.nan)


# ------------------------------------------------------------------------------------ decisions


def standing(events: Any, paths: Any, tolerance: float, confidence: float = CONFIDENCE) -> np.ndarray:
    """Return 'safe', 'risky', 'undecided' or 'failed' per cell.

    Safe: the exact upper bound lies below the tolerance. Risky: the exact lower bound lies above
    it. In between the number of paths decides nothing (not converged). Never read a neighbour.
    """
    low, high = clopper_pearson(events, paths, confidence)
    return np.select(
        [np.isnan(high), high < tolerance, low > tolerance], ["failed", "safe", "risky"], default="undecided"
    )


class Difference(NamedTuple):
    """A probability in B minus that in A, with its interval.

    `only_a`, `only_b`: paths with the event in one of them only, where the loss rows tell (else
    None). `p_value`: exact McNemar test of no difference, where they tell. `method`: how the
    interval was made.
    """

    value: float
    low: float
    high: float
    paths: int
    method: Literal["blocks", "discordant pairs", "marginal bounds", "independent runs"]
    only_a: int | None = None
    only_b: int | None = None
    p_value: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:+.2%} [{self.low:+.2%}, {self.high:+.2%}]"


def paired_difference(
    events_a: Any,
    events_b: Any,
    block_paths: Any,
    discordant: tuple[int, int] | None = None,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Return P(B) - P(A) on common paths.

    Parameters
    ----------
    events_a, events_b : (blocks,) events per block of the same paths.
    block_paths : (blocks,) paths per block.
    discordant : (paths with the event in A only, in B only), where known.

    Blocks are independent, so their differences give a Student interval that keeps the correlation
    of the pair. With few blocks or few discordant paths that interval is too short; then exact
    bounds of the two discordant shares (Bonferroni) take its place, or, where the pairs are not
    known, those of the two probabilities: conservative under any dependence.
    """
    a, b, n = (np.asarray(values, dtype=np.float64) for values in (events_a, events_b, block_paths))
    total = float(n.sum())
    if not total:
        raise StoreError("two cells without a common path cannot be compared")
    value = float((b - a).sum() / total)
    only_a, only_b, p_value, differing = None, None, None, float(np.abs(b - a).sum())
    if discordant is not None:
        only_a, only_b = discordant
        differing = only_a + only_b
        p_value = float(stats.binomtest(only_b, only_a + only_b).pvalue) if differing else 1.0
    used = n > 0
    blocks = int(used.sum())
    method: Literal["blocks", "discordant pairs", "marginal bounds"]
    if differing >= _FEWEST_DISCORDANT and blocks >= _FEWEST_BLOCKS:
        residual = (b - a)[used] - value * n[used]
        error = math.sqrt(float(residual @ residual) * blocks / (blocks - 1)) / total
        half = float(stats.t.ppf(0.5 + confidence / 2, blocks - 1)) * error
        low, high, method = value - half, value + half, "blocks"
    else:
        counts, method = (
            ((a.sum(), b.sum()), "marginal bounds") if discordant is None else (discordant, "discordant pairs")
        )
        # Two bounds at once: each gets half of the error.
        (low_a, high_a), (low_b, high_b) = (clopper_pearson(x, total, (1 + confidence) / 2) for x in counts)
        low, high = float(low_b - high_a), float(high_b - low_a)
    return Difference(value, low, high, int(total), method, only_a, only_b, p_value)


def independent_difference(
    events_a: int, paths_a: int, events_b: int, paths_b: int, confidence: float = CONFIDENCE
) -> Difference:
    """Return P(B) - P(A) of two runs without common paths (Newcombe 1998, method 10)."""
    (low_a, high_a), (low_b, high_b) = wilson(events_a, paths_a, confidence), wilson(events_b, paths_b, confidence)
    p_a, p_b = events_a / paths_a, events_b / paths_b
    low = p_b - p_a - math.hypot(p_b - float(low_b), float(high_a) - p_a)
    high = p_b - p_a + math.hypot(float(high_b) - p_b, p_a - float(low_a))
    return Difference(p_b - p_a, low, high, 0, "independent runs")


def unconditional(
    estimates: Sequence[tuple[float, int, int]], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return sum of share x P(event | start) and its interval.

    `estimates` has (stationary share, events, paths) per starting regime; shares sum to one. All
    starts share their shocks, so the bounds are exact ones at a Bonferroni level, summed: they hold
    under any dependence.
    """
    shares = [share for share, _, _ in estimates]
    if abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"stationary shares sum to {sum(shares)}, not to one")
    level = 1 - (1 - confidence) / len(estimates)
    bounds = [clopper_pearson(events, paths, level) for _, events, paths in estimates]
    value = math.fsum(share * events / paths for share, events, paths in estimates)
    low = math.fsum(share * float(bound[0]) for share, bound in zip(shares, bounds, strict=True))
    high = math.fsum(share * float(bound[1]) for share, bound in zip(shares, bounds, strict=True))
    return value, low, high


# ---------------------------------------------------------------------------------------- tails


class Tail(NamedTuple):
    """Value at risk and expected shortfall at one level, each with its interval; USD."""

    var: float
    var_low: float
    var_high: float
    es: float
    es_low: float
    es_high: float


def tail(largest: np.ndarray, paths: int, level: float = TAIL, confidence: float = CONFIDENCE) -> Tail:
    """Return VaR and ES from the largest losses of `paths` paths; a path not listed had none.

    VaR is the order statistic of rank ceil(level x paths), its interval that of the binomial ranks
    (Woodruff 1952); ES is the mean of the worst (1 - level), its interval by the delta method
    (error of VaR is of second order). A bound beyond the largest path is not a number: so few paths
    do not determine it.
    """
    if paths <= 0:
        return Tail(*[math.nan] * 6)
    ordered = np.sort(largest)[::-1]

    def ranked(rank: int) -> float:
        """Return the loss of ascending rank 1..paths."""
        if rank > paths:
            return math.nan
        position = paths - rank
        return float(ordered[position]) if 0 <= position < len(ordered) else 0.0

    rank = math.ceil(level * paths - 1e-9)
    var = ranked(rank)
    low_rank = int(stats.binom.ppf((1 - confidence) / 2, paths, level))
    high_rank = int(stats.binom.ppf((1 + confidence) / 2, paths, level)) + 1
    var_low = ranked(low_rank) if low_rank >= 1 else 0.0
    share = paths * (1 - level)
    beyond = math.fsum(ordered[: paths - rank])
    es = (beyond + var * (rank - level * paths)) / share
    excess = np.maximum(ordered - var, 0.0)
    mean = math.fsum(excess) / paths
    variance = max(math.fsum(excess * excess) / paths - mean * mean, 0.0)
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance / paths) / (1 - level)
    return Tail(var, var_low, ranked(high_rank), es, max(es - half, 0.0), es + half)


def _largest(rows: np.ndarray, seen: int, histogram: np.ndarray) -> np.ndarray:
    """Return the losses of a cell; where rows were dropped at the cap, upper bin edges stand for them."""
    if len(rows) >= seen:
        return rows
    upper = np.where(np.isinf(BIN_EDGES[1:]), BIN_EDGES[:-1], BIN_EDGES[1:])
    binned = np.repeat(upper[1:], histogram[1:])[::-1]
    return np.concatenate([rows, binned[len(rows) :]])


# ----------------------------------------------------------------------------------------- grid


def estimate(data: xr.Dataset, losses: xr.Dataset) -> xr.Dataset:
    """Return the raw grid (see `stress.grid.merge`) with probabilities, intervals, tails and efficiency."""
    out = data.copy()
    dims, paths = data["paths"].dims, data["paths"].values
    for term in EVENTS:
        events = data[f"events_{term.name}"].values
        columns = {"": events / _positive(paths)}
        columns["_low"], columns["_high"] = wilson(events, paths)
        columns["_exact_low"], columns["_exact_high"] = clopper_pearson(events, paths)
        meaning = {
            "": "share of paths: ",
            "_low": "Wilson 95 %, lower: ",
            "_high": "Wilson 95 %, upper: ",
            "_exact_low": "Clopper-Pearson 95 %, lower: ",
            "_exact_high": "Clopper-Pearson 95 %, upper: ",
        }
        for end, values in columns.items():
            attrs = describe(term._replace(unit="probability over the horizon", sign="0 to 1"), meaning[end])
            out[f"probability_{term.name}{end}"] = (dims, values, attrs)
    loss = next(term for term in PATH_OUTCOMES if term.name == "mutualised_loss")
    for name, values in _tails(data, losses).items():
        out[name] = (dims, values, describe(loss, f"{_TAIL_MEANING[name]}: "))
    interest = next(term for term in CELL_TERMS if term.name == "open_interest")
    with np.errstate(invalid="ignore", divide="ignore"):
        out["loss_per_open_interest"] = (
            dims,
            data["mean_mutualised_loss"].values / data["open_interest"].values,
            describe(interest._replace(unit="USD per USD", meaning="mean mutualised loss per USD of open interest carried")),
        )  # fmt: skip
        out["margin_efficiency"] = (
            dims,
            data["open_interest"].values / data["trader_equity"].values,
            describe(interest._replace(unit="USD per USD", meaning="open interest carried per USD of traders' equity")),
        )
    return out


_TAIL_MEANING = {
    "var_99": "99 % value at risk",
    "var_99_low": "99 % value at risk, lower bound of 95 %",
    "var_99_high": "99 % value at risk, upper bound of 95 % (not a number: not determined by so few paths)",
    "es_99": "99 % expected shortfall",
    "es_99_low": "99 % expected shortfall, lower bound of 95 %",
    "es_99_high": "99 % expected shortfall, upper bound of 95 %",
}


def _tails(data: xr.Dataset, losses: xr.Dataset) -> dict[str, np.ndarray]:
    paths, seen = data["paths"].values, data["paths_with_loss"].values
    cells = math.prod(data.sizes[name] for name in data.attrs["cell_axes"])
    histogram = data["histogram_mutualised_loss"].values.reshape(-1, len(BIN_EDGES) - 1)
    address = losses["path_point"].values * cells + losses["cell"].values
    order = np.argsort(address, kind="stable")
    values, bounds = losses["mutualised_loss"].values[order], np.searchsorted(address[order], np.arange(paths.size + 1))
    found = [
        tail(_largest(values[bounds[i] : bounds[i + 1]], int(seen.flat[i]), histogram[i]), int(paths.flat[i]))
        for i in range(paths.size)
    ]
    return {
        name: np.array(column).reshape(paths.shape)
        for name, column in zip(_TAIL_MEANING, zip(*found, strict=True), strict=True)
    }


def tail_of_cell(data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int], level: float) -> Tail:
    """Return VaR and ES of the mutualised loss at any level for the cell at `at` (its place on every axis)."""
    cell, rows = data.isel(at), losses["mutualised_loss"].values[_rows_of(data, losses, at)]
    histogram = cell["histogram_mutualised_loss"].values
    return tail(_largest(rows, int(cell["paths_with_loss"]), histogram), int(cell["paths"]), level)


def mean_given_loss(
    data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int], confidence: float = CONFIDENCE
) -> tuple[float, float, float, int]:
    """Return (mean, low, high, events): the mean mutualised loss of the paths on which it is an event.

    The interval is Student's over those paths; with too few of them, or where loss rows of the cell
    were dropped at the cap, what is not known is not a number.
    """
    mine = _rows_of(data, losses, at)
    hit = mine & (losses["events"].values & 1 > 0)  # bit 0 is the mutualised loss
    values, events = losses["mutualised_loss"].values[hit], int(data["events_mutualised_loss"].isel(at))
    if not events or len(values) < events:
        return math.nan, math.nan, math.nan, events
    mean = math.fsum(values) / events
    if events < _FEWEST_EVENTS:
        return mean, math.nan, math.nan, events
    half = float(stats.t.ppf(0.5 + confidence / 2, events - 1)) * float(np.std(values, ddof=1)) / math.sqrt(events)
    return mean, max(mean - half, 0.0), mean + half, events


def tail_of_part(data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int], part: str, level: float = TAIL) -> Tail:
    """Return VaR and ES of one part of who pays (a column of the loss rows) for the cell at `at`.

    Not numbers where loss rows of the cell were dropped at the cap: the largest of a part need not be among those kept.
    """
    mine, paths = _rows_of(data, losses, at), int(data["paths"].isel(at))
    if int(mine.sum()) < int(data["paths_with_loss"].isel(at)):
        return Tail(*[math.nan] * 6)
    values = losses[part].values[mine]
    return tail(values[values > 0], paths, level)


class FundSize(NamedTuple):
    """An insurance fund's size with its interval, and the need that it leaves on average; USD."""

    size: float
    low: float
    high: float
    mean_shortfall: float


def newsvendor_fund(needs: np.ndarray, paths: int, carry: float, shortfall_cost: float) -> FundSize:
    """Return the fund that costs least: the quantile of what it may need at 1 - carry / shortfall_cost.

    A USD of fund costs `carry` over the horizon, a USD of need that it cannot pay `shortfall_cost`: the newsvendor's
    trade (Chitra 2025, arXiv 2512.01112: IF* = VaR of 1 - r / kappa).

    Parameters
    ----------
    needs : the largest needs of `paths` paths, USD; a path not listed had none.
    """
    if not 0 < carry < shortfall_cost:
        raise ValueError(
            f"a fund is worth having where 0 < carry < shortfall_cost; got {carry:g} and {shortfall_cost:g}"
        )
    found = tail(needs, paths, 1 - carry / shortfall_cost)
    return FundSize(found.var, found.var_low, found.var_high, (found.es - found.var) * carry / shortfall_cost)


def newsvendor_fund_of_cell(
    data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int], carry: float, shortfall_cost: float
) -> FundSize:
    """Return `newsvendor_fund` of a cell, from the peak uncovered loss of its paths.

    That is what a fund must hold to survive a path; of a cell whose fund was exhausted it is a lower bound, so run
    the study with a fund that is not. Not numbers where loss rows of the cell were dropped at the cap.
    """
    mine, paths = _rows_of(data, losses, at), int(data["paths"].isel(at))
    if int(mine.sum()) < int(data["paths_with_loss"].isel(at)):
        return FundSize(*[math.nan] * 4)
    needs = losses["peak_uncovered_loss"].values[mine]
    return newsvendor_fund(needs[needs > 0], paths, carry, shortfall_cost)


def mean_over_blocks(
    sums: xr.DataArray, count: xr.DataArray, confidence: float = CONFIDENCE
) -> dict[str, xr.DataArray]:
    """Return the mean per path of `sums` per block ("", "_low", "_high"): Student's interval from the spread of blocks.

    sums : (block, …), 0 where a block has no paths; count : (block, …) paths. With fewer than two blocks the bounds
    are not numbers.
    """
    paths, blocks = count.sum("block"), (count > 0).sum("block")
    paths, blocks = paths.where(paths > 0), blocks.where(blocks > 1)
    mean = sums.sum("block") / paths
    residual = sums - mean * count
    error = np.sqrt((residual**2).sum("block") * blocks / (blocks - 1)) / paths
    half = error * xr.apply_ufunc(stats.t.ppf, 0.5 + confidence / 2, blocks - 1)
    return {"": mean, "_low": mean - half, "_high": mean + half}


# ---------------------------------------------------------------------------------------- pairs


def compare_cells(
    a: tuple[xr.Dataset, xr.Dataset],
    b: tuple[xr.Dataset, xr.Dataset],
    at_a: Mapping[str, int],
    at_b: Mapping[str, int],
    event: str = "mutualised_loss",
    confidence: float = CONFIDENCE,
) -> Difference:
    """Return P(event) of a cell of `b` minus that of a cell of `a`, on the paths that both have seen.

    `a`, `b` are (grid, losses) pairs, possibly the same; `at_a`, `at_b` give the position on every
    axis. Blocks are common where the hashes of their paths are equal; without any, the difference is
    that of two independent runs and its `paths` is 0.
    """
    events, paths, hashes = [], [], []
    for (data, _), at in ((a, at_a), (b, at_b)):
        cell = data.isel(at)
        events.append(cell[f"block_events_{event}"].sum("component").values)
        paths.append(cell["block_paths"].values)
        hashes.append(data["path_hash"].isel({name: at[name] for name in data.attrs["path_axes"]}).values)
    blocks = min(len(counts) for counts in events)
    common = (hashes[0][:blocks] == hashes[1][:blocks]) & (paths[0][:blocks] == paths[1][:blocks])
    common &= paths[0][:blocks] > 0
    if not common.any():
        totals = [(int(x.sum()), int(n.sum())) for x, n in zip(events, paths, strict=True)]
        return independent_difference(*totals[0], *totals[1], confidence)
    found_a, found_b = _event_paths(*a, at_a, event), _event_paths(*b, at_b, event)
    discordant = None
    if found_a is not None and found_b is not None:
        size = int(a[0].attrs["block_paths"])
        only = [
            sum(common[path // size] for path in one if path // size < blocks)
            for one in (found_a - found_b, found_b - found_a)
        ]
        discordant = (int(only[0]), int(only[1]))
    return paired_difference(
        events[0][:blocks][common], events[1][:blocks][common], paths[0][:blocks][common], discordant, confidence
    )


def compare_means(
    data: xr.Dataset, at_a: Mapping[str, int], at_b: Mapping[str, int], outcome: str, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return (value, low, high) of the mean of an outcome in one cell minus that in another, on the same paths.

    Paired by block: what a path does to both cells alike is no part of the spread. Not numbers where a cell lost blocks
    that the other has, or with fewer than two.
    """
    sums, counts = ([data[name].isel(at) for at in (at_a, at_b)] for name in (f"block_sum_{outcome}", "block_paths"))
    if not (counts[0].values == counts[1].values).all():
        return math.nan, math.nan, math.nan
    change = (sums[1] - sums[0]).sum("component").where(counts[0] > 0, 0.0)
    low, value, high = (float(mean_over_blocks(change, counts[0], confidence)[end]) for end in ("_low", "", "_high"))
    return value, low, high


def _event_paths(data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int], event: str) -> set[int] | None:
    """Return the ids of the paths with the event, or None where rows of the cell were dropped."""
    mine = _rows_of(data, losses, at)
    if int(mine.sum()) < int(data["paths_with_loss"].isel(at)):
        return None
    bit = 1 << [term.name for term in EVENTS].index(event)
    return set(losses["path"].values[mine & (losses["events"].values & bit > 0)].tolist())


def _rows_of(data: xr.Dataset, losses: xr.Dataset, at: Mapping[str, int]) -> np.ndarray:
    """Return which loss rows belong to one cell."""
    point, cell = (
        int(np.ravel_multi_index([at[name] for name in axes], [data.sizes[name] for name in axes])) if axes else 0
        for axes in (data.attrs["path_axes"], data.attrs["cell_axes"])
    )
    mine: np.ndarray = (losses["path_point"].values == point) & (losses["cell"].values == cell)
    return mine


def describe_estimate(events: int, paths: int, confidence: float = CONFIDENCE) -> str:
    """Return a probability as text: with its interval, or '< upper bound' where nothing happened."""
    if paths == 0:
        return "failed"
    low, high = wilson(events, paths, confidence)
    if events == 0:
        return f"< {float(clopper_pearson(0, paths, confidence)[1]):.2%} (0 of {paths:,})"
    return f"{events / paths:.2%} [{float(low):.2%}, {float(high):.2%}]"
