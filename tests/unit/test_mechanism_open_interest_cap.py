"""Open-interest cap: nothing is opened at the cap."""

from __future__ import annotations

import pytest

from stress.kernels.halts import is_blocked
from stress.kernels.venue import LIQUIDATE, OPEN
from tests.venues import one_market_book, one_market_paths, protocol_of, run_one

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize(("cap", "blocked"), [(1000.0, True), (1000.1, False)])
def test_the_larger_side_at_the_mark_counts(cap, blocked):
    rule = {"rule": "open_interest_cap", "interest_cap": cap}
    book = one_market_book([1e6, 1e6], [10.0, -4.0], [100.0, 100.0])
    venue, _ = run_one(protocol_of(breakers=[rule]), book, one_market_paths([100.0, 100.0]))
    assert is_blocked(venue, 0, 1, OPEN) == blocked
    assert not is_blocked(venue, 0, 1, LIQUIDATE)
