"""Weighted medians of a few values, in place: kernels allocate nothing."""

from __future__ import annotations

from stress.kernels.jit import kernel


@kernel
def weighted_median(values, weights, count):
    """Return the weighted median of the first `count` values; sorts both arrays on the way.

    The value at which the weight below it and its own reach half of the total; where they meet the half exactly, the
    mean of it and the next, so that equal weights give the plain median. Values of weight 0 do not count.
    """
    total = 0.0
    for i in range(count):
        value, weight = values[i], weights[i]
        total += weight
        k = i
        while k > 0 and values[k - 1] > value:
            values[k], weights[k] = values[k - 1], weights[k - 1]
            k -= 1
        values[k], weights[k] = value, weight
    reached = 0.0
    for i in range(count):
        reached += weights[i]
        if reached > 0.5 * total:
            return values[i]
        if reached == 0.5 * total and weights[i] > 0.0:
            for k in range(i + 1, count):
                if weights[k] > 0.0:
                    return 0.5 * (values[i] + values[k])
    return values[count - 1]
