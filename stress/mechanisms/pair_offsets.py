"""Pair offsets: an account that is long one market and short a correlated one is asked for less.

Stage        margin_modifiers.
Formula      for each pair in the order stated, where the account's positions have opposite signs: h = the smaller of the two
             notionals that earlier pairs have not used; saved = offset_credit x h x (r_one + r_other), r = the position's
             maintenance / notional. Requirement of the account = sum over positions - saved.
Source       CME, SPAN methodology: inter-commodity spread credit at a delta-based spread (read 2026-11); here the spread is
             one USD against one USD.
Invariants   0 <= saved <= largest credit x sum of the positions' maintenance; no notional is credited twice; none without
             both sides.
Limits       maintenance only: initial margin gets no credit. The share of a position in its account's equity
             (bankruptcy price) is that of its own maintenance; a size rule that solves for one position takes the
             credit as it stands, so closing one leg may need another round. Culling reckons without the credit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stress.kernels.jit import kernel
from stress.stages import Mechanism, MechanismParameters, Stage, StateField

MOST = 8
ONE, OTHER = 1, 2


class OffsetPair(BaseModel):
    """Two markets whose opposite positions stand against each other."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    one: str = Field(description="a market")
    other: str = Field(description="the market that moves with it")
    offset_credit: float = Field(ge=0, lt=1, description="share of the hedged maintenance that is not asked for")


class PairOffsets(MechanismParameters):
    """`pairs` in the order in which they are served."""

    pairs: tuple[OffsetPair, ...] = Field(min_length=1, max_length=MOST, description="markets, and what they save")

    @model_validator(mode="after")
    def _distinct(self) -> PairOffsets:
        named = [frozenset((pair.one, pair.other)) for pair in self.pairs]
        if any(len(pair) == 1 for pair in named) or len(set(named)) != len(named):
            raise ValueError("a pair has two markets and stands once")
        return self

    def terms(self, market: str, step: float) -> dict[str, Any]:
        """Return the market's place in each pair (0 = none) and the credits, one column per pair."""
        place, credit = np.zeros(MOST), np.zeros(MOST)
        for k, pair in enumerate(self.pairs):
            place[k] = ONE if market == pair.one else OTHER if market == pair.other else 0
            credit[k] = pair.offset_credit
        return {"offset_place": place, "offset_credit": credit, "offset_pairs": len(self.pairs)}


@kernel
def offset(v, a, maintenance):
    """What the account's pairs save, USD >= 0."""
    start, end = v.accounts[a]["row_start"], v.accounts[a]["row_end"]
    if end - start < 2:
        return 0.0
    for r in range(start, end):
        v.rows[r]["unpaired"] = abs(v.rows[r]["size"]) * v.markets[v.rows[r]["market"]]["mark"]
    saved = 0.0
    for k in range(v.terms[0]["offset_pairs"]):
        one, other = -1, -1
        for r in range(start, end):
            place = v.terms[v.rows[r]["market"]]["offset_place"][k]
            if place == ONE:
                one = r
            elif place == OTHER:
                other = r
        if one < 0 or other < 0 or not v.rows[one]["size"] * v.rows[other]["size"] < 0.0:
            continue
        hedged = min(v.rows[one]["unpaired"], v.rows[other]["unpaired"])
        v.rows[one]["unpaired"] -= hedged
        v.rows[other]["unpaired"] -= hedged
        saved += v.terms[0]["offset_credit"][k] * hedged * (_rate(v, one, maintenance) + _rate(v, other, maintenance))
    return saved


@kernel
def _rate(v, r, maintenance):
    m = v.rows[r]["market"]
    size, price = v.rows[r]["size"], v.markets[m]["mark"]
    return maintenance(v, m, size, price) / (abs(size) * price)


MECHANISM = Mechanism(
    name="pair_offsets",
    stage=Stage.MARGIN_MODIFIERS,
    parameters=PairOffsets,
    kernels={"offset": offset},
    state=(StateField("unpaired", "row", "f8", "USD: scratch"),),
)
