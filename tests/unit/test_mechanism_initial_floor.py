"""A floor under initial margin, as a share of notional."""

from __future__ import annotations

import pytest

from stress.engine import requirement
from stress.mechanisms.initial_floor import initial
from stress.peers.standing import protocol_of, venue_of

pytestmark = pytest.mark.interpreted


def test_the_floor_lifts_what_lies_below_it():
    rule = {"rule": "initial_floor", "initial_floor_share": 0.1}
    venue = venue_of({"X": 100.0}, [], margin_modifiers=[rule])
    assert initial(venue, 0, 3.0, 100.0, 15.0) == pytest.approx(30.0)
    assert initial(venue, 0, -3.0, 100.0, 45.0) == 45.0


def test_books_see_it_and_maintenance_does_not():
    protocol = protocol_of(margin_modifiers=[{"rule": "initial_floor", "initial_floor_share": 0.1}])
    chosen = [mechanism for mechanism, _ in protocol.rules()]
    venue = venue_of({"X": 100.0}, [], margin_modifiers=[{"rule": "initial_floor", "initial_floor_share": 0.1}])
    assert requirement(chosen, "initial")(venue, 0, 3.0, 100.0) == pytest.approx(30.0)  # 20x alone would ask 15
    assert requirement(chosen, "maintenance")(venue, 0, 3.0, 100.0) == pytest.approx(7.5)
