"""Jumps: common ones that hit every market by its beta, and idiosyncratic ones of each market.

Equations    dx_i = beta_i eps_ik J_k at common jumps + Y_il at own jumps (log points).
             J, Y: `kou`     down with probability p_down, size -Exp(mean_down), else +Exp(mean_up);
                   `normal`  N(mean, sd^2) (Merton).
             eps = exp(d Z - d^2/2), Z standard normal held within +-3 (else E[e^{beta eps J}] is infinite).
             Counts are Poisson per day-long tile, jump times uniform in the tile; a regime's intensity is
             met by thinning the highest one, so the same jumps appear in every scenario. A horizon that
             ends inside a tile sees the part of it that it covers. A day holds at most `most_per_day`
             jumps of each kind by definition; a model in which that would bind more often than once in
             1e9 days is refused.
             compensated: drift falls by lambda (E[e^jump] - 1), so that jumps add no expected return.
Parameters   `intensity` per year in the first regime (x jump_intensity of the regime); sizes x jump_size
             of the regime x the volatility axis; per market `jump_beta`, `jump_dispersion` d.
Addresses    group = day. Sub-level 0: word 0 is the count. Sub-level 1 + k, common: time, thinning, size;
             of market i: word 0 is Z. Own jumps: time, thinning, size.
Calibration  `fitting`: flags, the common and own split, betas, laws of size given that a jump was seen.
Cannot       cluster jumps inside a regime (no self-excitation), make a wick (a jump that is undone within
             the minute), or tails heavier than exponential.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stress.kernels.jit import kernel
from stress.kernels.rng import COMMON, COMMON_JUMP, IDIOSYNCRATIC_JUMP, NO_LEVEL, normal, uniforms

DAY = 86400.0
_Z_LIMIT = 3.0
_RARE = 1e-9

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class Kou(BaseModel):
    """Double-exponential jump sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    law: Literal["kou"] = "kou"
    p_down: Annotated[float, Field(ge=0, le=1)]
    mean_down: Positive
    mean_up: Positive

    def terms(self) -> tuple[float, ...]:
        """Return (law, three numbers) for the kernel."""
        return (0.0, self.p_down, self.mean_down, self.mean_up)

    def exponential_moment(self, theta: np.ndarray) -> np.ndarray:
        """Return E[exp(theta J)], inf where it does not exist."""
        down, up = 1 + theta * self.mean_down, 1 - theta * self.mean_up
        safe = (down > 0) & (up > 0)
        down, up = np.where(safe, down, 1.0), np.where(safe, up, 1.0)
        return np.where(safe, self.p_down / down + (1 - self.p_down) / up, np.inf)


class Normal(BaseModel):
    """Normal jump sizes in log points (Merton)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    law: Literal["normal"] = "normal"
    mean: float = 0.0
    sd: NotNegative

    def terms(self) -> tuple[float, ...]:
        """Return (law, three numbers) for the kernel."""
        return (1.0, self.mean, self.sd, 0.0)

    def exponential_moment(self, theta: np.ndarray) -> np.ndarray:
        """Return E[exp(theta J)]."""
        return np.exp(theta * self.mean + 0.5 * (theta * self.sd) ** 2)


Law = Annotated[Kou | Normal, Field(discriminator="law")]


class JumpTrain(BaseModel):
    """How often, and how large."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    intensity: NotNegative
    size: Law


class Jumps(BaseModel):
    """The part of the layer that all markets share."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    common: JumpTrain | None = None
    compensated: bool = True
    most_per_day: Annotated[int, Field(ge=1, le=1000)] = 32


class JumpsOfMarket(BaseModel):
    """A market's own part of the layer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    jump_beta: float = 1.0
    jump_dispersion: NotNegative = 0.0
    own_jumps: JumpTrain | None = None


class JumpTerms(NamedTuple):
    """What the kernel reads; a count table holds P(N <= n), n = 0..most_per_day - 1, then 1."""

    active: bool
    accept: np.ndarray  # (states,) intensity of the state over the highest one
    scale: np.ndarray  # (states,) multiple of sizes
    common_count: np.ndarray  # (most + 1,)
    common_size: np.ndarray  # (4,) law and its numbers
    beta: np.ndarray  # (m,)
    dispersion: np.ndarray  # (m,)
    own_count: np.ndarray  # (m, most + 1)
    own_size: np.ndarray  # (m, 4)


_NONE = JumpTrain(intensity=0.0, size=Normal(sd=0.0))


def count_table(mean: float, most: int) -> np.ndarray:
    """Return the cumulative Poisson law held at `most`; refuses a mean for which that would matter."""
    probability = [math.exp(-mean)]
    for n in range(1, most + 1):
        probability.append(probability[-1] * mean / n)
    table = np.cumsum(probability)
    if 1.0 - table[-1] > _RARE:
        raise ValueError(f"jumps: a mean of {mean:.3g} jumps per day needs most_per_day above {most}")
    table[-1] = 1.0
    return table


def _leap(train: JumpTrain, theta: np.ndarray, dispersion: float) -> np.ndarray:
    """Return E[exp(theta eps J)] - 1 by Gauss-Legendre quadrature over Z and its two atoms at +-3."""
    if dispersion == 0.0:
        return train.size.exponential_moment(theta) - 1
    nodes, weights = np.polynomial.legendre.leggauss(64)
    z = _Z_LIMIT * np.append(nodes, (-1.0, 1.0))
    density = _Z_LIMIT * weights * np.exp(-0.5 * z[:-2] ** 2) / math.sqrt(2 * math.pi)
    atom = 0.5 * math.erfc(_Z_LIMIT / math.sqrt(2))
    eps = np.exp(dispersion * z - 0.5 * dispersion**2)
    return train.size.exponential_moment(theta[:, None] * eps) @ np.append(density, (atom, atom)) - 1


def build(
    jumps: Jumps, of_markets: Sequence[JumpsOfMarket], intensity: np.ndarray, size: np.ndarray
) -> tuple[JumpTerms, np.ndarray]:
    """Return the terms, and the compensator of each state and market (states, m) per year.

    `intensity` and `size` (states,) are the regimes' multiples; `size` includes the volatility axis.
    """
    highest = max(float(intensity.max()), 1e-300)
    common = jumps.common or _NONE
    own = [market.own_jumps or _NONE for market in of_markets]
    per_day = highest / 365.0
    terms = JumpTerms(
        active=any(train.intensity > 0 for train in (common, *own)),
        accept=intensity / highest,
        scale=size,
        common_count=count_table(common.intensity * per_day, jumps.most_per_day),
        common_size=np.array(common.size.terms()),
        beta=np.array([market.jump_beta for market in of_markets]),
        dispersion=np.array([market.jump_dispersion for market in of_markets]),
        own_count=np.stack([count_table(train.intensity * per_day, jumps.most_per_day) for train in own]),
        own_size=np.array([train.size.terms() for train in own]),
    )
    leap = np.stack(
        [
            common.intensity * _leap(common, market.jump_beta * size, market.jump_dispersion)
            + train.intensity * _leap(train, size, 0.0)
            for market, train in zip(of_markets, own, strict=True)
        ],
        axis=1,
    )
    if not np.isfinite(leap).all():
        raise ValueError(
            "jumps: E[exp(jump)] is infinite: upward jumps x beta x dispersion x size multiple are too large; "
            "lower mean_up, jump_beta, jump_dispersion, or the volatility axis"
        )
    return terms, (intensity[:, None] * leap if jumps.compensated else np.zeros_like(leap))


@kernel
def _count(table, u):
    n = 0
    while u >= table[n]:
        n += 1
    return n


@kernel
def _size(law, u):
    """Return one jump size by inverse CDF."""
    if law[0] == 1.0:
        return law[1] + law[2] * normal(u)
    if u < law[1]:
        return law[2] * math.log(u / law[1])
    return -law[3] * math.log((1.0 - u) / (1.0 - law[1]))


@kernel
def _lands(day, u, step, steps):
    """Return the step in which a jump at share `u` of its day falls, or -1 beyond the horizon."""
    t = int((day + u) * DAY / step)
    return t if t < steps else -1


@kernel
def place(keys, path, terms, ids, clock, step, regime, jumps, travelled):
    """Add the log jumps of each step to `jumps` (S, m) and their absolute sizes to `travelled` (S, m).

    ids (m,): permanent market ids; clock (S + 1,): hour of each step; regime (hours,).
    """
    steps, markets = jumps.shape
    for day in range(math.ceil(steps * step / DAY)):
        for k in range(_count(terms.common_count, uniforms(keys, COMMON, day, path, COMMON_JUMP, NO_LEVEL)[0])):
            u = uniforms(keys, COMMON, day, path, COMMON_JUMP, np.uint64(1 + k))
            t = _lands(day, u[0], step, steps)
            if t < 0 or u[1] >= terms.accept[regime[clock[t]]]:
                continue
            size = terms.scale[regime[clock[t]]] * _size(terms.common_size, u[2])
            for i in range(markets):
                z = normal(uniforms(keys, ids[i], day, path, COMMON_JUMP, np.uint64(1 + k))[0])
                z = min(max(z, -_Z_LIMIT), _Z_LIMIT)
                d = terms.dispersion[i]
                x = terms.beta[i] * math.exp(d * z - 0.5 * d * d) * size
                jumps[t, i] += x
                travelled[t, i] += abs(x)
        for i in range(markets):
            for k in range(
                _count(terms.own_count[i], uniforms(keys, ids[i], day, path, IDIOSYNCRATIC_JUMP, NO_LEVEL)[0])
            ):
                u = uniforms(keys, ids[i], day, path, IDIOSYNCRATIC_JUMP, np.uint64(1 + k))
                t = _lands(day, u[0], step, steps)
                if t < 0 or u[1] >= terms.accept[regime[clock[t]]]:
                    continue
                x = terms.scale[regime[clock[t]]] * _size(terms.own_size[i], u[2])
                jumps[t, i] += x
                travelled[t, i] += abs(x)
