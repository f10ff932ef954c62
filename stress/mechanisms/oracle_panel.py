"""Oracle panel: several sources, each with its own delay, rhythm and faults, combined by a median.

Stage        oracle.
Formula      source k publishes at step t what it saw at s = t - delay_k: X(s) x (1 + offset_k) x exp(noise_k x N(0, 1)),
             if s is on its heartbeat or the price moved by deviation_threshold_k since it last published; heartbeat 0:
             every step. It is silent in an outage of the scenario and in its own [outage_from, + outage_for).
             A manipulated source adds manipulation to its price in [manipulated_from, + manipulated_for): throughout, only
             in what its heartbeats publish, or only in the last manipulated_last of each average_window counted from
             t = 0, which moves a mean over the window by manipulation x manipulated_last / average_window; it costs
             `manipulation_cost`.
             Valid: seen within maximum_age, and within maximum_deviation of the median of all such. O = median,
             weighted median, or the stake-weighted median over validators of each one's weighted median. Where the
             valid ones hold less than `quorum` of all weight (stake), O falls back to the last value or the own mid.
             After a block of oracle updates ends, the panel stays silent for restart_lag.
Source       Hyperliquid docs, oracle.md (2026-08-22): weighted median per validator, then by stake; dYdX v4-chain x/prices
             @ 84d4664b: stake-weighted median, two thirds of the voting power; Chainlink: heartbeat and deviation.
Invariants   O lies between the lowest and the highest valid source, or is a fallback; no source sees beyond t - delay.
             One honest majority of the weight bounds what the others can do.
Limits       at most 8 sources and 8 validators; a source prices every market or those that it names. Noise is a function of the path (the price
             after its first step), market, source and step: paths that begin alike share it. Sources that see own
             impact see it alike (arbitrage_share).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.errors import StudyError
from stress.kernels.halts import is_blocked
from stress.kernels.impact import displaced
from stress.kernels.jit import inlined, kernel
from stress.kernels.medians import weighted_median
from stress.kernels.rng import SOURCE_NOISE, market_id, normal, round_keys, stream_of, uniforms
from stress.kernels.venue import ORACLE_UPDATE
from stress.stages import (
    Delay,
    Mechanism,
    MechanismParameters,
    MeetsStep,
    MustResolve,
    RoundedUp,
    Seconds,
    Stage,
    StateField,
    format_duration,
)

MOST = 8
AT_HEARTBEATS, AT_WINDOWS = 1, 2
NEVER = 1e300
_KEYS = round_keys(0, stream_of("oracle_panel"))
_NONE = Delay(value=Seconds(0.0))


class OracleSource(BaseModel):
    """One source of prices: an exchange, a feed, a node."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, description="name of the source")
    weight: float = Field(default=1.0, gt=0, description="weight in the weighted median")
    validator: str = Field(default="", description="who reports it, for the stake-weighted median")
    delay: MustResolve = Field(default=_NONE, description="age of an observation when it reaches the venue")
    heartbeat: MustResolve = Field(default=_NONE, description="publishing interval; 0s = each step")
    heartbeat_phase: MustResolve = Field(default=_NONE, description="offset of the first heartbeat")
    deviation_threshold: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="publish at such a move"
    )
    offset: float = Field(
        default=0.0, gt=-1, lt=1, description="constant distance from the external price (dispersion)"
    )
    noise: float = Field(default=0.0, ge=0, lt=1, description="standard deviation of a published price, fraction")
    outage_from: RoundedUp = Field(default=Seconds(0.0), description="time on the path at which it falls silent")
    outage_for: RoundedUp = Field(default=Seconds(0.0), description="how long; 0s = not at all")
    manipulation: float = Field(default=0.0, gt=-1, description="move of its price while manipulated, fraction")
    manipulated_from: RoundedUp = Field(default=Seconds(0.0), description="time on the path at which it begins")
    manipulated_for: RoundedUp = Field(default=Seconds(0.0), description="how long")
    manipulated_at: Literal["throughout", "heartbeats", "windows"] = Field(
        default="throughout", description="all the time, only in what heartbeats publish, or only as windows end"
    )
    manipulated_window: RoundedUp = Field(default=Seconds(0.0), description="windows: length of the averaging window")
    manipulated_last: RoundedUp = Field(default=Seconds(0.0), description="windows: how long before each one's end")
    prices: tuple[str, ...] | None = Field(default=None, min_length=1, description="markets it has; null = every one")
    depth_usd: float | None = Field(default=None, gt=0, description="its depth within 1 %, one side; for the cost")
    replenished_in: Seconds = Field(default=Seconds(60.0), gt=0, description="time in which its depth comes back")


class OraclePanel(MechanismParameters):
    """`sources` and how they become one price."""

    sources: tuple[OracleSource, ...] = Field(min_length=1, max_length=MOST, description="where prices come from")
    combine: Literal["median", "weighted_median", "stake_weighted_median"] = Field(
        default="median", description="how valid sources become one price"
    )
    stakes: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None, description="voting power of each validator; null = no validators"
    )
    quorum: float = Field(default=0.5, ge=0, le=1, description="least share of weight (stake) that must be valid")
    maximum_age: Seconds | None = Field(default=None, gt=0, description="oldest observation that is valid; null = any")
    maximum_deviation: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="largest distance from the median of a valid source; null = any"
    )
    fallback: Literal["last", "own_mid"] = Field(default="last", description="what stands in below the quorum")
    restart_lag: RoundedUp = Field(default=Seconds(0.0), description="silence after a block of updates ends")

    @model_validator(mode="after")
    def _whole(self) -> OraclePanel:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"every source has a name of its own; got {names}")
        validators = {source.validator for source in self.sources}
        stakes = self.stakes or {}
        if self.combine == "stake_weighted_median" and (validators != stakes.keys() or len(validators) > MOST):
            raise ValueError(f"`stakes` names the validators of the sources, at most {MOST}; got {sorted(stakes)}")
        for source in self.sources:
            if source.heartbeat.value == 0 and (source.deviation_threshold or source.heartbeat_phase.value):
                raise ValueError(f"{source.name}: a heartbeat of 0s publishes every step: no threshold, no phase")
            if source.manipulated_at == "heartbeats" and source.heartbeat.value == 0:
                raise ValueError(f"{source.name}: manipulated at heartbeats, it needs one above 0s")
            timed = source.manipulated_at == "windows"
            if timed != (0 < source.manipulated_last < source.manipulated_window):
                raise ValueError(f"{source.name}: manipulated at windows, 0s < manipulated_last < manipulated_window")
        return self

    def terms(self, market, step):
        """Return the kernel's fields: one array over sources for each of their parameters."""
        columns = {name: np.zeros(MOST) for name in _COLUMNS}
        validators = sorted(self.stakes or {})
        sources = [source for source in self.sources if source.prices is None or market in source.prices]
        if not sources:
            raise StudyError(
                "no source prices this market", key="sources", value=market, fix="add one, or widen `prices`"
            )
        for k, source in enumerate(sources):
            own = _seconds_of(source, step)
            columns["source_weight"][k] = 1.0 if self.combine == "median" else source.weight
            columns["source_validator"][k] = validators.index(source.validator) if validators else 0
            columns["source_threshold"][k] = source.deviation_threshold or NEVER
            columns["source_offset"][k], columns["source_noise"][k] = source.offset, source.noise
            columns["source_manipulation"][k] = source.manipulation
            columns["source_manipulated_at"][k] = ("throughout", "heartbeats", "windows").index(source.manipulated_at)
            for name, steps in own.items():
                columns[f"source_{name}"][k] = steps
        stakes = np.zeros(MOST)
        stakes[: len(validators)] = [(self.stakes or {})[name] for name in validators]
        return {
            **columns,
            "source_count": len(sources),
            "validator_stake": stakes,
            "by_stake": int(self.combine == "stake_weighted_median"),
            "oracle_quorum": self.quorum,
            "oracle_maximum_age": NEVER if self.maximum_age is None else float(self.maximum_age),
            "oracle_maximum_deviation": self.maximum_deviation or NEVER,
            "oracle_falls_back_to_mid": int(self.fallback == "own_mid"),
            "restart_lag_steps": math.ceil(self.restart_lag / step - 1e-9),
            "noise_market": market_id(market),
        }

    def notes(self) -> tuple[str, ...]:
        """Say which sources are manipulated, when, and what that costs."""
        found = []
        for source in self.sources:
            if source.manipulation != 0.0 and source.manipulated_for > 0:
                cost = "its cost is not stated (depth_usd)"
                if source.depth_usd is not None:
                    cost = f"that costs about {self.manipulation_cost(source.name):,.0f} USD"
                found.append(
                    f"Oracle source {source.name} is manipulated by {source.manipulation:+.1%} from "
                    f"{format_duration(source.manipulated_from)} for {format_duration(source.manipulated_for)}, "
                    f"{_timing(source)}; {cost}."
                )
        return tuple(found)

    def manipulation_cost(self, name: str) -> float:
        """Return what it costs to manipulate a source as stated, USD.

        Half the displaced notional is lost on the way there and back, once for every time that the depth is
        replenished: depth x (m / 1 %) x |m| / 2 x (1 + duration / replenished_in), duration 0 at heartbeats, where each
        of them is paid once; at windows it is paid in the last part of each.
        """
        source = next(source for source in self.sources if source.name == name)
        if source.depth_usd is None:
            raise ValueError(f"{name} states no depth_usd, without which a manipulation has no cost")
        move = abs(source.manipulation)
        once = source.depth_usd * move / 0.01 * move / 2.0
        if source.manipulated_at == "heartbeats":
            return once * math.ceil(source.manipulated_for / source.heartbeat.value)
        if source.manipulated_at == "windows":
            ends = math.ceil(source.manipulated_for / source.manipulated_window)
            return once * ends * (1.0 + source.manipulated_last / source.replenished_in)
        return once * (1.0 + source.manipulated_for / source.replenished_in)


def _timing(source: OracleSource) -> str:
    if source.manipulated_at == "windows":
        share = source.manipulated_last / source.manipulated_window
        return (
            f"in the last {format_duration(source.manipulated_last)} of each {format_duration(source.manipulated_window)}, "
            f"which moves a mean over it by {source.manipulation * share:+.2%}"
        )
    return "in what heartbeats publish" if source.manipulated_at == "heartbeats" else "throughout"


_TIMES = (
    "delay",
    "heartbeat",
    "heartbeat_phase",
    "outage_from",
    "outage_for",
    "manipulated_from",
    "manipulated_for",
    "manipulated_window",
    "manipulated_last",
)
_COLUMNS = (
    "source_weight",
    "source_validator",
    "source_threshold",
    "source_offset",
    "source_noise",
    "source_manipulation",
    "source_manipulated_at",
    *(f"source_{name}" for name in _TIMES),
)


def _seconds_of(source: OracleSource, step: float) -> dict[str, int]:
    """Return the durations of a source in steps; a delay that the step cannot resolve is refused or `at_step`."""
    found = {}
    for name in _TIMES:
        value = getattr(source, name)
        meets = next(m for m in type(source).model_fields[name].metadata if isinstance(m, MeetsStep))
        if isinstance(value, Delay):
            exact = abs(value.value / step - round(value.value / step)) < 1e-9
            value = value.value if exact or value.at_step is None else value.at_step
        found[name] = meets.steps(f"{source.name}.{name}", float(value), step)
    return found


@kernel
def _noise(v, path, m, k, s):
    """Standard normal of a source's observation of step s; the path is addressed by the bits of its first move."""
    first = np.float64(path.world[min(1, path.world.shape[0] - 1), m]).view(np.uint64)
    drawn = uniforms(_KEYS, v.terms[m]["noise_market"], s // 4, first, SOURCE_NOISE, k)
    lane = s % 4
    u = drawn[0] if lane == 0 else drawn[1] if lane == 1 else drawn[2] if lane == 2 else drawn[3]
    return normal(u)


@inlined
def _is_timed(v, m, k, s, on_beat):
    """Tell whether step s is one in which source k's manipulation acts."""
    terms = v.terms[m]
    if terms["source_manipulated_at"][k] == AT_WINDOWS:
        return -s % int(terms["source_manipulated_window"][k]) < terms["source_manipulated_last"][k]
    return on_beat or terms["source_manipulated_at"][k] != AT_HEARTBEATS


@kernel
def _publish(v, path, m, k, t):
    """Let source k publish what is due at step t."""
    terms, state = v.terms[m], v.markets[m]
    s = max(0, t - int(terms["source_delay"][k]))
    since = s - int(terms["source_outage_from"][k])
    if path.oracle_outage[s, m] != 0 or 0 <= since < terms["source_outage_for"][k]:
        return
    price = state["source"]
    if s < t:
        price = displaced(v, m, path.world[s, m], terms["arbitrage_share"] * v.response_history[s, m])
    price *= 1.0 + terms["source_offset"][k]
    if terms["source_noise"][k] > 0.0:
        price *= math.exp(terms["source_noise"][k] * _noise(v, path, m, k, s))
    beat = int(terms["source_heartbeat"][k])
    on_beat = beat == 0 or (s - int(terms["source_heartbeat_phase"][k])) % beat == 0
    since = s - int(terms["source_manipulated_from"][k])
    if 0 <= since < terms["source_manipulated_for"][k] and _is_timed(v, m, k, s, on_beat):
        price *= 1.0 + terms["source_manipulation"][k]
    last = state["source_price"][k]
    if on_beat or last == 0.0 or abs(price / last - 1.0) >= terms["source_threshold"][k]:
        state["source_price"][k] = price
        state["source_step"][k] = s


@kernel
def _is_valid(v, m, k, t):
    age = (t - v.markets[m]["source_step"][k]) * v.step_seconds
    return v.markets[m]["source_price"][k] > 0.0 and age <= v.terms[m]["oracle_maximum_age"]


@kernel
def _collect(v, m, t, validator, around):
    """Put the valid sources of a validator (-1 = of all) near `around` (0 = anywhere) aside; return (count, weight)."""
    terms, state = v.terms[m], v.markets[m]
    count = 0
    weight = 0.0
    for k in range(terms["source_count"]):
        price = state["source_price"][k]
        if validator >= 0 and terms["source_validator"][k] != validator:
            continue
        if not _is_valid(v, m, k, t):
            continue
        if around > 0.0 and abs(price / around - 1.0) > terms["oracle_maximum_deviation"]:
            continue
        state["panel_price"][count] = price
        state["panel_weight"][count] = terms["source_weight"][k]
        weight += terms["source_weight"][k]
        count += 1
    return count, weight


@kernel
def combined(v, m, t):
    """Return (price, share of the weight behind it) of a panel at step t; (0, 0) where nothing is valid."""
    terms, state = v.terms[m], v.markets[m]
    total = 0.0
    for k in range(terms["source_count"]):
        total += terms["source_weight"][k]
    count, weight = _collect(v, m, t, -1, 0.0)
    if count == 0:
        return 0.0, 0.0
    centre = weighted_median(state["panel_price"], state["panel_weight"], count)
    if terms["by_stake"] == 0:
        count, weight = _collect(v, m, t, -1, centre)
        return weighted_median(state["panel_price"], state["panel_weight"], count), weight / total
    reporting = 0
    voting = 0.0
    total = 0.0
    for validator in range(MOST):
        stake = terms["validator_stake"][validator]
        total += stake
        if stake > 0.0:
            count, _ = _collect(v, m, t, validator, centre)
            if count > 0:
                state["validator_price"][reporting] = weighted_median(
                    state["panel_price"], state["panel_weight"], count
                )
                state["validator_weight"][reporting] = stake
                voting += stake
                reporting += 1
    return weighted_median(state["validator_price"], state["validator_weight"], reporting), voting / total


@kernel
def observe(v, path, t, first_round):
    """Let the sources publish, combine them and write O, its step and its range; see the module's formula."""
    for m in range(v.markets.shape[0]):
        terms, state = v.terms[m], v.markets[m]
        if is_blocked(v, m, t, ORACLE_UPDATE):
            state["updates_blocked_at"] = t
            continue
        if t - state["updates_blocked_at"] <= terms["restart_lag_steps"]:
            continue
        for k in range(terms["source_count"]):
            if first_round or (terms["source_delay"][k] == 0.0 and terms["source_heartbeat"][k] == 0.0):
                _publish(v, path, m, k, t)
        price, share = combined(v, m, t)
        if price <= 0.0 or share < terms["oracle_quorum"]:
            if terms["oracle_falls_back_to_mid"] == 1:
                state["oracle"] = state["mid"]
                state["oracle_low"] = state["oracle_high"] = state["mid"]
            continue
        state["oracle"] = price
        state["oracle_low"] = state["oracle_high"] = price
        for k in range(terms["source_count"]):
            near = abs(state["source_price"][k] / price - 1.0) <= terms["oracle_maximum_deviation"]
            if near and _is_valid(v, m, k, t):
                state["oracle_low"] = min(state["oracle_low"], state["source_price"][k])
                state["oracle_high"] = max(state["oracle_high"], state["source_price"][k])
                state["oracle_step"] = max(state["oracle_step"], state["source_step"][k])


MECHANISM = Mechanism(
    name="oracle_panel",
    stage=Stage.ORACLE,
    parameters=OraclePanel,
    kernels={"observe": observe},
    state=(
        StateField("source_price", "market", "f8", "USD", shape=(MOST,)),
        StateField("source_step", "market", "i8", "step", shape=(MOST,)),
        StateField("panel_price", "market", "f8", "USD", shape=(MOST,)),
        StateField("panel_weight", "market", "f8", "1", shape=(MOST,)),
        StateField("validator_price", "market", "f8", "USD", shape=(MOST,)),
        StateField("validator_weight", "market", "f8", "1", shape=(MOST,)),
        StateField("updates_blocked_at", "market", "i8", "step", reset=-(2.0**40)),
    ),
)
