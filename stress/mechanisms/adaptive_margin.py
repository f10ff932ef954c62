"""Adaptive margin: rates and leverage caps follow realised volatility and correlation, within limits.

Stage        margin_modifiers.
Formula      s2 = EWMA (half-life `volatility_half_life`) of r^2 / dt, r = log return of the oracle per step, starting
             at reference_volatility^2; rho = correlation, by the same EWMA, of r / s with the mean of r / s of the other
             markets, starting at reference_correlation.
             target = (1 - w) s / reference_volatility x (1 + correlation_weight x max(0, rho - reference_correlation))
                      + w x stressed_multiplier, w = stressed_weight, kept within [floor, ceiling].
             Every reset_interval the multiplier k moves towards the target by at most the factor 1 + speed_limit.
             requirement = min(k x base, notional), initial and maintenance alike: the cap falls as 1 / k. k(0) = 1.
Source       design of this project; floor, stressed weight and buffers against procyclicality after EMIR RTS 153/2013,
             article 28 (25 % weight of stressed observations), and Murphy, Vasios and Vause (2014).
Invariants   floor <= k <= ceiling after the first reset beyond them; one reset moves k by at most the speed limit.
Limits       volatility is that of the oracle: a stale oracle looks calm. Correlation is with the other markets'
             mean, not pair by pair. Raising maintenance on open positions liquidates: whether that is safer is the question.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from stress.kernels.culling import disturb
from stress.kernels.jit import inlined, kernel
from stress.stages import Exact, Mechanism, MechanismParameters, MustResolve, PositiveByMarket, Stage, StateField

YEAR = 365.0 * 86400.0


class AdaptiveMargin(MechanismParameters):
    """Volatilities are annualised; `reference_volatility` may be given by market."""

    reference_volatility: PositiveByMarket = Field(description="volatility at which base rates stand, per year")
    volatility_half_life: Exact = Field(gt=0, description="half-life of the variance and the correlation")
    reset_interval: MustResolve = Field(description="time between two changes of the multiplier")
    speed_limit: float = Field(gt=0, description="largest relative change at one reset")
    floor: float = Field(default=1.0, gt=0, description="lowest multiplier")
    ceiling: float = Field(default=5.0, gt=0, description="highest multiplier")
    stressed_multiplier: float = Field(default=1.0, gt=0, description="multiplier that a stressed period would ask for")
    stressed_weight: float = Field(default=0.0, ge=0, le=1, description="weight of the stressed multiplier")
    correlation_weight: float = Field(default=0.0, ge=0, description="relative rise per unit of excess correlation")
    reference_correlation: float = Field(default=0.5, ge=-1, lt=1, description="correlation at which base rates stand")

    @model_validator(mode="after")
    def _ordered(self) -> AdaptiveMargin:
        if self.floor > self.ceiling:
            raise ValueError("floor does not exceed ceiling")
        if self.reset_interval.value <= 0:
            raise ValueError("reset_interval is above 0s")
        return self


@kernel
def update(v, path, t):
    """Sample the oracle's returns once per step; at a reset, move the multipliers."""
    dt = v.step_seconds / YEAR
    count = 0
    total = 0.0
    for m in range(v.markets.shape[0]):
        state, terms = v.markets[m], v.terms[m]
        if state["holding"] != 0:
            continue
        if t == 0:
            state["realised_variance"] = terms["reference_volatility"] ** 2
            state["sampled_oracle"] = state["oracle"]
        keep = 0.5 ** (v.step_seconds / terms["volatility_half_life"])
        move = math.log(state["oracle"] / state["sampled_oracle"])
        state["sampled_oracle"] = state["oracle"]
        if t > 0:
            state["realised_variance"] = keep * state["realised_variance"] + (1.0 - keep) * move * move / dt
        state["standard_move"] = move / math.sqrt(state["realised_variance"] * dt)
        total += state["standard_move"]
        count += 1
    if t == 0:
        return
    for m in range(v.markets.shape[0]):
        if v.markets[m]["holding"] == 0:
            _follow(v, m, (total - v.markets[m]["standard_move"]) / max(1, count - 1))
            if t % v.terms[m]["reset_interval_steps"] == 0:
                _reset(v, m)


@inlined
def _follow(v, m, others):
    """Take one sample of the co-movement of a market with the mean of the others."""
    state, terms = v.markets[m], v.terms[m]
    keep = 0.5 ** (v.step_seconds / terms["volatility_half_life"])
    own = state["standard_move"]
    # Both squares start at 1, the product at the reference: so the correlation starts at the reference.
    state["own_square"] = keep * state["own_square"] + (1.0 - keep) * own * own
    state["others_square"] = keep * state["others_square"] + (1.0 - keep) * others * others
    state["excess_product"] = keep * state["excess_product"] + (1.0 - keep) * (own * others)
    state["reference_share"] *= keep


@inlined
def correlation(v, m):
    """Correlation of a market's standardised returns with the mean of the others'."""
    state = v.markets[m]
    product = state["excess_product"] + state["reference_share"] * v.terms[m]["reference_correlation"]
    scale = math.sqrt(state["own_square"] * state["others_square"])
    return product / scale if scale > 0.0 else v.terms[m]["reference_correlation"]


@kernel
def target(v, m):
    """Multiplier that volatility and correlation ask for, within floor and ceiling."""
    terms = v.terms[m]
    excess = max(0.0, correlation(v, m) - terms["reference_correlation"])
    realised = math.sqrt(v.markets[m]["realised_variance"]) / terms["reference_volatility"]
    realised *= 1.0 + terms["correlation_weight"] * excess
    weight = terms["stressed_weight"]
    asked = (1.0 - weight) * realised + weight * terms["stressed_multiplier"]
    return min(max(asked, terms["floor"]), terms["ceiling"])


@inlined
def _reset(v, m):
    old = v.markets[m]["margin_multiplier"]
    pace = 1.0 + v.terms[m]["speed_limit"]
    new = min(max(target(v, m), old / pace), old * pace)
    v.markets[m]["margin_multiplier"] = new
    if new > old:
        disturb(v)  # accounts that the old requirement cleared


@inlined
def scaled(v, m, size, price, base):
    """Requirement of one position, USD: the multiplier times base, at most its notional."""
    return min(v.markets[m]["margin_multiplier"] * base, abs(size) * price)


@inlined
def bound(v, m, size, low, high, base):
    """Highest maintenance over prices in [low, high], USD; a rise of the multiplier is announced by `disturb`."""
    return scaled(v, m, size, high, base)


MECHANISM = Mechanism(
    name="adaptive_margin",
    stage=Stage.MARGIN_MODIFIERS,
    parameters=AdaptiveMargin,
    kernels={"maintenance": scaled, "initial": scaled, "update": update},
    bound=bound,
    state=(
        StateField("margin_multiplier", "market", "f8", "1", reset=1.0),
        StateField("realised_variance", "market", "f8", "1 / year"),
        StateField("sampled_oracle", "market", "f8", "USD"),
        StateField("standard_move", "market", "f8", "1"),
        StateField("own_square", "market", "f8", "1", reset=1.0),
        StateField("others_square", "market", "f8", "1", reset=1.0),
        StateField("excess_product", "market", "f8", "1"),
        StateField("reference_share", "market", "f8", "1", reset=1.0),
    ),
)
