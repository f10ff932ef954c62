"""Regimes, slow volatility and weekdays, read together from the level of volatility in blocks of six hours.

    y(b) = c + 2 ln m(s) + x + 2 ln g(weekday) + e,   x' = keep x + noise,  x = 2 v,   e ~ N(0, noise(s)^2)

y: mean over the majors of the log of a block's squared mean |r|, each market centred (one large hour moves it less
than a realised variance; a mean of logs has the same bias in every regime, however correlated the markets are).
A block in which the state moves lies between the two levels, at a place drawn evenly; hours are given the states at both
ends of their block, by their distance to each.
Noise is a state's own: a panic's markets move together, so that their mean averages less out (deviation .61 of the house
model's four markets, .49 in calm); with one for all, the rest was read as moves between stress and panic.
s: the chain of `stress.paths.regimes`, moving by the hour; v: `stress.paths.volatility`; g: `stress.paths.seasonality`.
Fitted apart, each is read as another: slow volatility as stress (calm in 66 % of hours of the house model instead of
95 %), and a few days of stress as a weekday's.

Likelihood   Kim's filter (1994; Kim and Nelson 1999, ch. 5): one Kalman filter for each pair of states, collapsed.
Prior        what few events leave open. Distance of neighbouring states in y: log-normal around the template's, deviation
             SPACING, so that a sample without panic does not split calm in two; so too a state's noise around calm's. Each
             move between two states: PSEUDO events (Jeffreys), so that a move never seen is rare and uncertain instead of impossible.
Bootstrap    scores of blocks are a martingale's differences, and their weighted sum moves the estimate by one Newton step
             (and the prior's draws with it); the states are then read again. Chances of moves are moved to first order:
             e^(error) of an event seen once has no spread to speak of.
Bounds       a state is left at most once in BLOCK hours.
Cannot       tell a regime that lasts less than a block from a jump, nor v that moves within hours from noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stress.kernels.jit import entry, kernel

BLOCK = 6  # hours
SPACING = 0.15
PSEUDO = 0.5
ROUNDS = 100
ENOUGH = 1e-4  # of log likelihood in a round
LEAST_SD = 0.03  # of v, below which there is no slow volatility to speak of

_TINY = 1e-300


@kernel
def _collapse(weight, middle, width, j, b, mean, variance):
    """Write mean and variance of the mixture in column j of (S, S) into [b, j]."""
    total, first, second = 0.0, 0.0, 0.0
    for i in range(len(weight)):
        total += weight[i, j]
        first += weight[i, j] * middle[i, j]
    if total <= 0.0:
        mean[b, j], variance[b, j] = middle[j, j], width[j, j]
        return
    first /= total
    for i in range(len(weight)):
        away = middle[i, j] - first
        second += weight[i, j] * (width[i, j] + away * away)
    mean[b, j], variance[b, j] = first, second / total


@entry
def _filter(level, start, move, offset, keep, sd, noise, density, chance, before, mean, variance, joint, seen, spread):
    """Write ln p(y | past) (b,), filtered and predicted chances of states and moments of x in each, (b, S).

    b = blocks, S = states; a block without a level (NaN) moves only. offset, noise (S, S): mean level and variance of noise of a
    block that begins in one state and ends in another. joint, seen, spread (S, S): work space.
    """
    blocks, states = len(level), len(start)
    push = sd * sd * (1.0 - keep * keep)
    for b in range(blocks):
        total, known = 0.0, not math.isnan(level[b])
        for j in range(states):
            before[b, j] = 0.0
        for i in range(states):
            middle, width, weight = 0.0, sd * sd, start[i]
            if b > 0:
                middle = keep * mean[b - 1, i]
                width = keep * keep * variance[b - 1, i] + push
                weight = chance[b - 1, i]
            for j in range(states):
                share = weight * move[i, j]
                if b == 0:
                    share = weight if i == j else 0.0
                before[b, j] += share
                seen[i, j], spread[i, j] = middle, width
                if known:
                    whole = width + noise[i, j]
                    error = level[b] - offset[i, j] - middle
                    share *= math.exp(-0.5 * error * error / whole) / math.sqrt(2.0 * math.pi * whole) + _TINY
                    seen[i, j] += width / whole * error
                    spread[i, j] -= width / whole * width
                joint[i, j] = share
                total += share
        density[b] = math.log(total)
        for j in range(states):
            _collapse(joint, seen, spread, j, b, mean, variance)
            chance[b, j] = 0.0
            for i in range(states):
                chance[b, j] += joint[i, j] / total


@entry
def _smooth(move, keep, sd, chance, before, mean, variance, out, x, xx, joint, seen, spread):
    """Write chances of states given all blocks, and mean and variance of x in each, (b, S), whose last row is given."""
    blocks, states = chance.shape
    push = sd * sd * (1.0 - keep * keep)
    for b in range(blocks - 2, -1, -1):
        for i in range(states):
            ahead = keep * keep * variance[b, i] + push
            gain = variance[b, i] * keep / ahead
            out[b, i] = 0.0
            for j in range(states):
                joint[j, i] = 0.0
                if before[b + 1, j] > 0.0:
                    joint[j, i] = out[b + 1, j] * chance[b, i] * move[i, j] / before[b + 1, j]
                out[b, i] += joint[j, i]
                seen[j, i] = mean[b, i] + gain * (x[b + 1, j] - keep * mean[b, i])
                spread[j, i] = variance[b, i] + gain * gain * (xx[b + 1, j] - ahead)
            _collapse(joint, seen, spread, i, b, x, xx)


class States(NamedTuple):
    """What the hours show: multiples (S,), hourly transition (S, S), slow volatility, factors of
    weekdays (7,) from Monday, chance (n, S) and power (n,).

    half_life : hours. sd : of v. power : mean square of volatility over its calm median, given all hours.
    log_volatility : (n,) expected ln m + v, given all hours. variance (n, S) : over its calm median, if the hour is in each state.
    """

    multiples: np.ndarray
    transition: np.ndarray
    half_life: float
    sd: float
    weekdays: np.ndarray
    chance: np.ndarray
    power: np.ndarray
    log_volatility: np.ndarray
    variance: np.ndarray


class _Parameters(NamedTuple):
    offset: np.ndarray  # (S,) c + 2 ln m
    half_life: float
    sd: float  # of x
    noise: np.ndarray  # (S,) deviation of e
    hourly: np.ndarray  # (S, S)
    weekdays: np.ndarray  # (7,) 2 ln g, sum 0


def levels(returns: np.ndarray) -> np.ndarray:
    """Return y of each block from hourly returns (n, k), NaN where fewer than half of a block's hours are known."""
    blocks = len(returns) // BLOCK
    size = np.abs(returns[: blocks * BLOCK]).reshape(blocks, BLOCK, -1)
    known = np.isfinite(size).sum(axis=1)
    mean = np.nansum(size, axis=1) / np.maximum(known, 1)
    logs = 2 * np.log(np.where((known >= BLOCK / 2) & (mean > 0), mean, np.nan))
    logs = logs - np.nanmedian(logs, axis=0)
    count = np.isfinite(logs).sum(axis=1)
    return np.where(count > 0, np.nansum(logs, axis=1) / np.maximum(count, 1), np.nan)


class Fit:
    """Fit of both layers to the levels of `hours` hours, from the template's multiples (S,) and transition (S, S).

    theta: c, log distances of neighbouring states, log half-life, sd and each state's noise, log odds of moving against
    staying, weekdays but the last. weekday (n,) of each hour, Monday 0; `theta` of an earlier fit is where the search begins.
    """

    def __init__(
        self,
        returns: np.ndarray,
        weekday: np.ndarray,
        multiples: np.ndarray,
        transition: np.ndarray,
        theta: np.ndarray | None = None,
    ) -> None:
        self.hours, self.states, self.level = len(returns), len(multiples), levels(returns)
        self._weekday = weekday[BLOCK // 2 :: BLOCK][: len(self.level)]
        blocks, square = (len(self.level), self.states), (self.states, self.states)
        self._pass = tuple(np.empty(blocks) for _ in range(4))
        self._work = tuple(np.empty(square) for _ in range(3))
        self._away = ~np.eye(self.states, dtype=bool)
        odds = np.log((np.maximum(transition, 1e-5) / np.diag(transition)[:, None])[self._away])
        self._distance = np.log(2 * np.diff(np.log(multiples)))
        self._distances, self._moves = (
            slice(1, self.states),
            slice(2 * self.states + 2, 2 * self.states + 2 + int(self._away.sum())),
        )
        others = np.log([[half_life, sd] + self.states * [noise] for half_life, sd, noise in (
            (120.0, 0.5, 0.5), (12.0, 0.01, 0.05), (8760.0, 3.0, 2.0))])  # fmt: skip
        start, low, high = (
            np.concatenate([[c], distance, other, odd, np.full(6, day)])
            for c, distance, other, odd, day in zip(
                (np.nanmedian(self.level), -5.0, 5.0),
                (self._distance, self._distance - 1, self._distance + 1),
                others,
                (odds, np.full_like(odds, np.log(1e-7)), np.full_like(odds, -np.log(BLOCK))),
                (0.0, -3.0, 3.0),
                strict=True,
            )
        )
        self._louder = slice(self.states + 3, 2 * self.states + 2)
        self._low, self._high = low, high
        self.theta = self._climb(start if theta is None else theta)

    @cached_property
    def _newton(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores (b, theta), and the inverse of the loss's second derivatives."""
        return self._score(self.theta), np.linalg.pinv(self._curvature(self.theta))

    def _unpack(self, theta: np.ndarray) -> _Parameters:
        offset = theta[0] + np.concatenate([[0.0], np.cumsum(np.exp(theta[self._distances]))])
        half_life, sd, *noise = np.exp(theta[self.states : 2 * self.states + 2])
        odds = np.ones((self.states, self.states))
        odds[self._away] = np.exp(theta[self._moves])
        days = np.append(theta[-6:], -theta[-6:].sum())
        return _Parameters(
            offset, float(half_life), float(sd), np.array(noise), odds / odds.sum(axis=1, keepdims=True), days
        )

    def _density(self, theta: np.ndarray) -> np.ndarray:
        """Return ln p(y | past) of each block, (b,)."""
        p = self._unpack(theta)
        density = np.empty(len(self.level))
        move, keep = np.linalg.matrix_power(p.hourly, BLOCK), 0.5 ** (BLOCK / p.half_life)
        level = self.level - p.weekdays[self._weekday]
        half = np.exp(0.5 * p.offset)
        between = 2 * np.log(0.5 * (half[:, None] + half))
        blur = 0.5 * (p.noise[:, None] ** 2 + p.noise**2) + (p.offset[:, None] - p.offset) ** 2 / 12
        _filter(level, stationary(p.hourly), move, between, keep, p.sd, blur, density, *self._pass, *self._work)
        return density

    def _prior(self, theta: np.ndarray) -> float:
        away = (theta[self._distances] - self._distance) / SPACING
        louder = (theta[self._louder] - theta[self.states + 2]) / SPACING
        moves = PSEUDO * float(np.log(self._unpack(theta).hourly[self._away]).sum())
        return moves - 0.5 * float(away @ away + louder @ louder)

    def _loss(self, theta: np.ndarray) -> float:
        return -float(self._density(theta).sum()) - self._prior(theta)

    def _score(self, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
        """Return derivatives of each block's density, (b, theta), by forward differences."""
        here = self._density(theta)
        return np.stack([(self._density(theta + e) - here) / step for e in step * np.eye(len(theta))], axis=1)

    def _slope(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives of minus the loss, (theta,), and its curvature by scores, (theta, theta)."""
        scores = self._score(theta)
        prior = [(self._prior(theta + e) - self._prior(theta - e)) / 2e-4 for e in 1e-4 * np.eye(len(theta))]
        weak = np.zeros(len(theta))
        weak[self._distances], weak[self._louder], weak[self._moves] = SPACING**-2, SPACING**-2, PSEUDO
        return scores.sum(axis=0) + np.array(prior), scores.T @ scores + np.diag(weak)

    def _climb(self, theta: np.ndarray) -> np.ndarray:
        """Return the maximum by damped scoring (Berndt et al. 1974), near it with the curvature that steps show (BFGS).

        What sits at a bound and would go beyond takes no part in a step.
        """
        loss, damping = self._loss(theta), 1e-2
        slope, curvature = self._slope(theta)
        for _ in range(ROUNDS):
            free = ~((theta <= self._low) & (slope < 0) | (theta >= self._high) & (slope > 0))
            within, gained, trial = curvature[np.ix_(free, free)], 0.0, theta
            while damping < 1e8 and gained == 0.0:
                step = np.zeros(len(theta))
                step[free] = np.linalg.solve(within + np.diag(damping * np.diag(within) + 1e-9), slope[free])
                trial = np.clip(theta + np.clip(step, -1, 1), self._low, self._high)
                found = self._loss(trial)
                damping *= 10
                if found < loss:
                    gained, loss, damping = loss - found, found, max(damping / 100, 1e-8)
            if gained < ENOUGH:
                return trial if gained else theta
            moved, before = trial - theta, slope
            theta = trial
            slope, by_scores = self._slope(theta)
            bent, felt = before - slope, curvature @ moved
            if gained > 1:
                curvature = by_scores
            elif bent @ moved > 0:
                curvature += np.outer(bent, bent) / (bent @ moved) - np.outer(felt, felt) / (felt @ moved)
        return theta

    def _curvature(self, theta: np.ndarray, step: float = 0.02) -> np.ndarray:
        """Return the second derivatives of the loss by differences; directions without any are left at 0."""
        count = len(theta)
        steps, here = step * np.eye(count), self._loss(theta)
        up, down = (np.array([self._loss(theta + sign * e) for e in steps]) for sign in (1, -1))
        out = np.diag(up + down - 2 * here)
        for i in range(count):
            for j in range(i):
                out[i, j] = out[j, i] = self._loss(theta + steps[i] + steps[j]) - up[i] - up[j] + here
        values, vectors = np.linalg.eigh(out / step**2)
        return (vectors * np.where(values > 1e-3, values, 0.0)) @ vectors.T

    def errors(self, states: Sequence[str]) -> dict[str, float]:
        """Return errors by the likelihood on each parameter's scale (log, log odds of chances), by key of a market file.

        That of a state's share p of n hours is the chain's own, sqrt(p (2 Z - 1 - p) / n) with Z the diagonal of (I - P + 1 p')^-1
        (Kemeny and Snell 1960, ch. 4): how much the share of so many hours varies although P is known.
        """
        keys = [
            "volatility.half_life", "volatility.sd", *(f"seasonality.weekdays.{d}" for d in range(7)),
            *(f"regimes.states.{state}.volatility" for state in states[1:]),
            *(f"regimes.hourly_transition.{i}.{j}" for i in range(len(states)) for j in range(len(states))),
        ]  # fmt: skip

        def scaled(theta: np.ndarray) -> np.ndarray:
            p = self._unpack(theta)
            days = 0.5 * (p.weekdays - np.log(np.exp(p.weekdays).mean()))
            odds = np.log(p.hourly / np.maximum(1 - p.hourly, _TINY)).ravel()
            return np.concatenate([np.log([p.half_life, p.sd]), days, 0.5 * (p.offset[1:] - p.offset[0]), odds])

        turns = [(scaled(self.theta + e) - scaled(self.theta - e)) / 2e-4 for e in 1e-4 * np.eye(len(self.theta))]
        variance = np.einsum("ak,ab,bk->k", turns, self._newton[1], turns)
        found = dict(zip(keys, np.sqrt(np.maximum(variance, 0.0)).tolist(), strict=True))
        chain = self._unpack(self.theta).hourly
        share = stationary(chain)
        stay = np.diag(np.linalg.inv(np.eye(len(share)) - chain + share))
        if len(states) > 1:
            own = np.sqrt(share * (2 * stay - 1 - share) / self.hours) / (share * (1 - share))
            found |= {f"occupancy.{state}": float(error) for state, error in zip(states, own, strict=True)}
        return found

    def read(self, weight: np.ndarray | None = None, draws: np.random.Generator | None = None) -> States:
        """Return the states; with each hour counted weight (n,) times and the prior drawn, a bootstrap replicate."""
        error = np.zeros(len(self.theta))
        if weight is not None and draws is not None:
            blocks = len(self.level)
            scores, inverse = self._newton
            push = scores.T @ (weight[: blocks * BLOCK].reshape(blocks, BLOCK).mean(axis=1) - 1)
            push[self._distances] += draws.standard_normal(self.states - 1) / SPACING
            louder = draws.standard_normal(self.states - 1) / SPACING
            push[self._louder] += louder
            push[self.states + 2] -= louder.sum()
            push[self._moves] += draws.gamma(PSEUDO, size=self._away.sum()) - PSEUDO
            error = inverse @ push
        theta = np.clip(self.theta + np.clip(error, -1, 1), self._low, self._high)
        p = self._unpack(theta)
        transition = self._unpack(self.theta).hourly
        if self.states > 1:
            transition[self._away] *= 1 + error[self._moves]
            transition[~self._away] = 1 - (transition * self._away).sum(axis=1)
        self._density(theta)
        chance, _, x, xx = (values.copy() for values in self._pass)
        move, keep = np.linalg.matrix_power(p.hourly, BLOCK), 0.5 ** (BLOCK / p.half_life)
        _smooth(move, keep, p.sd, *self._pass, chance, x, xx, *self._work)
        block, part = np.divmod(np.arange(self.hours), BLOCK)
        block, part = np.minimum(block, len(self.level) - 1), ((part + 0.5) / BLOCK)[:, None]
        chance = (1 - part) * chance[np.maximum(block - 1, 0)] + part * chance[block]
        away = p.offset - p.offset[0]
        x, xx = x[block], xx[block]
        return States(
            np.exp(0.5 * (p.offset - p.offset[0])),
            transition,
            p.half_life,
            0.5 * p.sd,
            np.sqrt(np.exp(p.weekdays) / np.exp(p.weekdays).mean()),
            chance,
            (chance * np.exp(away + x + 0.5 * xx)).sum(axis=1),
            0.5 * (chance * (away + x)).sum(axis=1),
            np.exp(away + x),
        )


def stationary(matrix: np.ndarray) -> np.ndarray:
    """Return the law of a chain in the long run, (S,)."""
    count = len(matrix)
    system = np.vstack([matrix.T - np.eye(count), np.ones(count)])
    return np.maximum(np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0], _TINY)
