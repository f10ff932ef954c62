"""Exponential and logarithm without a library: loops of them are compiled to vector code, and their bits depend on no machine.

A mathematics library picks its code by processor and version; its calls cannot be taken several at a time. Here both
are products, sums and one division in double precision, rounded after each, after a reduction to a short range:

    exp x = 2^k exp r,  |r| <= ln 2 / 2,  k = round(x / ln 2),      by the Taylor polynomial of degree 13
    ln x  = k ln 2 + ln m,  m in [1/sqrt 2, sqrt 2),  ln m = 2 artanh s,  s = (m - 1) / (m + 1),   by its first 11 terms

ln 2 is the sum of two doubles, the first short enough that k times it is exact. Errors in units in the last place
(`tests/unit/test_elementary.py`): below 1 for exp, below 1 for ln of [0, 1/8], below 2 up to 1.
"""

from __future__ import annotations

import numpy as np

from stress.kernels.jit import inlined

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_PER_LN2 = 1.4426950408889634
# Results beyond these are no price; in between 2^k is a normal double.
LOWEST, HIGHEST = -708.0, 709.0
_52 = np.uint64(52)
# Added to k, its last bits hold k + 1023, the exponent of a double.
_ROUNDS = 1.5 * 2.0**52 + 1023.0
_EXPONENT_BITS = np.uint64(0x4330000000000000)  # of 2^52: joined with a whole number they are 2^52 plus that number
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_HALF_ROOT = np.uint64(0x3FE6A09E667F3BCD)  # bits of 1/sqrt 2
_TO_ONE = np.uint64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)


@inlined
def exponential(x):
    """Return exp(x); x is held to [LOWEST, HIGHEST]."""
    x = min(max(x, LOWEST), HIGHEST)
    shifted = np.float64(x * _PER_LN2 + _ROUNDS)
    k = shifted - _ROUNDS
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = 1 / 6227020800
    series = series * r + 1 / 479001600
    series = series * r + 1 / 39916800
    series = series * r + 1 / 3628800
    series = series * r + 1 / 362880
    series = series * r + 1 / 40320
    series = series * r + 1 / 5040
    series = series * r + 1 / 720
    series = series * r + 1 / 120
    series = series * r + 1 / 24
    series = series * r + 1 / 6
    series = series * r + 1 / 2
    power = np.uint64(np.float64(shifted).view(np.uint64) << _52)
    return (1.0 + (r + r * r * series)) * np.uint64(power).view(np.float64)


@inlined
def logarithm(x):
    """Return ln(x) of a normal double x > 0."""
    bits = np.float64(x).view(np.uint64) + _TO_ONE
    whole = (bits >> _52) | _EXPONENT_BITS
    k = np.uint64(whole).view(np.float64) - (2.0**52 + 1023.0)
    within = (bits & _MANTISSA) + _HALF_ROOT
    m = np.uint64(within).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 1 / 23
    series = series * z + 1 / 21
    series = series * z + 1 / 19
    series = series * z + 1 / 17
    series = series * z + 1 / 15
    series = series * z + 1 / 13
    series = series * z + 1 / 11
    series = series * z + 1 / 9
    series = series * z + 1 / 7
    series = series * z + 1 / 5
    series = series * z + 1 / 3
    return k * _LN2_HIGH + (k * _LN2_LOW + 2.0 * (s + s * z * series))
