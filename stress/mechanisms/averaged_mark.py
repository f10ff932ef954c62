"""Averaged mark: a time average of the oracle or of the own mid, so that no short move can reach the mark whole.

Stage        mark.
Formula      x = O or V, sampled once per step, in the first round. twap: mean of x over the steps in the last
             average_window, since t = 0 at first. ema: num <- num exp(-dt / average_window) + x dt, den alike with 1,
             M = num / den.
Source       Perpetual Protocol v1 docs (15 min TWAP of the vAMM price, read 2026-08); Hyperliquid docs,
             robust-price-indices (2026-08-22), for the form of the EMA.
Invariants   M lies between the lowest and the highest sample of its window; constant x gives M = x.
Limits       a window has at most 256 steps. While the mark may not update, samples are still taken.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from stress.errors import StudyError
from stress.kernels.halts import is_blocked
from stress.kernels.jit import kernel
from stress.kernels.venue import MARK_UPDATE
from stress.stages import Mechanism, MechanismParameters, MustResolve, Stage, StateField

SLOTS = 256


class AveragedMark(MechanismParameters):
    """What is averaged, how, and over which time."""

    averaged: Literal["oracle", "own_mid"] = Field(default="oracle", description="the price that is averaged")
    average: Literal["twap", "ema"] = Field(default="twap", description="plain mean of a window, or exponential")
    average_window: MustResolve = Field(description="length of the window, or time constant")

    def terms(self, market, step):
        """Return the kernel's fields; the window has at least one step."""
        found = MechanismParameters.terms(self, market, step)
        if not 1 <= found["average_window_steps"] <= SLOTS:
            raise StudyError(
                f"a window has 1 to {SLOTS} steps",
                key="average_window",
                value=found["average_window_steps"],
                fix="use another step or window",
            )
        return found


@kernel
def mark(v, path, t, first_round):
    """Write M; the average takes its one sample of the step in the first round."""
    for m in range(v.markets.shape[0]):
        state, terms = v.markets[m], v.terms[m]
        if first_round:
            sample = state["oracle"] if terms["averaged"] == 0 else state["mid"]
            state["mark_sample"][t % SLOTS] = sample
            keep = math.exp(-v.step_seconds / terms["average_window"])
            state["mark_num"] = state["mark_num"] * keep + sample * v.step_seconds
            state["mark_den"] = state["mark_den"] * keep + v.step_seconds
        if is_blocked(v, m, t, MARK_UPDATE):
            continue
        if terms["average"] == 1:
            state["mark"] = state["mark_num"] / state["mark_den"]
        else:
            count = min(t + 1, terms["average_window_steps"])
            total = 0.0
            for k in range(count):
                total += state["mark_sample"][(t - k) % SLOTS]
            state["mark"] = total / count


MECHANISM = Mechanism(
    name="averaged_mark",
    stage=Stage.MARK,
    parameters=AveragedMark,
    kernels={"mark": mark},
    state=(
        StateField("mark_sample", "market", "f8", "USD", shape=(SLOTS,)),
        StateField("mark_num", "market", "f8", "USD s"),
        StateField("mark_den", "market", "f8", "s"),
    ),
)
