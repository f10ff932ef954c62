"""Median-of-three mark: median(O + EMA(V - O), V, E), with the averages written out. Step 60 s, tau 150 s."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from stress.kernels.venue import MARK_UPDATE
from stress.mechanisms.median_of_three_mark import MedianOfThreeMark, mark
from tests.venues import at_rest, one_market_book, one_market_paths, protocol_of, trace_one

pytestmark = pytest.mark.interpreted

MARK = {"rule": "median_of_three_mark"}
FLAT = one_market_book([1e6], [1e-9], [100.0])
KEEP = math.exp(-60 / 150)


def marks(world, *, premium=0.0, external=0.0, venue_outage=0, book=FLAT, **stages):
    external = np.asarray(external, float).reshape(1, -1, 1) if np.ndim(external) else external
    paths = one_market_paths(world, premium=premium, external_premium=external, depth=100.0, venue_outage=venue_outage)
    return trace_one(protocol_of(mark=MARK | stages.pop("mark", {}), **stages), book, paths)


def test_the_documents_example_10020_10006_10013_gives_10013():
    # Oracle 10,000 with an average premium of 20; book 10,006; external perpetuals 10,013.
    venue = at_rest(protocol_of(mark=MARK), one_market_book([1e6], [1e-9], [10_000.0]), [10_000.0])
    state = venue.markets[0]
    state["premium_num"], state["premium_den"] = 20.0 * 3.0, 3.0
    state["mid"], state["external"] = 10_006.0, 10_013.0
    mark(venue, None, 11, False)  # a later round takes no sample
    assert state["mark"] == 10_013.0
    state["external"] = 10_030.0
    mark(venue, None, 11, False)
    assert state["mark"] == 10_020.0
    state["external"] = 9_990.0
    mark(venue, None, 11, False)
    assert state["mark"] == 10_006.0


def test_the_first_sample_is_the_premium_itself():
    # V = 101, E = 110: O + EMA = V, so the mark is V.
    assert marks([100.0, 100.0], premium=0.01, external=0.1)["mark_price"][0] == 101.0


def test_the_premium_average_by_hand():
    # V - O = 0, then 2: EMA(1) = (0 x KEEP + 2 x 60) / (60 x KEEP + 60) = 2 / (1 + KEEP) = 1.197; with
    # V = 102 and E = 101.3 the mark is O + 1.197 = 101.197 if that is the middle: it is the lowest, so E.
    trace = marks([100.0] * 3, premium=[0.0, 0.02, 0.02], external=[0.0, 0.013, 0.0])
    assert trace["mark_price"][1] == pytest.approx(101.3)
    # Step 2: EMA = (2 KEEP + 2) / (KEEP^2 + KEEP + 1) = 1.5527 lies between E = 100 and V = 102.
    assert trace["mark_price"][2] == pytest.approx(100.0 + 2 * (KEEP + 1) / (KEEP**2 + KEEP + 1))


def test_a_spike_of_the_own_mid_alone_does_not_carry_the_mark():
    # V jumps by 10 %, E does not, EMA follows a part: the mark is the average premium, not V.
    trace = marks([100.0, 100.0], premium=[0.0, 0.1], external=0.0)
    assert trace["mark_price"][1] == pytest.approx(100.0 + 10.0 / (1 + KEEP))


def test_the_average_is_sampled_once_per_step_while_mid_and_external_are_fresh_in_every_round():
    # Long 10 at 100 with cash 40 is liquidated at mark 96.5; depth 100, so z = -0.1 and V falls by 0.1 %.
    # At the end of the step: O + EMA = 96.5 (sampled before the fill), V = E = 96.5 x 0.999 (pi = 1).
    book = one_market_book([40.0], [10.0], [100.0])
    impact = {"rule": "linear_impact", "arbitrage_share": 1.0, "permanent": 1.0}
    trace = marks(
        [100.0, 96.5, 96.5], book=book, impact=impact, oracle={"rule": "external_feed", "oracle_delay": "60s"}
    )
    # Step 1: O = 100, V = 96.5: sample -3.5; O + EMA = 100 - 3.5 / (1 + KEEP) > V = E, so M = 96.5.
    assert trace["liquidated_notional"][1] == pytest.approx(965.0)
    assert trace["mark_price"][1] == pytest.approx(96.5 * 0.999)  # the second round saw the fill
    # Step 2: O = 96.5 x 0.999 (the source at the end of step 1), V = E = the same; the samples are 0,
    # -3.5 and 0: one for each step, none for the rounds. The mark is V.
    assert trace["mark_price"][2] == pytest.approx(96.5 * 0.999)


def test_a_blocked_mark_stands_still_while_the_average_goes_on():
    blocked = np.array([[0, MARK_UPDATE, MARK_UPDATE, 0]], np.uint8)
    trace = marks([100.0] * 4, premium=[0.0, 0.02, 0.02, 0.02], external=0.0, venue_outage=blocked)
    assert trace["mark_price"][1:3].tolist() == [100.0, 100.0]
    weights = KEEP ** np.arange(4)
    assert trace["mark_price"][3] == pytest.approx(100.0 + 2 * weights[:3].sum() / weights.sum())


def test_the_time_constant_is_exact_for_any_step():
    # A constant premium averages to itself, whatever tau; tau -> 0 leaves the last sample only.
    trace = marks([100.0] * 3, premium=[0.0, 0.0, 0.02], external=0.1, mark={"premium_ema": "1s"})
    assert trace["mark_price"][2] == pytest.approx(102.0, rel=1e-12)


@pytest.mark.parametrize("value", ["0s", 150, "-1s", "soon"])
def test_a_time_constant_that_is_none_is_refused(value):
    with pytest.raises(ValidationError, match="premium_ema"):
        MedianOfThreeMark(premium_ema=value)
