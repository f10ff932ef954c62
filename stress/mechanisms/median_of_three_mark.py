"""Median-of-three mark: oracle with averaged premium, own mid, external perpetual mid.

Stage        mark.
Formula      M = median(O + EMA(V - O), V, E); the EMA has numerator and denominator
             num <- num exp(-dt/tau) + sample dt, den <- den exp(-dt/tau) + dt, EMA = num / den,
             sampled once per step, in the first round; V and E are fresh in every round.
Source       Hyperliquid docs, robust-price-indices (2026-08-22): tau = 150 s (2.5 min).
Invariants   M lies between the smallest and the largest of its three components.
Limits       V stands for the median of best bid, best ask and last trade; E for the weighted median of
             external perpetual mids.
"""

from __future__ import annotations

import math

from pydantic import Field

from stress.kernels.halts import is_blocked
from stress.kernels.jit import kernel
from stress.kernels.venue import MARK_UPDATE
from stress.stages import Exact, Mechanism, MechanismParameters, Seconds, Stage, StateField


class MedianOfThreeMark(MechanismParameters):
    """`premium_ema` is the time constant of the average of V - O."""

    premium_ema: Exact = Field(default=Seconds(150.0), gt=0, description="time constant of the premium average")


@kernel
def mark(v, path, t, first_round):
    """Write M; the premium average takes its one sample of the step in the first round."""
    for m in range(v.markets.shape[0]):
        state = v.markets[m]
        if first_round:
            keep = math.exp(-v.step_seconds / v.terms[m]["premium_ema"])
            state["premium_num"] = (
                state["premium_num"] * keep + (v.markets[m]["mid"] - v.markets[m]["oracle"]) * v.step_seconds
            )
            state["premium_den"] = state["premium_den"] * keep + v.step_seconds
        if is_blocked(v, m, t, MARK_UPDATE):
            continue
        a = v.markets[m]["oracle"] + state["premium_num"] / state["premium_den"]
        b = v.markets[m]["mid"]
        c = v.markets[m]["external"]
        v.markets[m]["mark"] = max(min(a, b), min(max(a, b), c))


MECHANISM = Mechanism(
    name="median_of_three_mark",
    stage=Stage.MARK,
    parameters=MedianOfThreeMark,
    kernels={"mark": mark},
    state=(
        StateField("premium_num", "market", "f8", "USD s"),
        StateField("premium_den", "market", "f8", "s"),
    ),
)
