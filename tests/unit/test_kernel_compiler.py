"""What `stress.kernels.compiler` promises: indices that never count from the end, and one version of what an entry calls."""

import numba
import numpy as np
import pytest

from stress.kernels.jit import INTERPRETED, entry, kernel

pytestmark = pytest.mark.skipif(INTERPRETED, reason="nothing is compiled")


def item(values, k):
    return values[k]


def comparisons(compiled):
    assert compiled(np.arange(3.0), 1) == 1.0
    return sum(code.count("icmp slt i64") for code in compiled.inspect_llvm().values())


def test_no_access_asks_whether_its_index_counts_from_the_end():
    plain = numba.njit(nogil=True, error_model="numpy", _nrt=False)(item)
    assert comparisons(entry(item)) < comparisons(plain)


def test_a_number_written_out_at_a_call_makes_no_version_of_its_own():
    @kernel
    def scaled(value, factor):
        return value * factor

    @entry
    def both(value):
        return scaled(value, 2) + scaled(value, 3)

    assert both(1.0) == 5.0
    assert len(scaled.signatures) == 1


def test_a_kernel_reached_by_two_ways_is_one_to_both():
    @kernel
    def base(value):
        return value + 1.0

    @kernel
    def doubled(value):
        return 2.0 * base(value)

    @entry
    def run(value):
        return doubled(value) + base(value)

    assert run(1.0) == 6.0
