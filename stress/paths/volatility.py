"""Slow volatility inside the regimes, so that volatility clusters over hours and days.

Equations    sigma_i(t) = sigma_i x m(s) x exp(v),  dv = -kappa v dt + eta dB, one v for all markets,
             sampled exactly at full hours and held within the hour. v = 0 is the median, hence
             E[sigma^2] = sigma_i^2 m^2 exp(2 sd^2).
Parameters   `half_life` of v; `sd`, its stationary standard deviation (log points).
Start        v(0) from its stationary law, or 0 with `from_median`.
Calibration  `stress.calibration.states`, together with the regimes: apart, each is read as the other.
Cannot       move markets' volatilities apart, nor react to returns (no leverage effect: fits give ~0).
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.jit import kernel
from stress.kernels.mean_reversion import fill_noise, kept
from stress.kernels.rng import COMMON, VOLATILITY
from stress.stages import Exact


class SlowVolatility(BaseModel):
    """Parameters of v; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    half_life: Annotated[Exact, Field(gt=0)]
    sd: Annotated[float, Field(ge=0)]
    from_median: bool = False


class VolatilityTerms(NamedTuple):
    """What the kernel reads."""

    keep: float
    sd: float
    from_median: bool


def build(parameters: SlowVolatility | None, interval: float) -> VolatilityTerms:
    """Return the terms for a state that moves every `interval` seconds; None switches the layer off."""
    if parameters is None:
        return VolatilityTerms(0.0, 0.0, True)
    return VolatilityTerms(kept(parameters.half_life, interval), parameters.sd, parameters.from_median)


@kernel
def walk(keys, path, terms, out):
    """Write v of every hour into `out` (hours,)."""
    if terms.sd == 0.0:
        out[:] = 0.0
    else:
        fill_noise(keys, COMMON, path, VOLATILITY, terms.keep, terms.sd, terms.from_median, out)
