"""Intervals, tails and paired differences against published cases and by hand."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from stress import measures

# Cases s1, s3, s4 of the validation set (exact digits); s2 is derived below from its definition.
CASES = [
    (0, 5000, (0.0, 0.0007677019450571243), (0.0, 0.000737503801108105),
     (0.0, 0.002299976081454489), (0.0, 0.000838629590005226)),
    (20, 20000, (0.0006474660464272732, 0.0015441859375651431), (0.0006109296061736065, 0.0015439984673203263),
     (0.0002917166440774916, 0.002397308463813237), (0.0004488292483754275, 0.0018820840308220793)),
    (1000, 1000000, (0.0009399388437436418, 0.0010638949174321755), (0.0009390012079500965, 0.001063918107315228),
     (0.0008505182346544746, 0.0011660290379436565), (0.0008867408283318543, 0.0011225055453054644)),
]  # fmt: skip


@pytest.mark.parametrize(("x", "n", "wilson", "exact", "uniform", "tuned"), CASES)
def test_published_binomial_intervals(x, n, wilson, exact, uniform, tuned):
    close = {"rel": 1e-10, "abs": 1e-15}
    assert [float(v) for v in measures.wilson(x, n)] == pytest.approx(wilson, **close)
    assert [float(v) for v in measures.clopper_pearson(x, n)] == pytest.approx(exact, **close)
    assert measures.confidence_sequence(x, n) == pytest.approx(uniform, **close)
    assert measures.confidence_sequence(x, n, (0.5, 500.0)) == pytest.approx(tuned, **close)


def test_confidence_sequence_of_three_in_ten_thousand():
    # scenarios-and-statistics, case s2: [2.87e-5, 1.13e-3] with the tuned prior, [3.1e-6, 1.93e-3] with the uniform.
    assert measures.confidence_sequence(3, 10_000, (0.5, 500.0)) == pytest.approx((2.87e-5, 1.13e-3), rel=5e-3)
    assert measures.confidence_sequence(3, 10_000) == pytest.approx((3.1e-6, 1.93e-3), rel=2e-2)


def test_intervals_at_both_ends_and_without_paths():
    low, high = measures.clopper_pearson([0, 7, 0], [7, 7, 0])
    assert low[0] == 0
    assert high[1] == 1
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 7))
    assert np.isnan([low[2], high[2]]).all()
    assert measures.confidence_sequence(5, 5)[1] == 1.0


def test_wilson_covers_at_its_nominal_rate():
    n, p = 4096, 0.01
    x = np.arange(n + 1)
    low, high = measures.wilson(x, n)
    covered = stats.binom.pmf(x, n, p)[(low <= p) & (p <= high)].sum()
    assert covered == pytest.approx(0.95, abs=0.01)


def test_standing_needs_the_whole_exact_interval():
    found = measures.standing([0, 20, 41, 80, 0], [4096, 4096, 4096, 4096, 0], tolerance=0.01)
    assert found.tolist() == ["safe", "safe", "undecided", "risky", "failed"]
    # So few paths prove nothing: 0 of 100 still allows 3.6 %.
    assert measures.standing(0, 100, 0.01) == "undecided"


def test_tail_by_hand():
    # 1000 paths, ten losses: rank 990 is the largest loss-free path, the worst 1 % are the ten losses.
    losses = np.arange(1.0, 11.0)
    found = measures.tail(losses, 1000)
    assert found.var == 0
    assert found.es == pytest.approx(5.5)
    twenty = measures.tail(np.arange(1.0, 21.0), 1000)
    assert twenty.var == 10  # rank 990 = 11th largest of twenty
    assert twenty.es == pytest.approx(15.5)
    assert twenty.var_low < 10 < twenty.var_high
    assert twenty.es_low < 15.5 < twenty.es_high


def test_tail_of_few_paths_has_no_upper_bound():
    assert math.isnan(measures.tail(np.ones(3), 64).var_high)
    assert all(math.isnan(value) for value in measures.tail(np.zeros(0), 0))


def test_tail_with_a_fractional_rank():
    # 150 paths: 1 % are 1.5 paths, the largest counts fully, the second by half.
    assert measures.tail(np.array([8.0, 4.0, 2.0]), 150).es == pytest.approx((8 + 0.5 * 4) / 1.5)


def test_paired_difference_keeps_the_correlation():
    rng = np.random.default_rng(7)
    common = rng.binomial(64, 0.05, 64)
    extra = rng.binomial(64, 0.01, 64)
    n = np.full(64, 64)
    found = measures.paired_difference(common, common + extra, n)
    assert found.value == pytest.approx(extra.sum() / n.sum())
    assert found.low < found.value < found.high
    assert found.significant
    apart = measures.independent_difference(int(common.sum()), 4096, int((common + extra).sum()), 4096)
    assert found.high - found.low < 0.6 * (apart.high - apart.low)


def test_paired_difference_with_few_discordant_paths_is_exact():
    a, n = np.zeros(64, int), np.full(64, 64)
    b = a.copy()
    b[5] = 3
    found = measures.paired_difference(a, b, n, discordant=(0, 3))
    assert found.method == "discordant pairs"
    assert found.p_value == pytest.approx(0.25)  # two-sided sign test of 3 to 0
    assert not found.significant
    same = measures.paired_difference(b, b, n, discordant=(0, 0))
    assert (same.value, same.p_value) == (0.0, 1.0)
    assert same.low < 0 < same.high


def test_paired_difference_without_common_paths_is_refused():
    with pytest.raises(measures.StoreError, match="common path"):
        measures.paired_difference([0], [0], [0])


def test_unconditional_probability_weights_every_start():
    value, low, high = measures.unconditional([(0.9, 0, 4096), (0.095, 41, 4096), (0.005, 2048, 4096)])
    assert value == pytest.approx(0.095 * 41 / 4096 + 0.005 * 0.5)
    assert low < value < high
    with pytest.raises(ValueError, match="sum to"):
        measures.unconditional([(0.5, 0, 10)])


def test_a_change_of_means_is_paired_by_block():
    """Two cells whose losses differ by 3 on every path: the spread of the paths is no part of the interval."""
    paths = np.array([4, 4, 4])
    sums = np.array([[40.0, 400.0, 4000.0], [52.0, 412.0, 4012.0]])
    data = xr.Dataset(
        {
            "block_sum_mutualised_loss": (("cell", "block", "component"), sums[:, :, None]),
            "block_paths": (("cell", "block"), np.stack([paths, paths])),
        }
    )
    found = measures.compare_means(data, {"cell": 0}, {"cell": 1}, "mutualised_loss")
    assert found == pytest.approx((3.0, 3.0, 3.0))
    uneven = data.assign(block_paths=(("cell", "block"), np.array([[4, 4, 4], [4, 4, 0]])))
    assert np.isnan(measures.compare_means(uneven, {"cell": 0}, {"cell": 1}, "mutualised_loss")).all()


# --------------------------------------------------------------------------------- size of a fund


@pytest.mark.parametrize(
    ("law", "size", "shortfall"),
    [
        # D ~ Exp(m): IF* = m ln(kappa / r), E(D - IF*)+ = m r / kappa.
        (lambda u: -2e6 * np.log1p(-u), 2e6 * math.log(20), 2e6 / 20),
        # D ~ Pareto(x, alpha): IF* = x (kappa / r)^(1 / alpha), E(D - IF*)+ = IF* (r / kappa) / (alpha - 1).
        (lambda u: 1e6 * (1 - u) ** (-1 / 2.5), 1e6 * 20 ** (1 / 2.5), 1e6 * 20 ** (1 / 2.5) / 20 / 1.5),
    ],
)
def test_newsvendor_fund_by_closed_forms(law, size, shortfall):
    paths = 200_000
    needs = law((np.arange(paths) + 0.5) / paths)
    found = measures.newsvendor_fund(needs, paths, carry=0.05, shortfall_cost=1.0)
    assert found.size == pytest.approx(size, rel=1e-4)
    assert found.low < found.size < found.high
    assert found.mean_shortfall == pytest.approx(shortfall, rel=5e-3)  # the tail beyond the grid


def test_a_fund_that_is_needed_on_few_paths_is_none():
    found = measures.newsvendor_fund(np.array([7.0, 5.0]), 100, carry=0.05, shortfall_cost=1.0)
    assert found.size == 0.0
    assert found.mean_shortfall == pytest.approx(0.12)
    with pytest.raises(ValueError, match="carry < shortfall_cost"):
        measures.newsvendor_fund(np.array([7.0]), 100, carry=2.0, shortfall_cost=1.0)
