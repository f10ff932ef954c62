"""The invariants and the exact twin on both presets, compiled: their rules with any parameters, books and paths.

Parameters are data of a compiled engine, so that one compilation serves every example. I9 on the presets:
tests/differential/test_culled_equals_exhaustive.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from stress.config import Protocol, load_protocol
from tests.property import test_invariants as invariants
from tests.property.compositions import blocks, books, rules, without_options
from tests.reference.ledger_twin import Tie
from tests.reference.test_ledger_twin import assert_agrees
from tests.venues import protocol_of

PROTOCOLS = Path(__file__).parents[2] / "configs" / "protocols"
PRESETS = ("reference", "hyperliquid")  # whose rules the exact twin knows
ALL = sorted(file.stem for file in PROTOCOLS.glob("*.yaml"))
ORDERS = st.permutations(range(3))
FUNDS = st.sampled_from([0.0, 30.0, 200.0, 1500.0])


@st.composite
def like(draw: st.DrawFn, preset: str, *, options: bool = True, **fixed) -> Protocol:
    """The preset's rules in its order, each with parameters of its own; stages given by keyword stay as they are."""
    protocol = load_protocol(PROTOCOLS / f"{preset}.yaml")
    stages = {"rounds_per_step": protocol.rounds_per_step}
    for stage, stated in protocol:
        if isinstance(stated, tuple) and stated and hasattr(stated[0], "rule"):
            stages[stage] = [draw(rules(rule.rule)) for rule in stated]
        elif hasattr(stated, "rule"):
            stages[stage] = draw(rules(stated.rule))
    if not options:
        stages = {stage: without_options(rule) for stage, rule in stages.items()}
    made = protocol_of(**(stages | fixed))
    assert [m.name for m, _ in made.rules()] == [m.name for m, _ in protocol.rules()]
    return made


def examined(claim, *of: st.SearchStrategy) -> None:
    """Hold a claim against examples."""
    # A failure is reported as it was found: shrinking one on compiled engines takes longer than the suite.
    settings(max_examples=50, phases=[Phase.explicit, Phase.generate])(given(*of)(claim))()


def agrees_with_the_twin(protocol, book, block):
    try:
        assert_agrees(protocol, book, block)
    except Tie:
        assume(False)


EVERYWHERE = [
    (invariants.test_i1_i2_i3_ledger_net_zero_and_fund, blocks(), []),
    (invariants.test_i8_grouping_and_order_of_paths_give_the_same_bytes, blocks(paths=3), [ORDERS]),
    (invariants.test_every_loss_has_a_payer_and_its_markets, blocks(), []),
]
CLAIMS = [
    (invariants.test_i4_no_claim_is_left_while_a_layer_can_pay_and_a_limit_explains_the_rest, blocks(), []),
    (invariants.test_i4_a_later_layer_pays_only_when_the_earlier_one_is_empty, blocks(), []),
]


@pytest.mark.slow  # a compilation for each preset
@pytest.mark.parametrize("preset", [name for name in ALL if name not in PRESETS])
@pytest.mark.parametrize(("claim", "paths", "more"), EVERYWHERE, ids=[claim.__name__[5:] for claim, _, _ in EVERYWHERE])
def test_every_preset_keeps(claim, paths, more, preset):
    examined(claim.hypothesis.inner_test, like(preset), books(), paths, *more)


CLAIMS += EVERYWHERE


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("claim", "paths", "more"), CLAIMS, ids=[claim.__name__[5:] for claim, _, _ in CLAIMS])
def test_a_preset_keeps(claim, paths, more, preset):
    examined(claim.hypothesis.inner_test, like(preset), books(), paths, *more)


@pytest.mark.parametrize("preset", PRESETS)
def test_i5_a_loss_that_a_preset_deleverages_is_allocated_or_left_over(preset):
    def claim(protocol, book, block):
        cell, _, outcome = invariants.played(protocol, book, block)
        invariants.the_loss_is_allocated_or_left_over(protocol, cell, outcome)

    examined(claim, like(preset), books(), blocks())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_agrees_with_its_exact_twin(preset):
    examined(agrees_with_the_twin, like(preset, options=False), books(largest=8), blocks(most_steps=30))


@pytest.mark.parametrize("preset", PRESETS)
def test_i6_equality_does_not_trigger_at_a_preset(preset):
    claim = invariants.test_i6_equality_does_not_trigger.hypothesis.inner_test
    plain = {
        "trigger": {"rule": "strict_trigger"},
        "funding": {"rule": "premium_clamp_funding"},  # due after an hour
        # An order with a limit may find no taker: then who is due is not liquidated.
        "execution": [
            {"rule": "order_book"},
            {"rule": "backstop_vault", "vault_equity": 300.0, "takeover_below": 0.7},
        ],
    }
    at = like(preset, margin=invariants.BINARY_MARGIN, **plain)
    examined(claim, at, st.integers(1, 4000), st.integers(1, 64), st.sampled_from([-1, 1]))


def test_i7_all_fund_sizes_of_the_reference_venue_share_the_path_up_to_the_first_exhaustion():
    claim = invariants.test_i7_all_fund_sizes_share_the_path_up_to_the_first_exhaustion.hypothesis.inner_test
    examined(claim, like("reference"), books(), blocks(), FUNDS)
