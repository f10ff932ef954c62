"""The engine against its exact-arithmetic twin: cash, sizes, entries, fund and every part of the loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, event, given, settings

from stress import engine
from stress.config import load_protocol
from tests.property.compositions import STEP, blocks, books, protocols
from tests.reference.ledger_twin import RULES, Tie, Twin

pytestmark = pytest.mark.interpreted

CONFIGS = Path(__file__).parents[2] / "configs"


def rules_of(protocol):
    return {mechanism.name for mechanism, _ in protocol.rules()}


TWINNED = protocols(among=RULES).filter(lambda protocol: rules_of(protocol) <= RULES)


def assert_agrees(protocol, book, block):
    """Hold the engine's balances, positions and losses on one path against the twin's; return the outcome."""
    twin = Twin(protocol, book, block, STEP).run()
    cell = engine.build_cell(protocol, book, prices=block.world[0, 0], step=STEP)
    venue, outcome = engine.replay_venue(engine.compose(protocol), cell, block)
    out, close = outcome.paths[0], float(twin.scale) * 1e-9
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
    return out


@settings(max_examples=300)
@given(TWINNED, books(largest=8), blocks(most_steps=60))
def test_the_engine_agrees_with_its_exact_twin(protocol, book, block):
    try:
        out = assert_agrees(protocol, book, block)
    except Tie:
        assume(False)
    event(f"liquidated {out['liquidated_notional'] > 0}")
    event(f"adl {out['adl_notional'] > 0}, shared {out['socialized_loss'] > 0}")


@pytest.mark.parametrize("preset", ["reference", "hyperliquid"])
def test_the_twin_knows_the_rules_of_the_preset(preset):
    assert rules_of(load_protocol(CONFIGS / f"protocols/{preset}.yaml")) <= RULES
