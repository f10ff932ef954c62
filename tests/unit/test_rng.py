"""Addressed random numbers: equal to the published generator, pinned for ever."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from stress.kernels import rng


def words(keys, counter):
    return [int(word) for word in rng.philox(keys, *(np.uint64(word) for word in counter))]


def test_zero_key_known_answer_of_random123():
    known = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert words(rng.round_keys(0, 0), (0, 0, 0, 0)) == known


@pytest.mark.parametrize("seed", range(5))
def test_equals_numpy_philox(seed):
    random = np.random.default_rng(seed)
    key = [int(x) for x in random.integers(0, 2**64, 2, dtype=np.uint64)]
    counter = [int(x) for x in random.integers(0, 2**64, 4, dtype=np.uint64)]
    # numpy moves the counter by one before its first block.
    behind = np.array(counter, dtype=np.uint64)
    behind[0] -= 1 if counter[0] else 0
    expected = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=behind).random_raw(4)
    assert words(rng.round_keys(*key), counter) == [int(word) for word in expected]


def test_all_ones_counter_and_key_wrap():
    top = 2**64 - 1
    expected = np.random.Philox(key=[top, top], counter=[top - 1, top, top, top]).random_raw(4)
    assert words(rng.round_keys(top, top), (top, top, top, top)) == [int(word) for word in expected]


def test_uniforms_lie_inside_the_open_interval():
    assert rng.unit(np.uint64(0)) == 2.0**-54
    assert rng.unit(np.uint64(2**64 - 1)) == 1 - 2.0**-53
    assert rng.unit(np.uint64(2**62)) == 0.25 + 2.0**-54


def test_normal_quantile_equals_scipy():
    u = np.concatenate([np.linspace(1e-3, 1 - 1e-3, 997), 10.0 ** -np.arange(1, 300), [2.0**-54, 1 - 2.0**-53]])
    ours = np.array([rng.normal(x) for x in u])
    assert np.max(np.abs(ours - ndtri(u)) / np.maximum(1, np.abs(ours))) < 4e-15
    assert rng.normal(0.5) == 0.0
    assert math.isclose(rng.normal(0.07), -rng.normal(0.93), rel_tol=1e-14)


def test_filling_equals_reading_one_by_one():
    keys = rng.round_keys(7, 8)
    line = np.empty(10)
    rng.fill_normals(keys, np.uint64(99), 3, rng.DIFFUSION, 5, line)
    for step in range(10):
        u = rng.uniforms(keys, np.uint64(99), step // 4, 3, rng.DIFFUSION, 5)
        assert line[step] == rng.normal(u[step % 4])


def test_every_word_of_the_address_matters():
    keys = rng.round_keys(1, 2)
    base = (np.uint64(5), 6, 7, 8, 9)
    seen = {rng.uniforms(keys, *base)}
    for position in range(5):
        moved = list(base)
        moved[position] = moved[position] + type(moved[position])(1)
        seen.add(rng.uniforms(keys, *moved))
    seen |= {rng.uniforms(rng.round_keys(2, 2), *base), rng.uniforms(rng.round_keys(1, 3), *base)}
    assert len(seen) == 8


def test_neighbouring_addresses_are_uncorrelated():
    keys = rng.round_keys(1, 2)
    count = 4000
    lines = np.empty((6, count))
    for i, (market, path, purpose, sub) in enumerate(
        [(1, 0, 1, 0), (2, 0, 1, 0), (1, 1, 1, 0), (1, 0, 2, 0), (1, 0, 1, 1), (1, 2, 1, 0)]
    ):
        rng.fill_normals(keys, np.uint64(market), path, purpose, sub, lines[i])
    correlation = np.corrcoef(lines) - np.eye(6)
    assert np.abs(correlation).max() < 4 / math.sqrt(count)
    assert np.abs(lines.mean(axis=1)).max() < 4 / math.sqrt(count)
    assert np.abs(lines.var(axis=1) - 1).max() < 4 * math.sqrt(2 / count)


# The address layout is fixed from the first commit: these numbers may never change.
GOLDEN_STREAM = 13743279845605778899
GOLDEN_IDS = (7708219, 893832673)
GOLDEN_NORMALS = [0.4875952466533083, 0.18870013564307064, 1.4250353785101064, 1.1290056210867987, 0.9186763952286595]
GOLDEN_UNIFORMS = [0.35420273494038296, 0.9086265336969506, 0.8486093369757324, 0.9178450407889971]


def test_golden_ids_and_numbers():
    assert rng.stream_of("house") == GOLDEN_STREAM
    assert (rng.market_id("BTC"), rng.market_id("ETH")) == GOLDEN_IDS
    keys = rng.round_keys(20261122, rng.stream_of("house"))
    line = np.empty(5)
    rng.fill_normals(keys, np.uint64(rng.market_id("BTC")), 4095, rng.DIFFUSION, 0, line)
    assert line.tolist() == GOLDEN_NORMALS
    assert list(rng.uniforms(keys, rng.COMMON, 7, 11, rng.COMMON_JUMP, 3)) == GOLDEN_UNIFORMS


def test_a_long_line_holds_the_numbers_of_a_short_one():
    keys = rng.round_keys(3, 5)
    for steps in (1, 2, 3, 4, 7, 300):
        short, long, work = np.empty(steps), np.empty(steps), np.empty(steps + 1)
        for path in range(6):
            rng.fill_normals(keys, np.uint64(9), path, rng.DIFFUSION, 0, short)
            rng.fill_long_line(keys, np.uint64(9), path, rng.DIFFUSION, 0, long, work)
            assert long.tobytes() == short.tobytes()


def test_moments_and_tails_of_a_million_normals():
    keys = rng.round_keys(11, 12)
    count = 2**20
    line, work = np.empty(count), np.empty(count + 1)
    rng.fill_long_line(keys, np.uint64(9), 0, rng.DIFFUSION, 0, line, work)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((line**power).mean() - moment) < 4 * math.sqrt(variance / count)
    for bound in (1.0, 1.4395, 1.645, 3.0, 4.0):  # 1.4395: where the formula of the tails begins
        for side in (line, -line):
            expected = count * ndtr(-bound)
            assert abs((side > bound).sum() - expected) < 4 * math.sqrt(expected)
