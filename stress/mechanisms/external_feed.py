"""External feed: one delayed source with a heartbeat and a deviation threshold.

Stage        oracle.
Formula      at step t the source at s = t - delay publishes X(s) if s is on the heartbeat (counted from
             t = 0 plus the phase) or |X(s) / last published - 1| >= deviation_threshold; O is the last
             published value. X = W moved by arbitrage_share x own impact. A heartbeat of 0 publishes
             every step; delay 0 with heartbeat 0 is read again in every round.
Source       Chainlink data feeds (heartbeat and deviation threshold), docs.chain.link; Pyth and
             Hyperliquid publish about every 3 s or faster (docs 2026-08).
Invariants   O(t) never uses a price later than t - delay; before t = 0 the price is that of t = 0.
Limits       one source per market; no noise of its own; dispersion between venues comes with several
             sources. Own impact seen through a delay is that at the end of the source's step. What an
             outage or a block swallowed is not caught up before the next heartbeat or deviation.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stress.kernels.halts import is_blocked
from stress.kernels.impact import displaced
from stress.kernels.jit import inlined
from stress.kernels.venue import ORACLE_UPDATE
from stress.stages import Delay, Mechanism, MechanismParameters, MustResolve, Seconds, Stage, format_duration


class ExternalFeed(MechanismParameters):
    """`oracle_delay` and `heartbeat` are durations; the threshold is a fraction, null for none."""

    oracle_delay: MustResolve = Field(description="age of the observation when it reaches the venue")
    heartbeat: MustResolve = Field(default=Delay(value=Seconds(0.0)), description="publishing interval; 0s = each step")
    heartbeat_phase: MustResolve = Field(default=Delay(value=Seconds(0.0)), description="offset of the first heartbeat")
    deviation_threshold: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="publish at once when the source moved by this fraction; null = never"
    )

    @model_validator(mode="after")
    def _acts(self) -> ExternalFeed:
        phase, beat = self.heartbeat_phase.value, self.heartbeat.value
        if phase > 0 and phase >= beat:
            raise ValueError(
                f"heartbeat_phase lies within one heartbeat; got {format_duration(phase)} of {format_duration(beat)}"
            )
        if beat == 0 and self.deviation_threshold is not None:
            raise ValueError("deviation_threshold acts between heartbeats, and a heartbeat of 0s publishes every step")
        return self

    def terms(self, market, step):
        """Return the kernel's fields; no threshold is a threshold that nothing reaches."""
        stated = self
        if self.deviation_threshold is None:
            stated = self.model_copy(update={"deviation_threshold": 1e300})
        return MechanismParameters.terms(stated, market, step)


@inlined
def observe(v, path, t, first_round):
    """Write O and the step of the observation behind it; see the module's formula."""
    markets, responses = v.markets, v.response_history
    for m in range(markets.shape[0]):
        market, terms = markets[m], v.terms[m]
        delay = terms["oracle_delay_steps"]
        beat = terms["heartbeat_steps"]
        fresh = delay == 0 and beat == 0
        if not first_round and not fresh:
            continue
        if is_blocked(v, m, t, ORACLE_UPDATE):
            continue
        s = t - delay if t > delay else 0
        if path.oracle_outage[s, m] != 0:
            continue
        price = market["source"]
        if delay > 0:
            carried = terms["arbitrage_share"] * responses[s, m]
            price = displaced(v, m, path.world[s, m], carried)
        on_beat = beat == 0 or (s - terms["heartbeat_phase_steps"]) % beat == 0
        if on_beat or t == 0 or abs(price / market["oracle"] - 1.0) >= terms["deviation_threshold"]:
            market["oracle"] = market["oracle_low"] = market["oracle_high"] = price
            market["oracle_step"] = s


MECHANISM = Mechanism(name="external_feed", stage=Stage.ORACLE, parameters=ExternalFeed, kernels={"observe": observe})
