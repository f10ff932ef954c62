"""Standard errors of fitted parameters, and the scale on which two of them to either side are an interval.

Error       the larger of two: the deviation over the replicates of the block bootstrap, which asks nothing of the model but
            sees few events too few times (of 40 jumps it is itself uncertain by a quarter, and small together with the
            estimate); and that of the likelihood, where a fit has one, which knows the number of events and trusts the model.
            A parameter that rests on slow volatility gets sqrt(1 + t/L) of the bootstrap's, t = half-life / ln 2, L the mean block: an
            autocovariance at lag k counts (1 - 1/L)^k in a stationary bootstrap, so that of what forgets at rate 1/t a share
            1/(1 + t/L) of the variance is left (Politis and Romano 1994).
Scale       on which the error does not move with the estimate: log of what is positive, log odds of a share, Fisher's z of a
            correlation, -ln(1 - w) of a regime's weight w (z of its correlations, to a constant), else the number itself.
            Errors are stored in the parameter's own unit; on the scale they are times its slope at the estimate.
            Two errors in own units miss low estimates: each has a small error too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np


class _Curve(Protocol):
    def __call__(self, x: float, /) -> float: ...


class Scale(NamedTuple):
    """A monotone function of a parameter, its slope, and the way back."""

    of: _Curve
    slope: _Curve
    back: _Curve


LOG = Scale(np.log, lambda x: 1 / x, np.exp)
LOG_ODDS = Scale(lambda x: np.log(x / (1 - x)), lambda x: 1 / (x * (1 - x)), lambda z: 1 / (1 + np.exp(-z)))
FISHER = Scale(np.arctanh, lambda x: 1 / (1 - x * x), np.tanh)
BLEND = Scale(lambda w: -np.log1p(-w), lambda w: 1 / (1 - w), lambda z: -np.expm1(-z))
PLAIN = Scale(float, lambda _: 1.0, float)

SAID = (
    "the likelihood's error where it is larger; in each parameter's unit, two errors are an interval on its scale (logs, log odds "
    "of shares, Fisher's z of correlations)"
)
SCALES = (
    (r"^correlation\.", FISHER),
    (r"^regimes\.states\..*\.correlation$", BLEND),
    (r"hourly_transition|^occupancy\.|p_down$|\.joins$|(^|\.)beta$", LOG_ODDS),
    (r"phi$|(lower|upper)\.2$", PLAIN),
)


def scale(key: str, value: float) -> Scale:
    """Return the scale of a parameter; its own unit where the value is at the end of what it may be."""
    found = next((one for pattern, one in SCALES if re.search(pattern, key)), LOG)
    at = np.float64(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found if np.isfinite(found.of(at)) and np.isfinite(found.slope(at)) else PLAIN


def standard_errors(
    fitted: Mapping[str, float],
    drawn: Mapping[str, Sequence[float]],
    likely: Mapping[str, float],
    wider: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Return errors in own units by key.

    drawn: the replicates' values; likely: errors of the likelihood on the scale; wider: factors of the replicates' deviation.
    """
    errors = {}
    for key, value in fitted.items():
        spread = float(np.std(drawn[key], ddof=1)) if len(drawn.get(key, ())) > 1 else 0.0
        spread *= (wider or {}).get(key, 1.0)
        error = np.fmax(spread, likely.get(key, 0.0) / scale(key, value).slope(value)) if spread > 0 else 0.0
        if error > 0:
            errors[key] = float(error)
    return errors


def interval(key: str, value: float, error: float) -> tuple[float, float]:
    """Return what two errors to either side hold, in own units."""
    on = scale(key, value)
    middle, reach = on.of(value), 2 * error * on.slope(value)
    return float(on.back(middle - reach)), float(on.back(middle + reach))


def holds(key: str, value: float, error: float, truth: float) -> bool:
    """Return whether the truth lies within two errors of the estimate, on the parameter's scale."""
    low, high = interval(key, value, error)
    return low <= truth <= high
