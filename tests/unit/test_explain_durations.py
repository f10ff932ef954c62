"""`explain` lists every duration of a protocol, also those inside sources, tiers and assets."""

from __future__ import annotations

from stress.design.explain import time_constants
from tests.venues import protocol_of


def test_durations_inside_lists_and_mappings_are_listed():
    protocol = protocol_of(
        oracle={
            "rule": "oracle_panel",
            "sources": [{"name": "a", "delay": {"value": "3s", "at_step": "0s"}}, {"name": "b"}],
        },
        collateral=[
            {
                "rule": "collateral_weights",
                "markets": {"ETH": {"initial_weight": 0.5, "maintenance_weight": 0.6, "frozen_for": "90s"}},
            }
        ],
        size={"rule": "portion_with_caps", "minimum_notional": 1.0, "portion": 0.1, "account_block_limit": 1.0},
    )
    found = {constant.name: constant for constant in time_constants(protocol, 60.0)}
    assert (found["oracle.sources.0.delay"].seconds, found["oracle.sources.0.delay"].used) == (3.0, 0.0)
    assert found["oracle.sources.1.delay"].steps == 0
    assert found["collateral.0.markets.ETH.frozen_for"].used == 120.0
    assert (found["size.block_time"].rule, found["size.block_time"].used) == ("per_step", 1.0)
