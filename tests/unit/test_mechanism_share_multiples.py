"""The smallest multiple of a share that restores the target ratio."""

from __future__ import annotations

import pytest

from stress.mechanisms.share_multiples import after_share, quantity, smallest_share
from stress.peers.standing import venue_of

pytestmark = pytest.mark.interpreted


def test_the_worked_table_by_hand():
    # Paradex: equity 80, requirement 88.8, penalty 50 %.
    assert after_share(80.0, 88.8, 0.2, 0.5) == pytest.approx((71.04, 8.88, 71.12))
    assert after_share(80.0, 88.8, 0.6, 0.5) == pytest.approx((35.52, 26.64, 53.36))
    assert smallest_share(80.0, 88.8, 0.2, 0.9, 0.5) == pytest.approx(0.4)  # 53.28 / 62.24 = 0.856
    assert smallest_share(-5.0, 88.8, 0.2, 0.9, 0.5) == 1.0
    assert smallest_share(80.0, 88.8, 1.0, 0.9, 0.5) == 1.0


def test_every_row_of_a_round_is_reduced_by_one_share():
    rule = {"rule": "share_multiples", "share_step": 0.2, "target_margin_ratio": 0.9, "penalty_rate": 0.5}
    venue = venue_of({"X": 1.0, "Y": 1.0}, [(0.0, {0: (100.0, 1.0), 1: (-50.0, 1.0)})], size=rule)
    assert quantity(venue, 0, 0, 80.0, 88.8, 0.0, 1, None, None) == pytest.approx(40.0)
    # After the first row equity and requirement are others; the share of the round stays.
    assert quantity(venue, 0, 1, 80.0, 20.0, 0.0, 1, None, None) == pytest.approx(20.0)
    venue.venue[0]["round"] += 1.0
    assert quantity(venue, 0, 1, 80.0, 70.0, 0.0, 1, None, None) == pytest.approx(10.0)
