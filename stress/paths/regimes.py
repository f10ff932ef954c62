"""Three-state (or any-state) regime chain: calm, stress, panic.

Equations    s(h + 1) ~ P[s(h), ·] at every full hour h; s is constant within the hour and common to all
             markets. One uniform per hour moves the chain by inverse CDF.
Parameters   `hourly_transition` P (rows sum to 1). Per state, as multiples of the first state's world:
             `volatility`, `jump_intensity`, `jump_size`, `depth`; `correlation` w in [0, 1] blends the
             correlation matrix, R_s = (1 - w) R + w 11' (always positive semi-definite).
Start        a named state at t = 0, or the stationary law; `held` pins it.
Calibration  `stress.calibration.states`, together with slow volatility; `fit_correlation_weights` from the
             correlations of each state's hours. Multiples of jumps and depth are not fitted.
Cannot       make regimes of one market alone, durations other than geometric, or a regime that starts in
             the middle of an hour.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import minimize

from stress.kernels.jit import kernel
from stress.kernels.rng import COMMON, NO_LEVEL, REGIME, uniforms

HOUR = 3600.0
_UNLIKELY = 0.02  # chance of not being calm below which an hour says nothing of the other states
_TAILS = (1e-3, 2.0)  # of 1 / (degrees of freedom - 2) of signs

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


def fit_correlation_weights(
    first: np.ndarray,
    second: np.ndarray,
    chance: np.ndarray,
    variance: np.ndarray,
    correlation: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Return w of each state, (S,), in [0, 1], by likelihood of signs given sizes; 0 in the first state.

    first, second (n, pairs): two markets' returns over their calm deviations, NaN where unknown; chance (n, S) of states and
    variance (n, S) in each, over calm; correlation (pairs,) in the first state; weight (n,): how often each hour counts.
    Chances of states know sizes only, so that no hour is chosen for its signs (a plain correlation of the hours that are
    likely to be panic is too high: large moves agree more often than others).
    Given |x| and |y|, the signs of two Student-t agree with probability 1 / (1 + exp(-L)),

        L = (d + 2) / 2 ln[(1 + a + b) / (1 + a - b)],  a = (x^2 + y^2) / ((d - 2)(1 - rho^2)),  b = 2 rho x y / ((d - 2)(1 - rho^2)),

    d degrees of freedom fitted along; d without limit are two normals, L = 2 rho x y / (1 - rho^2). Hours of real markets
    disagree more often than normals may: of pairs whose product is 4 to 8 variances, 2 in 100 instead of 1 in 10,000, and
    by normals each such hour outweighs hundreds that agree (w of stress and panic then came out 0).
    """
    busy = 1 - chance[:, 0] > _UNLIKELY
    states = chance.shape[1]
    if states == 1 or not busy.any():
        return np.zeros(states)
    scale, share, count = variance[busy][:, :, None], chance[busy][:, :, None], weight[busy]
    known = np.isfinite(first[busy] * second[busy])
    x, y = (np.where(known, z[busy], 0.0) for z in (first, second))
    product, square = (x * y)[:, None, :] / scale, (x * x + y * y)[:, None, :] / scale
    counted = known * count[:, None]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        rho, tail = correlation + (1 - correlation) * np.append(0.0, theta[:-1])[:, None], theta[-1]
        rest, half = 1 - rho**2, 0.5 / tail + 2
        a, b = tail / rest * square, 2 * tail * rho / rest * product
        more, less = 1 + a + b, 1 + a - b
        odds = half * np.log(more / less)
        agreed = 1 / (1 + np.exp(np.clip(-odds, -50, 50)))
        mixed = (share * agreed).sum(axis=1)
        pull = share * agreed * (1 - agreed) * (counted / mixed)[:, None, :]
        da, db = 2 * rho / rest * a, 2 * tail * (1 + rho**2) / rest**2 * product
        by_rho = half * ((da + db) / more - (da - db) / less)
        by_tail = half / tail * (1 / less - 1 / more) - 0.5 / tail**2 * np.log(more / less)
        slopes = (pull * by_rho * (1 - correlation)).sum(axis=(0, 2))[1:]
        return -float((counted * np.log(mixed)).sum()), -np.append(slopes, (pull * by_tail).sum())

    start, bounds = np.append(np.full(states - 1, 0.4), 0.1), [*[(0.0, 0.99)] * (states - 1), _TAILS]
    return np.append(0.0, minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:-1])
