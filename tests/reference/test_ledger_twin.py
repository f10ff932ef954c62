"""The engine against its exact-arithmetic twin: cash, sizes, entries, fund and every part of the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, event, given, settings

from stress import engine
from tests.property.compositions import STEP, blocks, books, protocols, rules
from tests.reference.ledger_twin import Tie, Twin

pytestmark = pytest.mark.interpreted

# What the twin knows: breakers, square-root impact and the median mark are not part of it.
TWINNED = protocols(impact=rules("linear_impact"), mark=rules("oracle_mark"), breakers=[])


@settings(max_examples=200)
@given(TWINNED, books(largest=8), blocks(most_steps=60))
def test_the_engine_agrees_with_its_exact_twin(protocol, book, block):
    try:
        twin = Twin(protocol, book, block, STEP).run()
    except Tie:
        assume(False)
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    venue, outcome = engine.replay_venue(engine.compose(protocol), cell, block)
    out, close = outcome.paths[0], float(twin.scale) * 1e-9
    event(
        f"liquidated {out['liquidated_notional'] > 0}, adl {out['adl_notional'] > 0}, shared {out['socialized_loss'] > 0}"
    )
    index = venue.markets["funding_index"]
    settled = venue.accounts["cash"].copy()  # with funding due, which the last fill of a row may have settled or not
    for row in venue.rows:
        position = twin.held[row["account"]][m := int(row["market"])]
        settled[row["account"]] -= row["size"] * (index[m] - row["settled_index"])
        twin.cash[row["account"]] -= position.size * (twin.index[m] - position.settled)
        assert abs(row["size"] - float(position.size)) * block.world[0, 0, m] <= close
        assert abs(row["entry_notional"] - float(position.entry)) <= close
    np.testing.assert_allclose(settled, [float(cash) for cash in twin.cash], rtol=0, atol=close)
    for name, exact in twin.parts.items():
        assert abs(out[name] - float(exact)) <= close, name
