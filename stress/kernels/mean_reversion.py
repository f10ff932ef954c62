"""Mean reversion in closed form: an addressed Ornstein-Uhlenbeck path on a grid of knots.

    dx = -kappa x dt + eta dB,   x[k+1] = a x[k] + sd sqrt(1 - a^2) z[k+1],   a = exp(-kappa x interval)

sd is the stationary standard deviation, so the transition is exact for any interval.
"""

from __future__ import annotations

import math

import numpy as np

from stress.kernels.jit import kernel
from stress.kernels.rng import NO_LEVEL, fill_normals


def kept(half_life: float, seconds: float) -> float:
    """Return the share of a displacement that is left after `seconds`."""
    return 0.5 ** (seconds / half_life)


@kernel
def fill_noise(keys, market, path, purpose, keep, sd, from_zero, out):
    """Write x at knots 0, 1, … into `out` (knots,): x[0] = 0 or drawn from the stationary law."""
    fill_normals(keys, market, path, purpose, NO_LEVEL, out)
    out[0] = 0.0 if from_zero else sd * out[0]
    innovation = sd * math.sqrt(1.0 - keep * keep)
    for k in range(1, len(out)):
        out[k] = keep * out[k - 1] + innovation * out[k]


@kernel
def interpolate(knots, steps_per_knot, out):
    """Write x at every step into `out` (steps,): exact at knots, linear in between."""
    steps, each = len(out), steps_per_knot
    for rest in range(min(each, steps)):
        share = rest / each
        for k in range((steps - rest + each - 1) // each):
            out[k * each + rest] = knots[k] if rest == 0 else knots[k] + (knots[k + 1] - knots[k]) * share


def knot_grid(steps: int, step: float, seconds: float) -> tuple[int, int]:
    """Return (steps per knot, knots) of a grid with knots about `seconds` apart that covers 0..steps."""
    each = max(1, math.ceil(seconds / step - 1e-9))
    return each, int(np.ceil(steps / each)) + 1
