"""Grandfathered positions over random venues: the ends are the two sets of terms, and culling stays exact (I9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress import engine
from stress.config import Protocol
from tests.property.compositions import STEP, blocks, books, protocols, rules

pytestmark = pytest.mark.interpreted

tiers = rules("tiered_margin")
# A funding clamp that follows margin follows the new terms: it is no position's rate.
without_clamp = protocols(margin=tiers, funding=st.none() | rules("velocity_funding"))


def run(protocol, book, block, *, culled=True, **kept):
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP, **kept)
    chosen = engine.compose(protocol, culled=culled, grandfathered=cell.grandfathered)
    outcome = engine.simulate(chosen, cell, block)
    return outcome.paths.tobytes(), outcome.markets.tobytes()


@given(old=without_clamp, margin=tiers, book=books(), block=blocks(), turnover=st.floats(0.0, 1.0))
def test_old_and_new_terms_are_the_ends_and_i9_holds_between(old, margin, book, block, turnover):
    new = Protocol.model_validate(old.model_dump(by_alias=True) | {"margin": margin})
    assert run(new, book, block, before=old, turnover=0.0) == run(old, book, block)
    assert run(new, book, block, before=old, turnover=1.0) == run(new, book, block)
    assert run(old, book, block, before=old, turnover=turnover) == run(old, book, block)
    between = {"before": old, "turnover": turnover}
    assert run(new, book, block, **between) == run(new, book, block, culled=False, **between)
