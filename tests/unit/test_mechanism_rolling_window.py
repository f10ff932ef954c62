"""A cap on what a market closes in any window of time."""

from __future__ import annotations

import pytest

from stress.errors import StudyError
from stress.mechanisms.rolling_window import RollingWindow, on_fill, quantity
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def venue(size=1000.0, step=10.0, **rule):
    """Capacity (0.2 % + 0.3 %) x 1,000 x 0.5 x 40 s = 100 units in four steps."""
    stated = {
        "maker_fee": 0.002,
        "taker_fee": 0.003,
        "skew_scale_of_window": 1000.0,
        "window_multiplier": 0.5,
        "window": "40s",
        **rule,
    }
    return venue_of({"X": 1.0}, [(0.0, {0: (size, 1.0)})], size={"rule": "rolling_window", **stated}, step=step)


def close(v, t, most=None):
    closed = quantity(v, 0, 0, 0.0, 1.0, 0.0, t, None, None)
    closed = closed if most is None else min(closed, most)
    v.rows[0]["size"] -= closed
    on_fill(v, 0, 0, closed, 1.0, t)
    return closed


def test_what_was_filled_counts_for_a_window():
    v = venue()
    assert [close(v, 1, 30.0), close(v, 2, 50.0), close(v, 3)] == pytest.approx([30.0, 50.0, 20.0])
    assert close(v, 4) == 0.0
    assert [close(v, 5), close(v, 6), close(v, 7)] == pytest.approx([30.0, 50.0, 20.0])  # as slots fall out
    assert close(v, 80) == pytest.approx(100.0)  # slots are used again after 64 steps


def test_a_calm_market_closes_one_more_capacity_per_step():
    v = venue(calm_skew=0.9)
    assert close(v, 1) == pytest.approx(100.0)  # skew 900 / 1,000 is not below 0.9
    assert close(v, 1) == 0.0
    v.rows[0]["size"] = 800.0
    assert close(v, 1) == pytest.approx(100.0)
    assert close(v, 1) == 0.0
    assert close(v, 2) == pytest.approx(100.0)


def test_a_window_shorter_than_the_step_allows_as_many_as_fit():
    assert quantity(venue(step=120.0), 0, 0, 0.0, 1.0, 0.0, 1, None, None) == pytest.approx(300.0)


def test_too_long_a_window_is_refused():
    rule = RollingWindow(maker_fee=0, taker_fee=0.1, skew_scale_of_window=1, window_multiplier=1, window="2h")
    with pytest.raises(StudyError, match="at most 64 steps"):
        rule.terms("X", 60.0)
