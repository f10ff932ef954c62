"""Correlated diffusion.

Equations    d ln S_i = (mu_i - sigma_i(t)^2 / 2) dt + sigma_i(t) dB_i,  corr(B) = R_s; drift mu is on simple
             returns (mu = 0: a martingale). The regime s and the volatility state give sigma_i(t).
             B = L z with the Cholesky factor L of R_s in the market model's order: market i reads the
             shocks of markets 1..i only, so that a market added at the end changes no other, and a
             selection of markets sees the numbers of the whole.
Parameters   per market `volatility` (per sqrt year of 365 d, in the first regime) and `drift` (per year);
             `correlation` of each pair, of step returns.
Axes         `correlation` c in [-1, 1]: R_s <- (1 - |c|) R_s + |c| (11' if c > 0 else I).
Calibration  `fit_volatility` by bipower variation, `fit_correlation` from signs of returns in the first regime's hours.
Cannot       give bad debt at realistic oracle delays (evidence: P(bankrupt | hit) ~ 1e-303 at 60 s), make
             tails, or decouple one market from the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.elementary import exponential
from stress.kernels.jit import kernel
from stress.kernels.rng import DIFFUSION, NO_LEVEL, fill_long_line

YEAR = 365 * 86400.0


class DiffusionOfMarket(BaseModel):
    """A market's own part of this layer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    volatility: Annotated[float, Field(ge=0)]
    drift: float = 0.0


class DiffusionTerms(NamedTuple):
    """What the kernel reads; k = markets of the model up to the last one selected."""

    ids: np.ndarray  # (k,) uint64, permanent market ids
    selected: np.ndarray  # (m,) row of each selected market
    loading: np.ndarray  # (states, m, k) rows of L
    sigma: np.ndarray  # (states, m) per sqrt(second)
    drift: np.ndarray  # (states, m) mu - compensator of jumps, per second


Pairs = Mapping[str, Mapping[str, float]]


def correlation_matrix(markets: Sequence[str], pairs: Pairs) -> np.ndarray:
    """Return R, (k, k), from a mapping that names every pair once, in either order."""
    matrix = np.eye(len(markets))
    for i, row in enumerate(markets):
        for j, column in enumerate(markets[:i]):
            given = [pairs[a][b] for a, b in ((row, column), (column, row)) if b in pairs.get(a, {})]
            if len(given) != 1:
                raise ValueError(f"correlation must name the pair {row}, {column} once; it does {len(given)} times")
            if not -1 <= given[0] <= 1:
                raise ValueError(f"correlation of {row}, {column} must lie in [-1, 1]; got {given[0]}")
            matrix[i, j] = matrix[j, i] = given[0]
    unknown = sorted({name for row, of in pairs.items() for name in (row, *of)} - set(markets))
    if unknown:
        raise ValueError(f"correlation names {', '.join(unknown)}, not a market of the model")
    if (lowest := np.linalg.eigvalsh(matrix)[0]) < -1e-9:
        raise ValueError(f"correlation is not positive semi-definite: its lowest eigenvalue is {lowest:.3g}")
    return matrix


def blend(matrix: np.ndarray, weight: float) -> np.ndarray:
    """Return (1 - |w|) R + |w| T with T = 11' for w > 0 and I for w < 0."""
    target = np.ones_like(matrix) if weight > 0 else np.eye(len(matrix))
    return (1 - abs(weight)) * matrix + abs(weight) * target


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Return L with L L' = matrix; row by row, so that a row's bits never depend on later rows.

    A singular matrix (correlation 1) is allowed: a pivot below 1e-12 is zero and its column with it.
    """
    size = len(matrix)
    lower = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            rest = float(matrix[i, j])
            for k in range(j):
                rest -= float(lower[i, k]) * float(lower[j, k])
            if i == j:
                lower[i, i] = math.sqrt(rest) if rest > 1e-12 else 0.0
            elif lower[j, j] > 0.0:
                lower[i, j] = rest / lower[j, j]
    return lower


def build(
    ids: np.ndarray,
    selected: np.ndarray,
    matrix: np.ndarray,
    regime_weights: np.ndarray,
    axis_weight: float,
    volatility: np.ndarray,
    drift: np.ndarray,
) -> DiffusionTerms:
    """Return the terms; `volatility` (states, m) per sqrt year, `drift` (states, m) per year after compensation."""
    k = int(selected.max()) + 1
    loading = np.stack([cholesky(blend(blend(matrix, w), axis_weight))[selected, :k] for w in regime_weights])
    return DiffusionTerms(ids[:k], selected, loading, volatility / math.sqrt(YEAR), drift / YEAR)


@kernel
def walk(keys, path, terms, starts, step, regime, slow, jumps, shocks, work, world):
    """Extend `world` (S + 1, m) from its row 0.

    starts (hours + 1,): first point of each hour, then S + 1; regime, slow (hours,); jumps (S, m): log jumps of each step;
    shocks (k, S), work (S + 1,): work space. Each loop over steps does one thing, most of them several steps at once.
    """
    steps, hours = len(world) - 1, len(starts) - 1
    root = math.sqrt(step)
    for k in range(len(terms.ids)):
        fill_long_line(keys, terms.ids[k], path, DIFFUSION, NO_LEVEL, shocks[k], work)
    for i in range(len(terms.selected)):
        hour = 0
        while hour < hours:
            state, first = regime[hour], starts[hour]
            while hour < hours and regime[hour] == state:
                hour += 1
            end = min(starts[hour], steps)
            mixed, normals, loading = work[first:end], shocks[0, first:end], terms.loading[state, i, 0]
            for t in range(len(mixed)):
                mixed[t] = loading * normals[t]
            for k in range(1, terms.selected[i] + 1):
                normals, loading = shocks[k, first:end], terms.loading[state, i, k]
                for t in range(len(mixed)):
                    mixed[t] += loading * normals[t]
        x = 0.0
        for hour in range(hours):
            sigma = terms.sigma[regime[hour], i] * math.exp(slow[hour])
            spread = sigma * root
            move = (terms.drift[regime[hour], i] - 0.5 * sigma * sigma) * step
            for t in range(starts[hour], min(starts[hour + 1], steps)):
                x += move + spread * work[t] + jumps[t, i]
                work[t] = x
        for t in range(steps):
            work[t] = world[0, i] * exponential(work[t])
        for t in range(steps):
            world[t + 1, i] = work[t]


def bipower(returns: np.ndarray) -> np.ndarray:
    """Return pi/2 |r(t)| |r(t-1)|, (n, m): its mean is the variance that jumps leave alone; row 0 is NaN.

    Barndorff-Nielsen and Shephard 2004. NaN beside a NaN.
    """
    product = np.full(returns.shape, np.nan)
    product[1:] = 0.5 * math.pi * np.abs(returns[1:] * returns[:-1])
    return product


def fit_volatility(returns: np.ndarray, weight: np.ndarray, power: np.ndarray | None = None) -> np.ndarray:
    """Return volatility per sqrt year, (m,), of hourly returns (n, m) by bipower variation.

    weight (n,): how often each hour counts; power (n,): expected variance of each hour over the calm median's (None: 1).
    """
    products = bipower(returns)
    seen = ~np.isnan(products)
    expected = weight if power is None else weight * power
    variance = (weight[:, None] * np.where(seen, products, 0.0)).sum(axis=0) / (expected[:, None] * seen).sum(axis=0)
    return np.sqrt(variance * YEAR / 3600.0)


def fit_correlation(returns: np.ndarray, chance: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the correlation in each state, (S, m, m), of hourly returns (n, m), from signs; chance (n, S) of states.

    rho = sin(pi/2 E[sign x sign y]), true of every elliptical law: volatility that moves does not touch it, and a jump of
    one market counts as one hour (it would hold down a correlation of products). The expectation given the chances is
    linear in them, hence least squares: hours that only may belong to a state do not blur it. Zero returns are left out.
    Pairs from different stretches of time may contradict each other: negative eigenvalues are set to zero
    and the diagonal back to one.
    """
    states, markets = chance.shape[1], returns.shape[1]
    sign = np.sign(np.nan_to_num(returns))
    seen = np.abs(sign)
    agree, system = np.empty((markets, markets, states)), np.empty((markets, markets, states, states))
    for s in range(states):
        share = weight * chance[:, s]
        agree[..., s] = (sign * share[:, None]).T @ sign
        for other in range(states):
            system[..., s, other] = (seen * (share * chance[:, other])[:, None]).T @ seen
    # 1e-9 hours: a state that no hour may belong to has correlation 0.
    mean = np.linalg.solve(system + 1e-9 * np.eye(states), agree[..., None])[..., 0]
    return np.stack([_positive(np.sin(0.5 * math.pi * np.clip(mean[..., s], -1, 1))) for s in range(states)])


def _positive(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix with ones on its diagonal and no negative eigenvalue."""
    np.fill_diagonal(matrix, 1.0)
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < 1e-9:
        matrix = (vectors * np.maximum(values, 1e-6)) @ vectors.T
        scale = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(scale, scale)
        np.fill_diagonal(matrix, 1.0)
    return matrix
