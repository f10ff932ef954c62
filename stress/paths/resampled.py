"""Resampled hours: whole rows of real bars, in blocks, as they were or on a GARCH volatility. A challenger.

Equations    block_bootstrap  hour h of the path is row k(h) of the data, all markets at once: k(h + 1) = k(h) + 1, or
                              with chance 1 / mean block a new row drawn evenly (stationary bootstrap, Politis and
                              Romano 1994; the data are a circle).
             garch_fhs        r = sqrt(v) z, v' = omega + alpha r^2 + beta v, v at most CAP x its long-run mean; z are the
                              data's own r / sqrt(v) in blocks as above (Barone-Adesi et al. 1999). |z| beyond the
                              quantile `tail_from` of its side is drawn again from a generalised Pareto law (McNeil and
                              Frey 2000), with the same uniform for all markets of the hour. v(0) is its mean.
             Highs and lows of the row come along (scaled by the ratio of volatilities), and the bar is walked as a
             replay walks it: the wick is visited.
Parameters   `law`, `mean_block`, `garch` and tails of each market; rows come from the user's price file, named by its
             name and hash, after the rules of `repair`: market data do not ship.
Addresses    purpose BOOTSTRAP, group = hour: restart, row, tail.
Calibration  `fit_garch`, with arch: Student-t, alpha + beta held at PERSISTENCE (hourly fits sit at 1), the long-run variance
             that of the data. `garch_errors`: block bootstrap.
Cannot       say anything that the file does not hold: with mean block b there are rows / b independent blocks, and a
             probability below b / rows is a statement about few blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import minimize
from scipy.special import gammaln

from stress.errors import PriceFileError, StudyError
from stress.kernels.jit import entry
from stress.kernels.rng import BOOTSTRAP, COMMON, NO_LEVEL, uniforms
from stress.stages import Exact, format_duration

HOUR = 3600.0
PERSISTENCE = 0.995
CAP = 50.0
FEWEST_ROWS = 1000


class Garch(BaseModel):
    """GARCH(1,1) of hourly log returns, and the tails of its residuals beyond `tail_from` (one side)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    omega: Annotated[float, Field(gt=0)]
    alpha: Annotated[float, Field(ge=0)]
    beta: Annotated[float, Field(ge=0)]
    lower: tuple[float, float, float]  # threshold of -z, scale, shape
    upper: tuple[float, float, float]

    @model_validator(mode="after")
    def _has_a_mean(self) -> Garch:
        if self.alpha + self.beta >= 1:
            raise ValueError("alpha + beta lies below 1")
        return self

    @property
    def mean(self) -> float:
        """Long-run variance of an hour."""
        return self.omega / (1 - self.alpha - self.beta)


class Resampled(BaseModel):
    """Which hours are drawn, and how; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    law: Literal["block_bootstrap", "garch_fhs"]
    file: str
    blake2b: str
    mean_block: Annotated[Exact, Field(ge=HOUR)] = Field(default="336h", validate_default=True)
    tail_from: Annotated[float, Field(gt=0.9, lt=1)] = 0.995
    repair: tuple[str, ...] = ()
    garch: dict[str, Garch] = {}


class Rows(NamedTuple):
    """Complete hours of the data: log return, and high and low over the previous close, (n, m) each."""

    close: np.ndarray
    high: np.ndarray
    low: np.ndarray


class ResampledTerms(NamedTuple):
    """Everything `generate` reads besides the keys."""

    rows: Rows
    scale: np.ndarray  # (n, m) sqrt of the data's own GARCH variance, 1 for the bootstrap
    garch: tuple[Garch, ...]  # per market, empty for the bootstrap
    restart: float
    prices: np.ndarray  # (m,)
    volatility: float
    depth: np.ndarray  # (m,) base units
    sigma: np.ndarray  # (m,) per sqrt second, from which depth falls
    phi: float
    floor: float
    steps: int
    legs: int  # steps of an hour


def rows_of(table: pd.DataFrame, markets: Sequence[str], file: str) -> Rows:
    """Return the hours that every market has, in order of time."""
    close, high, low = (
        np.log(table.pivot_table(index="ts", columns="symbol", values=field, observed=True))
        for field in ("close", "high", "low")
    )
    for market in markets:
        if market not in close:
            raise PriceFileError("has no bars of this market", file=file, key=market, fix="leave the market out")
    close, high, low = (part[list(markets)].asfreq("1h") for part in (close, high, low))
    before = close.shift()
    parts = [(part - before).to_numpy() for part in (close, high, low)]
    whole = np.isfinite(np.stack(parts)).all(axis=(0, 2))
    if whole.sum() < FEWEST_ROWS:
        raise PriceFileError(
            f"holds {whole.sum()} hours common to {', '.join(markets)}; {FEWEST_ROWS} are needed",
            file=file,
            fix="choose fewer markets",
        )
    return Rows(*(part[whole] for part in parts))


@entry
def _walk(returns, omega, alpha, beta, highest, out):
    """Write the conditional variance of each hour (n,); the first is the long-run mean."""
    now = omega / (1.0 - alpha - beta)
    for t in range(len(returns)):
        out[t] = now
        now = min(omega + alpha * returns[t] * returns[t] + beta * now, highest)


def variance(returns: np.ndarray, garch: Garch) -> np.ndarray:
    """Return the conditional variance of each hour (n,) given the hours before it; the first is the long-run mean."""
    out = np.empty(len(returns))
    _walk(np.ascontiguousarray(returns), garch.omega, garch.alpha, garch.beta, CAP * garch.mean, out)
    return out


def fit_garch(returns: np.ndarray, tail_from: float = 0.995) -> Garch:
    """Fit hourly log returns (n,); needs the package arch, imported here."""
    from arch import arch_model

    known = returns[np.isfinite(returns)]
    scaled = known / known.std()  # the optimiser wants numbers of order one
    fitted = arch_model(scaled, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(
        disp="off", show_warning=False
    )
    bare = _targeted(float(fitted.params["alpha[1]"]), float(fitted.params["beta[1]"]), float(np.var(known)))
    z, one = known / np.sqrt(variance(known, bare)), np.ones(len(known))
    tails = [_tail(side, one, tail_from) for side in (-z, z)]
    # A tail is not thinner than exponential, nor so fat that its variance does not exist.
    lower, upper = ((threshold, scale, min(max(shape, 0.0), 0.5)) for threshold, scale, shape in tails)
    return bare.model_copy(update={"lower": lower, "upper": upper})


def _targeted(alpha: float, beta: float, mean: float) -> Garch:
    """Return the law of the given long-run variance, alpha + beta held at PERSISTENCE; tails to be filled in."""
    shrink = min(1.0, PERSISTENCE / (alpha + beta))
    alpha, beta = alpha * shrink, beta * shrink
    return Garch(omega=mean * (1 - alpha - beta), alpha=alpha, beta=beta, lower=(1, 1, 0), upper=(1, 1, 0))


def _tail(side: np.ndarray, weight: np.ndarray, tail_from: float) -> tuple[float, float, float]:
    """Return threshold, scale and shape of the generalised Pareto law of residuals beyond a quantile, by likelihood."""
    order = np.argsort(side)
    reached = np.cumsum(weight[order])
    threshold = float(side[order][np.searchsorted(reached, tail_from * reached[-1])])
    beyond = side > threshold
    excess, w = side[beyond] - threshold, weight[beyond]

    def loss(x: np.ndarray) -> float:
        size, shape = excess / math.exp(x[0]), float(x[1])
        inside = 1 + shape * size
        if not (inside > 0).all() or abs(shape) > 1:
            return math.inf
        return float(w @ (x[0] + (size if abs(shape) < 1e-6 else (1 + 1 / shape) * np.log(inside))))

    start = np.array([math.log(float(np.average(excess, weights=w))), 0.1])
    found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-5})
    return threshold, math.exp(found.x[0]), float(found.x[1])


def garch_errors(
    returns: np.ndarray, garch: Garch, weights: Iterable[np.ndarray], tail_from: float = 0.995
) -> dict[str, float]:
    """Return standard errors of a fit by its keys, from bootstrap counts (n,) of the hours.

    alpha and beta move by one Newton step of the Student-t likelihood, whose scores are counted as the hours are; the
    long-run variance and the tails are fitted anew, the latter to the residuals of the fit itself. The likelihood's
    error counts where it is the larger one: of omega, alpha and beta by its curvature, of a tail of k hours beyond its threshold
    sqrt(2 (1 + shape) / k) of the log of its scale and (1 + shape) / sqrt(k) of its shape (Smith 1987).
    """
    seen = np.isfinite(returns)
    known = returns[seen]
    z = known / np.sqrt(variance(known, garch))
    mean = float(np.var(known))
    h = np.empty(len(known))

    def density(theta: np.ndarray) -> np.ndarray:
        omega, alpha, beta, over = np.exp(theta)
        _walk(known, omega, alpha, min(beta, 0.9999 - alpha), CAP * garch.mean, h)
        return _student(known, h, 2 + over)

    # Scores are taken where the likelihood is highest: omega there is not the one that meets the data's variance.
    start = np.log([garch.omega, garch.alpha, garch.beta, 4.0])
    found = minimize(
        lambda x: -density(np.array([x[0], start[1], start[2], x[1]])).sum(), start[[0, 3]], method="Nelder-Mead"
    )
    here = np.array([found.x[0], start[1], start[2], found.x[1]])
    steps = 1e-3 * np.eye(4)
    scores = np.stack([(density(here + e) - density(here - e)) / 2e-3 for e in steps], axis=1)
    curvature = np.array(
        [[(density(here + a + b) - density(here + a - b) - density(here - a + b) + density(here - a - b)).sum()
          for a in steps] for b in steps]
    ) / 4e-6  # fmt: skip
    drawn = []
    for count in weights:
        w = count[seen]
        moved = here + np.clip(np.linalg.solve(-curvature, (w - 1) @ scores), -1, 1)
        law = _targeted(
            math.exp(moved[1]), math.exp(moved[2]), mean + float(np.average(known**2, weights=w) - (known**2).mean())
        )
        drawn.append([law.omega, law.alpha, law.beta, *_tail(-z, w, tail_from), *_tail(z, w, tail_from)])
    keys = ("omega", "alpha", "beta", *(f"{side}.{k}" for side in ("lower", "upper") for k in range(3)))
    errors = np.std(drawn, axis=0, ddof=1)
    omega, alpha, beta, _ = np.sqrt(np.diag(np.linalg.inv(-curvature)))
    likely, beyond = [omega * garch.omega, alpha * garch.alpha, beta * garch.beta], (1 - tail_from) * len(known)
    for _, scale, shape in (garch.lower, garch.upper):
        likely += [0.0, scale * math.sqrt(2 * (1 + shape) / beyond), (1 + shape) / math.sqrt(beyond)]
    return dict(zip(keys, np.fmax(errors, likely).tolist(), strict=True))


def _student(returns: np.ndarray, variance: np.ndarray, degrees: float) -> np.ndarray:
    """Return the log density of Student-t returns (n,) of the given variance (n,)."""
    constant = gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * math.log(math.pi * (degrees - 2))
    return constant - 0.5 * np.log(variance) - (degrees + 1) / 2 * np.log1p(returns**2 / ((degrees - 2) * variance))


def build(
    layer: Resampled, table: pd.DataFrame, file: str, *, markets: Sequence[str], prices: np.ndarray, depth: np.ndarray,
    sigma: np.ndarray, phi: float, floor: float, volatility: float, steps: int, step: float, key: str,
) -> ResampledTerms:  # fmt: skip
    """Return the terms; prices, depth (m,) in USD and base units, step in seconds."""
    legs = HOUR / step
    if abs(legs - round(legs)) > 1e-9 or round(legs) < 3 or steps % round(legs):
        raise StudyError(
            "resampled hours need a step that divides an hour into at least three, and whole hours",
            key="step",
            value=format_duration(step),
            fix="use step: 60s and a horizon of whole hours",
        )
    rows = rows_of(table, markets, file)
    garch: tuple[Garch, ...] = ()
    scale = np.ones_like(rows.close)
    if layer.law == "garch_fhs":
        missing = [market for market in markets if market not in layer.garch]
        if missing:
            raise StudyError("has no GARCH parameters", key=f"{key}.garch", value=missing[0], fix="calibrate it")
        garch = tuple(layer.garch[market] for market in markets)
        scale = np.sqrt(np.stack([variance(rows.close[:, i], g) for i, g in enumerate(garch)], axis=1))
    return ResampledTerms(
        rows, scale, garch, HOUR / layer.mean_block, prices, volatility, depth, sigma, phi, floor, steps, round(legs)
    )


def hours_of(keys: np.ndarray, terms: ResampledTerms, path: int) -> np.ndarray:
    """Return hourly log bars of one path, (hours, 3, m): close, high and low over the hour's start."""
    count, hours = len(terms.rows.close), terms.steps // terms.legs
    out = np.empty((hours, 3, terms.rows.close.shape[1]))
    now = np.array([g.mean for g in terms.garch])
    row = 0
    for hour in range(hours):
        u = uniforms(keys, COMMON, hour, path, BOOTSTRAP, NO_LEVEL)
        row = int(u[1] * count) if hour == 0 or u[0] < terms.restart else (row + 1) % count
        bar = np.stack([part[row] for part in terms.rows]) / terms.scale[row]
        if terms.garch:
            for i, garch in enumerate(terms.garch):
                z = bar[0, i]
                threshold, scale, shape = garch.lower if z < 0 else garch.upper
                if abs(z) > threshold:
                    drawn = threshold + scale * ((u[2] ** -shape - 1) / shape if shape > 0 else -math.log(u[2]))
                    bar[:, i] *= drawn / abs(z)
            bar = bar * np.sqrt(now)
            now = np.array(
                [
                    min(g.omega + g.alpha * r * r + g.beta * v, CAP * g.mean)
                    for g, r, v in zip(terms.garch, bar[0], now, strict=True)
                ]
            )
        out[hour] = terms.volatility * bar
    return out


def worlds(bars: np.ndarray, legs: int, prices: np.ndarray) -> np.ndarray:
    """Return prices (hours x legs + 1, m) that walk each bar: start, first extreme, second extreme, close."""
    hours, _, markets = bars.shape
    close = np.cumsum(bars[:, 0], axis=0)
    start = np.concatenate([np.zeros((1, markets)), close[:-1]])
    low, high = start + np.minimum(bars[:, 2], 0.0), start + np.maximum(bars[:, 1], 0.0)
    rises = bars[:, 0] >= 0
    first, second = np.where(rises, low, high), np.where(rises, high, low)
    corners = (0, legs // 3, 2 * legs // 3, legs)
    out = np.empty((hours * legs + 1, markets))
    out[0] = 0.0
    points = (start, first, second, close)
    for n in range(3):
        width = corners[n + 1] - corners[n]
        for k in range(1, width + 1):
            out[1 + corners[n] + k - 1 :: legs] = points[n] + (points[n + 1] - points[n]) * (k / width)
    return prices * np.exp(out)


def generate(keys: np.ndarray, terms: ResampledTerms, first_path: int, count: int) -> np.ndarray:
    """Return world prices of paths first_path .. first_path + count - 1, (count, S + 1, m)."""
    return np.stack([worlds(hours_of(keys, terms, first_path + p), terms.legs, terms.prices) for p in range(count)])


def calibrated(
    law: str, file: str, blake2b: str, returns: Mapping[str, np.ndarray], repair: Sequence[str] = ()
) -> Resampled:
    """Return the layer for a file; returns by market (n,), NaN across a gap, for the GARCH law; `repair`: rules."""
    garch = {market: fit_garch(r) for market, r in returns.items()} if law == "garch_fhs" else {}
    return Resampled(law=law, file=file, blake2b=blake2b, garch=garch, repair=tuple(repair))
