"""Deterministic shock: flat, then a log-linear move, then flat; the oracle fails as stated.

One path, or on top of every path of the market model.

Equations    ln W_i(t) = ln W_i(0) + ln(1 + x_i) clip((t - at) / over, 0, 1); depth = D0 before `at`,
             D0 x multiple from `at` on; premium 0. On top of paths: W and depth are multiplied by the
             shock's W_i(t) / W_i(0) and depth / D0; premiums stay those of the paths.
Parameters   `stress.scenarios.ShockScenario`: size, speed (`over`), breadth (`shocks`, `others`),
             liquidity (`depth`), frozen oracle.
Calibration  none: a shock is chosen, not fitted.
Cannot       say how likely it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stress.errors import StudyError, did_you_mean
from stress.kernels.venue import PathBlock
from stress.scenarios import ShockScenario
from stress.stages import format_duration


def _log_moves(scenario: ShockScenario, markets: Sequence[str], known: Sequence[str], beta: np.ndarray) -> np.ndarray:
    """Return the log move of each market, (m,)."""
    for name in scenario.shocks:
        if name not in known:
            raise StudyError(
                "is not a market of the model",
                key=f"scenarios.{scenario.name}.shocks",
                value=name,
                fix=did_you_mean(name, known),
            )
    named = {name: math.log1p(size) for name, size in scenario.shocks.items()}
    if scenario.others == "still":
        return np.array([named.get(market, 0.0) for market in markets])
    (leader, move), *_ = named.items()
    if scenario.others != "by_beta":
        sign = 1.0 if scenario.others == "same" else -1.0
        return np.array([named.get(market, sign * move) for market in markets])
    return move * beta[[known.index(market) for market in markets]] / beta[known.index(leader)]


def build(
    scenario: ShockScenario,
    *,
    markets: Sequence[str],
    known: Sequence[str],
    beta: np.ndarray,
    prices: np.ndarray,
    depth: np.ndarray,
    steps: int,
    step: float,
) -> PathBlock:
    """Return the one path; prices and depth (m,) at t = 0 in USD and base units, beta of all `known` markets."""
    key = f"scenarios.{scenario.name}"
    times = np.arange(steps + 1) * step
    over = step if isinstance(scenario.over, str) else scenario.over
    if times[-1] < scenario.at + over:
        raise StudyError(
            "the move ends after the horizon",
            key=key,
            value=f"at {format_duration(scenario.at)} over {format_duration(over)}",
            fix=f"end it within the horizon of {format_duration(float(times[-1]))}",
        )
    moves = _log_moves(scenario, markets, known, beta)
    progress = np.clip((times - scenario.at) / over, 0.0, 1.0)
    shape = (1, steps + 1, len(markets))
    oracle = np.zeros(shape, np.uint8)
    if scenario.oracle_outage:
        oracle[0, scenario.oracle_outage.during(times, step, f"{key}.oracle_outage")] = 1
    return PathBlock(
        first_path=0,
        world=prices * np.exp(progress[:, None] * moves)[None],
        depth=(depth * np.where(times >= scenario.at, scenario.depth, 1.0)[:, None])[None],
        premium=np.zeros(shape),
        external_premium=np.zeros(shape),
        oracle_outage=oracle,
        venue_outage=np.zeros(shape[:2], np.uint8),
        regime=np.full(shape[:2], -1, np.int8),
    )


def on_top(overlay: PathBlock, block: PathBlock) -> PathBlock:
    """Return the paths of a block with a shock on top of each: `overlay` was built at prices and depth of 1."""
    count = len(block.world)
    return block._replace(
        world=block.world * overlay.world,
        depth=block.depth * overlay.depth,
        oracle_outage=np.repeat(overlay.oracle_outage, count, axis=0),
    )
