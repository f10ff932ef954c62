"""Three-state (or any-state) regime chain: calm, stress, panic.

Equations    s(h + 1) ~ P[s(h), ·] at every full hour h; s is constant within the hour and common to all
             markets. One uniform per hour moves the chain by inverse CDF.
Parameters   `hourly_transition` P (rows sum to 1). Per state, as multiples of the first state's world:
             `volatility`, `jump_intensity`, `jump_size`, `depth`; `correlation` w in [0, 1] blends the
             correlation matrix, R_s = (1 - w) R + w 11' (always positive semi-definite).
Start        a named state at t = 0, or the stationary law; `held` pins it.
Calibration  `fit`: a hidden Markov chain on hourly returns of the majors, flagged jumps left out.
Cannot       make regimes of one market alone, durations other than geometric, or a regime that starts in
             the middle of an hour.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.kernels.jit import entry, kernel
from stress.kernels.rng import COMMON, NO_LEVEL, REGIME, uniforms

HOUR = 3600.0

Multiple = Annotated[float, Field(ge=0)]


class Regime(BaseModel):
    """What one state does to the other layers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    volatility: Annotated[float, Field(gt=0)] = 1.0
    jump_intensity: Multiple = 1.0
    jump_size: Multiple = 1.0
    depth: Annotated[float, Field(gt=0)] = 1.0
    correlation: Annotated[float, Field(ge=0, le=1)] = 0.0


class Regimes(BaseModel):
    """The states in order, and the chain between them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    states: dict[str, Regime] = {"calm": Regime()}
    hourly_transition: tuple[tuple[float, ...], ...] = ((1.0,),)

    @model_validator(mode="after")
    def _is_a_chain(self) -> Self:
        matrix = self.matrix
        if matrix.shape != (len(self.states), len(self.states)):
            raise ValueError(f"hourly_transition must be {len(self.states)} x {len(self.states)}, one row per state")
        if (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12):
            raise ValueError("every row of hourly_transition must be probabilities that sum to 1")
        return self

    @property
    def matrix(self) -> np.ndarray:
        """P, (states, states)."""
        rows = self.hourly_transition
        if len({len(row) for row in rows}) != 1:
            raise ValueError("hourly_transition must have rows of equal length")
        return np.array(rows, dtype=np.float64)

    @property
    def stationary(self) -> np.ndarray:
        """The law pi with pi P = pi, (states,); least squares, so a chain with one state has it too."""
        count = len(self.states)
        system = np.vstack([self.matrix.T - np.eye(count), np.ones(count)])
        return np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]

    def values(self, field: str) -> np.ndarray:
        """One field of all states, (states,)."""
        return np.array([getattr(state, field) for state in self.states.values()], dtype=np.float64)


class RegimeTerms(NamedTuple):
    """What the kernel reads: cumulative laws whose last column is 1."""

    start: np.ndarray  # (states,)
    move: np.ndarray  # (states, states)


def build(regimes: Regimes, start: str | None, held: bool) -> RegimeTerms:
    """Return the terms of a chain that starts in `start`, or in the stationary law if None."""
    law = regimes.stationary if start is None else np.array([float(name == start) for name in regimes.states])
    matrix = np.eye(len(law)) if held else regimes.matrix
    terms = RegimeTerms(np.cumsum(law), np.cumsum(matrix, axis=1))
    # A sum of 1 - 1e-17 must not let a uniform fall beyond the last state.
    terms.start[-1] = 1.0
    terms.move[:, -1] = 1.0
    return terms


@kernel
def _inverse(cumulative, u):
    state = 0
    while u >= cumulative[state]:
        state += 1
    return state


@kernel
def walk(keys, path, terms, out):
    """Write the state of every hour into `out` (hours,) int8; group and output word of a number = hour."""
    state = 0
    for hour in range(len(out)):
        if hour % 4 == 0:
            u = uniforms(keys, COMMON, hour // 4, path, REGIME, NO_LEVEL)
        state = _inverse(terms.start if hour == 0 else terms.move[state], u[hour % 4])
        out[hour] = state


class FittedChain(NamedTuple):
    """The chain as hours show it; states in order of rising volatility.

    probability (n, states): of each hour's state given all hours. moved (n, states, states): of the move
    into each hour (row 0 is zero). covariance (states, k, k): of hourly returns in each state.
    """

    transition: np.ndarray
    probability: np.ndarray
    moved: np.ndarray
    covariance: np.ndarray


@entry
def _smooth(density, transition, start, ahead, scale, behind, probability, moved):
    """Forward-backward pass (Rabiner 1989, scaled); density (n, states) up to a factor per hour."""
    hours, states = density.shape
    for t in range(hours):
        total = 0.0
        for j in range(states):
            into = start[j]
            if t > 0:
                into = 0.0
                for i in range(states):
                    into += ahead[t - 1, i] * transition[i, j]
            ahead[t, j] = into * density[t, j]
            total += ahead[t, j]
        scale[t] = total
        for j in range(states):
            ahead[t, j] /= total
    for i in range(states):
        behind[hours - 1, i] = 1.0
        probability[hours - 1, i] = ahead[hours - 1, i]
    for t in range(hours - 2, -1, -1):
        for i in range(states):
            behind[t, i] = 0.0
            for j in range(states):
                step = transition[i, j] * density[t + 1, j] * behind[t + 1, j] / scale[t + 1]
                behind[t, i] += step
                moved[t + 1, i, j] = ahead[t, i] * step
            probability[t, i] = ahead[t, i] * behind[t, i]


def _classified(returns: np.ndarray, multiples: np.ndarray) -> np.ndarray:
    """Return one-hot states (n, states): centred 24 h realised volatility against thresholds.

    Thresholds lie at the geometric middle between neighbouring states' multiples of the median.
    """
    power = np.nan_to_num(np.where(np.isnan(returns), np.nan, returns**2).mean(axis=1))
    counted = (~np.isnan(returns).any(axis=1)).astype(np.float64)
    window = np.ones(24)
    realised = np.sqrt(np.convolve(power, window, "same") / np.maximum(np.convolve(counted, window, "same"), 1.0))
    edges = np.median(realised) * np.sqrt(multiples[1:] * multiples[:-1]) / multiples[0]
    return np.eye(len(multiples))[np.searchsorted(edges, realised)]


def _moments(returns: np.ndarray, chance: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return covariances (states, k, k) weighted by `chance` (n, states), with k hours' weight of `prior`."""
    seen = ~np.isnan(returns).any(axis=1)
    rows, size = returns[seen], returns.shape[1]
    return np.stack(
        [
            ((rows * c[:, None]).T @ rows + size * p) / (c.sum() + size)
            for c, p in zip(chance[seen].T, prior, strict=True)
        ]
    )


def fit(returns: np.ndarray, multiples: np.ndarray, rounds: int = 200) -> FittedChain:
    """Fit chain and covariances to hourly log returns (n, k); hours with a NaN say nothing of their state.

    Realised-volatility thresholds at the geometric middles of `multiples` (states,) give the first
    classification; a threshold smears a state over its window, so maximum likelihood (Baum-Welch, normal
    returns with one covariance per state) takes it from there.
    """
    states, hours = len(multiples), len(returns)
    probability = _classified(returns, multiples)
    moved = np.zeros((hours, states, states))
    moved[1:] = probability[:-1, :, None] * probability[1:, None, :]
    seen = ~np.isnan(returns).any(axis=1)
    whole = np.cov(returns[seen], rowvar=False, bias=True).reshape(returns.shape[1], -1)
    covariance = _moments(returns, probability, np.median(multiples) ** -2 * multiples[:, None, None] ** 2 * whole)
    work = np.empty((hours, states)), np.empty(hours), np.empty((hours, states))
    last = -np.inf
    for _ in range(rounds):
        transition = _rows_of_one(moved.sum(axis=0) + np.eye(states))
        log_density = np.zeros((hours, states))
        for s in range(states):
            factor = np.linalg.cholesky(covariance[s])
            scores = np.linalg.solve(factor, returns[seen].T)
            log_density[seen, s] = -0.5 * (scores**2).sum(axis=0) - np.log(np.diag(factor)).sum()
        highest = log_density.max(axis=1)
        _smooth(np.exp(log_density - highest[:, None]), transition, probability[0].copy(), *work, probability, moved)
        likelihood = float(np.log(work[1]).sum() + highest.sum())
        covariance = _moments(returns, probability, covariance)
        if likelihood - last < 1e-3:
            break
        last = likelihood
    order = np.argsort(np.trace(covariance, axis1=1, axis2=2), kind="stable")
    moved = moved[:, order][:, :, order]
    return FittedChain(_rows_of_one(moved.sum(axis=0)), probability[:, order], moved, covariance[order])


def _rows_of_one(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)


def summarise(fitted: FittedChain, returns: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return occupancy, transition, volatility multiples, correlation weights of hours counted `weight` (n,) times.

    Multiples: root mean ratio of variances to the first state's. Weights: least squares of
    R_s - R_1 = w (11' - R_1), held to [0, 1].
    """
    chance = fitted.probability * weight[:, None]
    transition = _rows_of_one(np.tensordot(weight, fitted.moved, 1) + 1e-12)
    covariance = _moments(returns, chance, fitted.covariance)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    multiples = np.sqrt(((deviation / deviation[0]) ** 2).mean(axis=1))
    correlation = covariance / (deviation[:, :, None] * deviation[:, None, :])
    away = 1 - correlation[0]
    room = max(float((away**2).sum()), 1e-300)
    weights = np.clip([((c - correlation[0]) * away).sum() / room for c in correlation], 0, 1)
    return chance.sum(axis=0) / chance.sum(), transition, multiples, weights
