"""Water-filling: the most levered winners come down to one leverage."""

from __future__ import annotations

import pytest

from stress.mechanisms.adl_water_filling import water_level
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, row_of, run_one

pytestmark = pytest.mark.interpreted

LAYER = {"rule": "adl_water_filling", "adl_price": "mark", "adl_when": "negative_equity"}


# The worked example of arXiv 2603.15963: equities 10, 10, 10; sizes 100, 50, 20 at price 1.
@pytest.mark.parametrize(
    ("rest", "level", "reductions"),
    [(40.0, 6.0, (40.0, 0.0, 0.0)), (80.0, 3.5, (65.0, 15.0, 0.0)), (170.0, 0.0, (100.0, 50.0, 20.0))],
)
def test_level_and_reductions_of_the_worked_example(rest, level, reductions):
    book = one_market_book(
        [10.0, 10.0, 10.0, 1e4], [-100.0, -50.0, -20.0, rest], [1.0, 1.0, 1.0, 1.0], makers_equity=0.0
    )
    venue = at_rest(protocol_of(waterfall=[LAYER]), book, [1.0])
    venue.accounts[venue.traders]["cash"] = -1.0  # nobody but the three
    assert water_level(venue, 0, 1.0, rest) == pytest.approx(level)
    book = one_market_book(
        [10.0, 10.0, 10.0, 1.0], [-100.0, -50.0, -20.0, rest], [1.0, 1.0, 1.0, 1.0 + 2.0 / rest], makers_equity=0.0
    )
    venue, out = run_one(
        protocol_of(waterfall=[LAYER], trigger={"rule": "strict_trigger", "keeper_latency": "1h"}),
        book,
        one_market_paths([1.0, 1.0], depth=0.0),
    )
    left = [row_of(venue, f"A{a}")[0] for a in range(3)]
    assert left == pytest.approx([-100.0 + reductions[0], -50.0 + reductions[1], -20.0 + reductions[2]], abs=1e-6)
    assert row_of(venue, "A3")[0] == pytest.approx(0.0, abs=1e-9)
    assert out["adl_shortfall"] == 0.0  # at the mark
