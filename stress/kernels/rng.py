"""Addressed random numbers: a number is a function of where it is used, never of what was drawn before.

Generator  Philox4x64-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3";
           Random123 1.14 constants), equal bit for bit to ``numpy.random.Philox``.
Key        (seed, stream); the stream of a market model is by default `stream_of` its name.
Counter    (market id << 32 | step group, path, purpose, sub-level). A step group is four consecutive
           steps, one per output word. Purposes that do not step with the path say what their group and
           their four outputs are, next to the code that reads them.
Uniforms   u = ((x >> 11) + 1/2) 2^-53, in (0, 1): doubles round the last half of the upper values to
           even, and the very last one would be 1, so it is held at 1 - 2^-53.
Normals    inverse CDF (Wichura 1988, algorithm AS 241, PPND16): one uniform gives one normal, so that a
           number keeps its address whatever is done with its neighbours. No library function is called.

The functions without an underscore may also be called from Python: published answers are checked there.
Nothing here may change: stored runs and golden values depend on every line.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from stress.kernels.elementary import logarithm
from stress.kernels.jit import entry, inlined, kernel

# Third counter word, as uint64: a Python int would make numba compile every caller anew for its value.
# A number once given is never reused for something else.
DIFFUSION, COMMON_JUMP, IDIOSYNCRATIC_JUMP, REGIME, BRIDGE, DEPTH, PREMIUM, BOOTSTRAP, TRADER, VOLATILITY = (
    np.uint64(purpose) for purpose in range(1, 11)
)
SEASON = np.uint64(11)
MIXTURE = np.uint64(15)
SOURCE_NOISE = np.uint64(16)  # sub-level: the source
DELEVERAGING = np.uint64(17)  # counter: (seed of the rule, path, step x rows + bankrupt row)
WICK = np.uint64(18)

# Market id of numbers that belong to no market (regime, common jumps), and the sub-level of what has none.
COMMON = np.uint64(0)
NO_LEVEL = np.uint64(0)

ROUNDS = 10
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_WORD = 1 << 64

# Halves of the multipliers: products of 32-bit halves cannot overflow, so that the same source also
# runs interpreted, where numpy warns about a wrapped product.
_LOW = np.uint64(0xFFFFFFFF)
_M0_LOW, _M0_HIGH = np.uint64(_MULTIPLIERS[0] & 0xFFFFFFFF), np.uint64(_MULTIPLIERS[0] >> 32)
_M1_LOW, _M1_HIGH = np.uint64(_MULTIPLIERS[1] & 0xFFFFFFFF), np.uint64(_MULTIPLIERS[1] >> 32)
_32 = np.uint64(32)
_11 = np.uint64(11)
_TO_UNIT = 2.0**-53
_BELOW_ONE = 1.0 - 2.0**-53


def stream_of(name: str) -> int:
    """Return the 64-bit stream of a model's name (BLAKE2b, big-endian)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def market_id(symbol: str) -> int:
    """Return the permanent 32-bit id of a market (BLAKE2b of its symbol, big-endian)."""
    return int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=4).digest(), "big")


def round_keys(seed: int, stream: int) -> np.ndarray:
    """Return the keys of the ten rounds, (10, 2) uint64, of 64-bit `seed` and `stream`."""
    keys = [[(seed + r * _WEYL[0]) % _WORD, (stream + r * _WEYL[1]) % _WORD] for r in range(ROUNDS)]
    return np.array(keys, dtype=np.uint64)


@inlined
def _multiply(a, low, high):
    """Return the high and the low word of the 128-bit product of `a` and (high, low)."""
    a_low = a & _LOW
    a_high = a >> _32
    ll = a_low * low
    lh = a_low * high
    hl = a_high * low
    middle = (ll >> _32) + (lh & _LOW) + (hl & _LOW)
    return a_high * high + (lh >> _32) + (hl >> _32) + (middle >> _32), (ll & _LOW) | (middle << _32)


@entry
def philox(keys, c0, c1, c2, c3):
    """Return the four output words at the counter (c0, c1, c2, c3), all uint64; keys from `round_keys`."""
    for r in range(ROUNDS):
        high0, low0 = _multiply(c0, _M0_LOW, _M0_HIGH)
        high1, low1 = _multiply(c2, _M1_LOW, _M1_HIGH)
        c0, c1, c2, c3 = high1 ^ c1 ^ keys[r, 0], low1, high0 ^ c3 ^ keys[r, 1], low0
    return c0, c1, c2, c3


@entry
def unit(word):
    """Return the uniform in (0, 1) of a 64-bit word."""
    return min((np.float64(word >> _11) + 0.5) * _TO_UNIT, _BELOW_ONE)


@entry
def uniforms(keys, market, group, path, purpose, sub_level):
    """Return the four uniforms of one address."""
    words = philox(
        keys, (np.uint64(market) << _32) | np.uint64(group), np.uint64(path), np.uint64(purpose), np.uint64(sub_level)
    )
    return unit(words[0]), unit(words[1]), unit(words[2]), unit(words[3])


@inlined
def _central(q):
    """AS 241 for |q| <= 0.425, q = u - 1/2."""
    r = 0.180625 - q * q
    top = 2.5090809287301226727e3
    top = top * r + 3.3430575583588128105e4
    top = top * r + 6.7265770927008700853e4
    top = top * r + 4.5921953931549871457e4
    top = top * r + 1.3731693765509461125e4
    top = top * r + 1.9715909503065514427e3
    top = top * r + 1.3314166789178437745e2
    top = top * r + 3.3871328727963666080e0
    bottom = 5.2264952788528545610e3
    bottom = bottom * r + 2.8729085735721942674e4
    bottom = bottom * r + 3.9307895800092710610e4
    bottom = bottom * r + 2.1213794301586595867e4
    bottom = bottom * r + 5.3941960214247511077e3
    bottom = bottom * r + 6.8718700749205790830e2
    bottom = bottom * r + 4.2313330701600911252e1
    bottom = bottom * r + 1.0
    return q * top / bottom


@inlined
def _near_tail(r):
    """AS 241 for r = sqrt(-ln of the tail) <= 5."""
    r -= 1.6
    top = 7.74545014278341407640e-4
    top = top * r + 2.27238449892691845833e-2
    top = top * r + 2.41780725177450611770e-1
    top = top * r + 1.27045825245236838258e0
    top = top * r + 3.64784832476320460504e0
    top = top * r + 5.76949722146069140550e0
    top = top * r + 4.63033784615654529590e0
    top = top * r + 1.42343711074968357734e0
    bottom = 1.05075007164441684324e-9
    bottom = bottom * r + 5.47593808499534494600e-4
    bottom = bottom * r + 1.51986665636164571966e-2
    bottom = bottom * r + 1.48103976427480074590e-1
    bottom = bottom * r + 6.89767334985100004550e-1
    bottom = bottom * r + 1.67638483018380384940e0
    bottom = bottom * r + 2.05319162663775882187e0
    bottom = bottom * r + 1.0
    return top / bottom


@kernel
def _far_tail(r):
    """AS 241 for r > 5."""
    r -= 5.0
    top = 2.01033439929228813265e-7
    top = top * r + 2.71155556874348757815e-5
    top = top * r + 1.24266094738807843860e-3
    top = top * r + 2.65321895265761230930e-2
    top = top * r + 2.96560571828504891230e-1
    top = top * r + 1.78482653991729133580e0
    top = top * r + 5.46378491116411436990e0
    top = top * r + 6.65790464350110377720e0
    bottom = 2.04426310338993978564e-15
    bottom = bottom * r + 1.42151175831644588870e-7
    bottom = bottom * r + 1.84631831751005468180e-5
    bottom = bottom * r + 7.86869131145613259100e-4
    bottom = bottom * r + 1.48753612908506148525e-2
    bottom = bottom * r + 1.36929880922735805310e-1
    bottom = bottom * r + 5.99832206555887937690e-1
    bottom = bottom * r + 1.0
    return top / bottom


@kernel
def _tail(u):
    """AS 241 for |u - 1/2| > 0.425."""
    r = math.sqrt(-logarithm(min(u, 1.0 - u)))
    z = _near_tail(r) if r <= 5.0 else _far_tail(r)
    return z if u > 0.5 else -z


@entry
def normal(u):
    """Return the standard normal quantile of u in (0, 1)."""
    q = u - 0.5
    return _central(q) if abs(q) <= 0.425 else _tail(u)


# Uniforms that need the formula of the tails wait as u x WAITS: exact, and above every normal.
_WAITS = 2.0**100


@inlined
def _round(words, key_0, key_1):
    """One round of Philox on the counter words (c0, c1, c2, c3)."""
    c0, c1, c2, c3 = words
    high0, low0 = _multiply(c0, _M0_LOW, _M0_HIGH)
    high1, low1 = _multiply(c2, _M1_LOW, _M1_HIGH)
    return high1 ^ c1 ^ key_0, low1, high0 ^ c3 ^ key_1, low0


@inlined
def _fill_central(keys, market, path, purpose, sub_level, out):
    """Write normals into `out`, and uniforms that wait where the formula of the tails is due.

    Loops without a branch, the ten rounds written out, so that a compiler takes several groups and several
    normals at a time; every number is that of `philox`, `unit` and `normal`.
    """
    count = len(out)
    base = np.uint64(market) << _32
    c1, c2, c3 = np.uint64(path), np.uint64(purpose), np.uint64(sub_level)
    a0, b0, a1, b1 = keys[0, 0], keys[0, 1], keys[1, 0], keys[1, 1]
    a2, b2, a3, b3 = keys[2, 0], keys[2, 1], keys[3, 0], keys[3, 1]
    a4, b4, a5, b5 = keys[4, 0], keys[4, 1], keys[5, 0], keys[5, 1]
    a6, b6, a7, b7 = keys[6, 0], keys[6, 1], keys[7, 0], keys[7, 1]
    a8, b8, a9, b9 = keys[8, 0], keys[8, 1], keys[9, 0], keys[9, 1]
    whole = count // 4
    for group in range(whole):
        words = _round((base | np.uint64(group), c1, c2, c3), a0, b0)
        words = _round(_round(_round(words, a1, b1), a2, b2), a3, b3)
        words = _round(_round(_round(words, a4, b4), a5, b5), a6, b6)
        words = _round(_round(_round(words, a7, b7), a8, b8), a9, b9)
        out[4 * group] = unit(words[0])
        out[4 * group + 1] = unit(words[1])
        out[4 * group + 2] = unit(words[2])
        out[4 * group + 3] = unit(words[3])
    if count > 4 * whole:
        words = philox(keys, base | np.uint64(whole), c1, c2, c3)
        for lane in range(count - 4 * whole):
            out[4 * whole + lane] = unit(words[lane])
    for i in range(count):
        q = out[i] - 0.5
        central = _central(q)
        out[i] = central if abs(q) <= 0.425 else out[i] * _WAITS


@entry
def fill_normals(keys, market, path, purpose, sub_level, out):
    """Write the standard normals of steps 0, 1, … of one address line into `out` (steps,)."""
    _fill_central(keys, market, path, purpose, sub_level, out)
    for i in range(len(out)):
        if out[i] > 2.0:
            out[i] = _tail(out[i] / _WAITS)


@entry
def fill_long_line(keys, market, path, purpose, sub_level, out, work):
    """Do as `fill_normals`, faster: who waits is listed first in `work` (steps,), so that no branch is guessed."""
    _fill_central(keys, market, path, purpose, sub_level, out)
    waiting = 0
    for i in range(len(out)):
        work[waiting] = i
        waiting += 1 if out[i] > 2.0 else 0
    r = work[waiting:]  # their roots of logarithms follow the list: the tails of a long line are a sixth of it
    far = 0
    if waiting <= len(r):
        for k in range(waiting):
            r[k] = out[np.int64(work[k])]
        for k in range(waiting):
            u = r[k] / _WAITS
            r[k] = math.sqrt(-logarithm(min(u, 1.0 - u)))
            far += 1 if r[k] > 5.0 else 0
    if far > 0 or waiting > len(r):  # once in 1e11 numbers, or where the list leaves no room
        for k in range(waiting):
            i = np.int64(work[k])
            out[i] = _tail(out[i] / _WAITS)
        return
    for k in range(waiting):
        r[k] = _near_tail(r[k])
    for k in range(waiting):
        i = np.int64(work[k])
        out[i] = r[k] if out[i] > 0.5 * _WAITS else -r[k]
