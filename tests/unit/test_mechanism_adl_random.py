"""Random deleveraging: round once from an addressed place, whoever overlaps."""

from __future__ import annotations

import numpy as np
import pytest

from stress import engine
from stress.mechanisms.adl_random import may_close
from tests.venues import book_of, one_market_book, one_market_paths, protocol_of, row_of, run_one

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


@pytest.mark.parametrize(
    ("cash", "price", "may"),
    [
        (600.0, 96.0, True),  # 616 left covers 500 to open, though 616 / 250 is less than 640 / 259
        (484.0, 96.0, True),  # 500 left is just enough
        (480.0, 96.0, False),  # 496 does not, and 496 / 250 < 520 / 259
        (450.0, 91.0, True),  # nor does 486, but 486 / 250 > 490 / 259: no riskier
        (-500.0, 90.0, False),  # at the mark equity stays at -460, and less stands behind it
    ],
)
def test_a_winner_is_left_at_its_initial_requirement_or_no_riskier(cash, price, may):
    # Short 4 X from 100, now at 90, and long 100 Y at 100: equity is cash + 40; 2.5 % to keep, 5 % to open.
    book = book_of(("X", "Y"), [cash], [[(0, -4.0, 100.0), (1, 100.0, 100.0)]])
    prices = np.array([90.0, 100.0])
    venue = engine.open_venue(engine.build_cell(protocol_of(), book, prices=prices, step=60.0), prices)
    margins = [lambda v, m, size, price, rate=rate: rate * abs(size) * price for rate in (0.025, 0.05)]
    assert may_close(venue, 0, 4.0, price, *margins) == may


def test_a_winner_that_the_price_would_bankrupt_is_passed_over():
    # Bankruptcy price 96: closing 4 costs a short 24 of its equity at the mark of 90. The second short has 10.
    book = one_market_book([40.0, -30.0, 500.0], [10.0, -4.0, -6.0], [100.0, 100.0, 100.0])
    venue, _ = run_one(protocol_of(waterfall=[LAYER]), book, CRASH)
    assert row_of(venue, "A1")[0] == -4.0
    assert row_of(venue, "A2")[0] == 0.0
    venue, _ = run_one(protocol_of(waterfall=[LAYER | {"adl_overlap": "ignored"}]), book, CRASH)
    assert row_of(venue, "A1")[0] == 0.0
