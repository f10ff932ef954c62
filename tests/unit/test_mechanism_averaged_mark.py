"""Time averages of oracle or mid as the mark. Step 60 s."""

from __future__ import annotations

import math

import pytest

from stress.errors import StudyError
from stress.mechanisms.averaged_mark import AveragedMark
from tests.venues import one_market_book, one_market_paths, protocol_of, trace_one

pytestmark = pytest.mark.interpreted


def marks(world, premium=0.0, **rule):
    protocol = protocol_of(mark={"rule": "averaged_mark", **rule})
    book = one_market_book([1e9], [1e-9], [100.0])
    return trace_one(protocol, book, one_market_paths(world, premium=premium))["mark_price"].tolist()


def test_twap_by_hand():
    assert marks([100.0, 106.0, 112.0, 100.0, 100.0], average_window="180s") == pytest.approx(
        [100.0, 103.0, 106.0, 106.0, 104.0]
    )


def test_ema_by_hand():
    keep = math.exp(-0.5)
    assert marks([100.0, 110.0, 110.0], average="ema", average_window="120s") == pytest.approx(
        [
            100.0,
            (100.0 * keep + 110.0) / (keep + 1.0),
            (100.0 * keep**2 + 110.0 * keep + 110.0) / (keep**2 + keep + 1.0),
        ]
    )


def test_the_own_mid_carries_the_premium():
    assert marks([100.0] * 3, premium=0.1, averaged="own_mid", average_window="120s") == pytest.approx([110.0] * 3)


@pytest.mark.parametrize("window", ["0s", "10h"])
def test_windows_that_do_not_fit_are_refused(window):
    with pytest.raises(StudyError, match="1 to 256 steps"):
        AveragedMark(average_window=window).terms("X", 60.0)
