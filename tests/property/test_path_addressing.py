"""A path is a function of its address: chunks, markets, horizon and threads do not change a number (I8)."""

import functools
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stress.paths import AS_CALIBRATED, MarketModel, PathAxes, compose
from stress.scenarios import parse_scenario

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"
ARRAYS = ("world", "depth", "premium", "external_premium", "oracle_outage", "venue_outage")
NAMES = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA")


@functools.cache
def house():
    return MarketModel.model_validate(yaml.safe_load(HOUSE.read_text()))


def source(*, of=None, markets=NAMES[:3], hours=6, step=600.0, seed=5, start="panic", axes=AS_CALIBRATED):
    of = of or house()
    scenario = parse_scenario(start, of.regimes.states)
    return compose(of, scenario, markets=markets, horizon=hours * 3600.0, step=step, seed=seed, axes=axes)


def same(left, right):
    return all((getattr(left, name) == getattr(right, name)).all() for name in (*ARRAYS, "regime"))


def cut(block, paths=slice(None), points=slice(None), markets=slice(None)):
    """The part of a block that another source should give."""
    parts = {name: getattr(block, name)[paths, points] for name in (*ARRAYS, "regime")}
    parts |= {name: parts[name][:, :, markets] for name in ARRAYS[:-1]}
    return block._replace(**parts)


some = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**64 - 1)


@some
@given(seed=seeds, first=st.integers(0, 2**40), count=st.integers(1, 9), data=st.data())
def test_any_chunking_gives_the_same_paths(seed, first, count, data):
    of = source(seed=seed)
    whole = of.generate(first, count)
    a = data.draw(st.integers(0, count - 1))
    b = data.draw(st.integers(a + 1, count))
    assert same(of.generate(first + a, b - a), cut(whole, slice(a, b)))


@some
@given(seed=seeds, order=st.permutations(NAMES), count=st.integers(1, 6))
def test_any_selection_and_order_of_markets_gives_the_same_markets(seed, order, count):
    whole = source(markets=NAMES, seed=seed).generate(3, 2)
    chosen = tuple(order[:count])
    columns = [NAMES.index(name) for name in chosen]
    assert same(source(markets=chosen, seed=seed).generate(3, 2), cut(whole, markets=columns))


@some
@given(seed=seeds, start=st.sampled_from(["calm", "panic", "stationary"]))
def test_a_market_added_at_the_end_of_the_model_changes_no_other(seed, start):
    names = NAMES[:3]
    small = house().model_dump(by_alias=True)
    small["markets"] = {name: small["markets"][name] for name in names}
    small["correlation"] = {a: {b: r for b, r in row.items() if a in names} for a, row in small["correlation"].items()}
    small["correlation"] = {a: row for a, row in small["correlation"].items() if row}
    fewer = MarketModel.model_validate(small)
    assert same(source(of=fewer, seed=seed, start=start).generate(0, 3), source(seed=seed, start=start).generate(0, 3))


@some
@given(seed=seeds, hours=st.integers(1, 40), more=st.integers(1, 40))
def test_a_longer_horizon_begins_with_the_shorter_one(seed, hours, more):
    short = source(hours=hours, seed=seed).generate(7, 2)
    long = source(hours=hours + more, seed=seed).generate(7, 2)
    assert same(short, cut(long, points=slice(0, hours * 6 + 1)))


def test_threads_and_processes_give_the_same_paths():
    of = source(step=60.0)
    whole = of.generate(0, 16)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda first: of.generate(first, 2), range(14, -2, -2)))
    for part in parts:
        assert same(part, cut(whole, slice(part.first_path, part.first_path + 2)))
    assert same(pickle.loads(pickle.dumps(of)).generate(0, 16), whole)


@some
@given(
    seed=seeds,
    volatility=st.floats(0.25, 2.0),
    depth=st.floats(0.1, 3.0),
    correlation=st.floats(-1.0, 1.0),
)
def test_axes_move_the_same_shocks(seed, volatility, depth, correlation):
    base = source(seed=seed).generate(0, 2)
    moved = source(seed=seed, axes=PathAxes(volatility, depth, correlation)).generate(0, 2)
    assert (moved.regime == base.regime).all()
    thinner = source(seed=seed, axes=PathAxes(depth=depth)).generate(0, 2)
    assert (thinner.world == base.world).all()
    np.testing.assert_allclose(thinner.depth, depth * base.depth, rtol=1e-14)


@some
@given(seed=seeds, other=seeds)
def test_another_seed_or_stream_is_another_world(seed, other):
    first = source(seed=seed).generate(0, 1)
    if other != seed:
        assert not same(source(seed=other).generate(0, 1), first)
    renamed = house().model_copy(update={"name": "challenger"})
    assert not same(source(of=renamed, seed=seed).generate(0, 1), first)
    kept = house().model_copy(update={"name": "challenger", "stream": "house"})
    assert same(source(of=kept, seed=seed).generate(0, 1), first)


@some
@given(seed=seeds, start=st.sampled_from(["calm", "stress", "panic", "stationary"]))
def test_paths_are_finite_and_positive_and_start_at_the_stated_prices(seed, start):
    of = source(seed=seed, start=start, hours=24)
    block = of.generate(0, 2)
    assert np.isfinite(block.world).all()
    assert (block.world > 0).all()
    assert (block.world[:, 0] == of.initial_prices).all()
    floor = house().depth.floor * of.terms.depth.base
    assert (block.depth >= floor).all()
    assert np.isfinite(block.premium).all()
