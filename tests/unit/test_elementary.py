"""Exponential and logarithm: as exact as their module says, and the same bits interpreted, compiled, and in vector code."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from stress.kernels.elementary import HIGHEST, LOWEST, exponential, logarithm
from stress.kernels.jit import entry

RANDOM = np.random.default_rng(20261122)
RETURNS = np.concatenate([RANDOM.normal(0.0, scale, 1500) for scale in (1e-9, 0.03, 1.0, 200.0)])
TAILS = np.concatenate([RANDOM.uniform(0.0, 0.125, 1500), 10.0 ** -RANDOM.uniform(0, 300, 1500) / 8, [2.0**-54]])


@entry
def exponentials(x, out):
    for i in range(len(x)):
        out[i] = exponential(x[i])


@entry
def logarithms(x, out):
    for i in range(len(x)):
        out[i] = logarithm(x[i])


def of_all(loop, x):
    out = np.empty(len(x))
    loop(x, out)
    return out


def furthest(found, x, exact):
    """Largest error in units in the last place, by decimal arithmetic of 40 digits."""
    with localcontext() as context:
        context.prec = 40
        truth = [exact(Decimal(float(value))) for value in x]
        return max(abs(Decimal(float(a)) - t) / Decimal(math.ulp(float(t))) for a, t in zip(found, truth, strict=True))


def test_exponential_is_exact_to_one_unit():
    x = RETURNS[(RETURNS > LOWEST) & (RETURNS < HIGHEST)]
    assert furthest(of_all(exponentials, x), x, Decimal.exp) < 1


@pytest.mark.parametrize(("x", "most"), [(TAILS, 1), (RANDOM.uniform(0.125, 1.0, 2000), 2)])
def test_logarithm_is_exact_to_a_unit_or_two(x, most):
    assert furthest(of_all(logarithms, x), x, Decimal.ln) < most


def test_exact_points():
    assert of_all(exponentials, np.zeros(1)) == [1.0]
    assert of_all(logarithms, np.ones(1)) == [0.0]


def test_what_is_no_price_is_held_at_the_ends():
    lowest, below, highest, above = of_all(exponentials, np.array([LOWEST, -1e9, HIGHEST, 1e9]))
    assert 0.0 < lowest == below
    assert above == highest < math.inf
    assert np.all(np.diff(of_all(exponentials, np.linspace(-800.0, 800.0, 4001))) >= 0.0)


@pytest.mark.parametrize(
    ("function", "loop", "x"), [(exponential, exponentials, RETURNS), (logarithm, logarithms, TAILS)]
)
def test_interpreted_and_vector_code_give_the_same_bits(function, loop, x):
    interpreted = getattr(function, "py_func", function)
    assert of_all(loop, x).tolist() == [float(interpreted(value)) for value in x]
