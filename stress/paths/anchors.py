"""Anchor path, not historical data: stated prices at stated times, random noise between them.

Equations    ln W_i(t) = ln W_i(0) + a_i(t) + s_i B_i(t); a_i: log-linear through the anchors of the market's asset,
             flat after the last; a market without anchors: a_i = beta_i / beta_l a_l of the first asset l, or 0.
             B_i: Brownian bridge, 0 at each anchor of i; increments of B correlated as in the market model.
             Depth = D0 x the stated multiple (log-linear between its points); without one, as in a replay,
             D0 max((v_i(t) / sigma_i)^-phi, floor), v_i(t)^2 = squared log returns of the path per second,
             exponentially weighted, v not below sigma_i. Premium of this venue 0; dispersion, linear between
             its points, is the premium of external perpetuals.
Parameters   `stress.scenarios.AnchorScenario`; s_i = `residual` per sqrt year x the volatility axis, for a
             market that follows: the leader's x beta_i / beta_l.
Addresses    purpose BRIDGE, group = four steps, sub-level 0.
Calibration  each value says whether it is measured, reported or assumed, and its source (configs/scenarios).
Cannot       wick between anchors by more than the noise, tell the order of extremes inside a bar, or say how
             likely the event is: probabilities on these paths are given the anchors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stress.errors import StudyError, did_you_mean
from stress.kernels.mean_reversion import kept
from stress.kernels.rng import BRIDGE, NO_LEVEL, fill_normals
from stress.kernels.venue import PathBlock
from stress.scenarios import AnchorScenario, Curve
from stress.stages import format_duration


class AnchorTerms(NamedTuple):
    """Everything `generate` reads besides the keys; k = markets of the model up to the last one selected."""

    ids: np.ndarray  # (k,) uint64
    loading: np.ndarray  # (m, k) rows of the Cholesky factor
    prices: np.ndarray  # (m,) USD
    moves: np.ndarray  # (S + 1, m) a_i, log
    spread: np.ndarray  # (m,) noise per step, log
    left: np.ndarray  # (S + 1, m) step of the anchor at or before; the step itself after the last
    right: np.ndarray  # (S + 1, m) step of the anchor at or after
    depth: np.ndarray  # (S + 1, m) base units, before the fall with volatility
    sigma: np.ndarray  # (m,) per sqrt step
    phi: float  # 0 where depth is stated
    floor: float
    keep: float  # of the squared volatility over a step
    external: np.ndarray  # (S + 1, m)
    oracle: np.ndarray  # (S + 1, m) uint8


def _on_steps(curve: Curve, step: float, key: str) -> np.ndarray:
    """Return the step of each point of a curve, (n,) int64."""
    for time, _ in curve.points:
        if abs(time / step - round(time / step)) > 1e-9:
            raise StudyError(
                f"must be a whole number of steps of {format_duration(step)}",
                key=f"{key}.points",
                value=format_duration(time),
                fix="use a step that divides it",
            )
    return np.array([round(time / step) for time, _ in curve.points])


def _values(curve: Curve) -> np.ndarray:
    return np.array([value for _, value in curve.points])


def _asset(scenario: AnchorScenario, market: str) -> tuple[str, bool]:
    """Return the asset whose curve a market takes, and whether it is its own (or the one that `map` states)."""
    asset = scenario.map.get(market, market)
    if asset in scenario.anchors:
        return asset, True
    if scenario.others == "refuse":
        raise StudyError(
            "has no anchors in this scenario",
            key=f"scenarios.{scenario.name}",
            value=market,
            fix=f"leave it out of `markets`, or give {', '.join(scenario.anchors)} for it in `map`",
        )
    return next(iter(scenario.anchors)), False


def _follows(scenario: AnchorScenario, market: str, asset: str, known: Sequence[str], beta: np.ndarray) -> float:
    """Return by how much a market without anchors follows the first asset."""
    if scenario.others == "still":
        return 0.0
    if asset not in known:
        raise StudyError(
            "a market follows by beta, but the first asset is not in the market file",
            key=f"scenarios.{scenario.name}.others",
            value=asset,
            fix=f"state `others: still`; {did_you_mean(asset, known)}",
        )
    return float(beta[known.index(market)] / beta[known.index(asset)])


def build(
    scenario: AnchorScenario,
    *,
    markets: Sequence[str],
    known: Sequence[str],
    beta: np.ndarray,
    prices: np.ndarray,
    depth: np.ndarray,
    sigma: np.ndarray,
    phi: float,
    floor: float,
    half_life: float,
    ids: np.ndarray,
    loading: np.ndarray,
    noise: float,
    steps: int,
    step: float,
) -> AnchorTerms:
    """Return the terms; prices, depth (base units), sigma (per sqrt second) (m,), beta of all `known` markets.

    noise : volatility axis / sqrt(year in seconds). half_life : of realised volatility, seconds.
    """
    key, times = f"scenarios.{scenario.name}", np.arange(steps + 1)
    if times[-1] * step < scenario.lasts:
        raise StudyError(
            "the last anchor lies after the horizon",
            key="horizon",
            value=format_duration(steps * step),
            fix=f"set horizon: {format_duration(scenario.lasts)} or more for {scenario.name}",
        )
    for name in scenario.map:
        if name not in known:
            raise StudyError(
                "is not a market of the model", key=f"{key}.map", value=name, fix=did_you_mean(name, known)
            )
    shape = (steps + 1, len(markets))
    moves, external = np.zeros(shape), np.zeros(shape)
    left, right = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    spread, oracle = np.zeros(len(markets)), np.zeros(shape, np.uint8)
    for i, market in enumerate(markets):
        asset, own = _asset(scenario, market)
        share = 1.0 if own else _follows(scenario, market, asset, known, beta)
        curve = scenario.anchors[asset]
        at = _on_steps(curve, step, f"{key}.anchors.{asset}")
        moves[:, i] = share * np.interp(times, at, np.log(_values(curve)))
        spread[i] = share * curve.residual * noise * math.sqrt(step)
        inside = times <= at[-1]
        left[:, i] = np.where(inside, at[np.searchsorted(at, times, side="right") - 1], times)
        right[:, i] = np.where(inside, at[np.minimum(np.searchsorted(at, times), len(at) - 1)], times)
        if own and asset in scenario.dispersion:
            gap = scenario.dispersion[asset]
            external[:, i] = np.interp(times, _on_steps(gap, step, f"{key}.dispersion.{asset}"), _values(gap))
    for n, stale in enumerate(scenario.oracle_outages):
        during = (times * step >= stale.from_) & (times * step < stale.to)
        if not during.any():
            raise StudyError("no step of the study falls into it", key=f"{key}.oracle_outages.{n}", fix="lengthen it")
        hit = [stale.markets is None or _asset(scenario, market)[0] in stale.markets for market in markets]
        oracle[np.ix_(during, hit)] = 1
    multiple = np.ones(steps + 1)
    if scenario.depth is not None:
        multiple = np.exp(
            np.interp(times, _on_steps(scenario.depth, step, f"{key}.depth"), np.log(_values(scenario.depth)))
        )
    return AnchorTerms(
        ids=ids,
        loading=loading,
        prices=prices,
        moves=moves,
        spread=spread,
        left=left,
        right=right,
        depth=depth * multiple[:, None],
        sigma=sigma * math.sqrt(step),
        phi=0.0 if scenario.depth is not None else phi,
        floor=floor,
        keep=kept(half_life, step),
        external=external,
        oracle=oracle,
    )


def generate(keys: np.ndarray, terms: AnchorTerms, first_path: int, count: int) -> PathBlock:
    """Return paths first_path .. first_path + count - 1."""
    points, markets = terms.moves.shape
    shape = (count, points, markets)
    world, depth = np.empty(shape), np.empty(shape)
    for p in range(count):
        world[p] = terms.prices * np.exp(terms.moves + terms.spread * _bridge(keys, terms, first_path + p))
        depth[p] = terms.depth * _thinned(world[p], terms) if terms.phi > 0 else terms.depth
    return PathBlock(
        first_path=first_path,
        world=world,
        depth=depth,
        premium=np.zeros(shape),
        external_premium=np.broadcast_to(terms.external, shape).copy(),
        oracle_outage=np.broadcast_to(terms.oracle, shape).copy(),
        venue_outage=np.zeros(shape[:2], np.uint8),
        regime=np.full(shape[:2], -1, np.int8),
    )


def _bridge(keys: np.ndarray, terms: AnchorTerms, path: int) -> np.ndarray:
    """Return B of one path in units of one step's standard deviation, (S + 1, m)."""
    points, markets = terms.moves.shape
    normals = np.empty((len(terms.ids), points - 1))
    for k, market in enumerate(terms.ids):
        fill_normals(keys, market, path, BRIDGE, NO_LEVEL, normals[k])
    out = np.empty((points, markets))
    for i in range(markets):
        # One market after the other, not a matrix product: its bits must not depend on later markets.
        increments = np.zeros(points - 1)
        for k in np.flatnonzero(terms.loading[i]):
            increments += terms.loading[i, k] * normals[k]
        walk = np.concatenate([[0.0], np.cumsum(increments)])
        left, right = terms.left[:, i], terms.right[:, i]
        part = (np.arange(points) - left) / np.maximum(right - left, 1)
        out[:, i] = walk - walk[left] - part * (walk[right] - walk[left])
    return out


def _thinned(world: np.ndarray, terms: AnchorTerms) -> np.ndarray:
    """Return the multiple of depth (S + 1, m) from realised volatility, the running step included."""
    variance = np.empty_like(world)
    variance[0] = terms.sigma**2
    squares = np.diff(np.log(world), axis=0) ** 2
    for t, squared in enumerate(squares, start=1):
        variance[t] = terms.keep * variance[t - 1] + (1 - terms.keep) * squared
    ratio = np.maximum(np.sqrt(variance) / terms.sigma, 1.0)
    return np.maximum(ratio**-terms.phi, terms.floor)
