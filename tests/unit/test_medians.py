"""Weighted median of a few values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stress.kernels.medians import weighted_median

pytestmark = pytest.mark.interpreted


def median(values, weights):
    return weighted_median(np.array(values, float), np.array(weights, float), len(values))


def test_by_hand():
    assert median([10015, 10012, 10013, 10030, 9990], [3, 2, 2, 1, 1]) == 10013  # Hyperliquid's example
    assert median([1, 2, 3, 10], [1, 1, 1, 1]) == 2.5
    assert median([5], [2]) == 5
    assert median([1, 9], [3, 1]) == 1
    assert median([1, 5, 9], [1, 0, 1]) == 5  # 1 and 9 meet the half: their mean


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 5)), min_size=1, max_size=8))
def test_it_is_the_median_of_values_written_out_as_often_as_they_weigh(pairs):
    values, weights = zip(*pairs, strict=True)
    assert median(values, weights) == pytest.approx(np.median(np.repeat(values, weights)), rel=1e-12, abs=1e-9)
