"""Wicks: visited whatever the step, undone by their half-life, common and own, addressed; the fit finds them again."""

import numpy as np
import pytest
from pydantic import ValidationError

from stress.paths import Market, MarketModel, PathAxes, Wicks, compose, diffusion, wicks
from stress.paths.wicks import WickSide
from stress.scenarios import STATIONARY, RegimeScenario

NAMES = ("A", "B", "C")
STATIONARY_LAW = RegimeScenario(name="stationary", start=STATIONARY)
DOWN = WickSide(rate=400.0, joins=0.5, tail=3.0)
UP = WickSide(rate=100.0, tail=5.0)
DEVIATION = 0.5 / np.sqrt(8760)  # of an hour


def model(layer=None, names=NAMES, **of_market):
    market = {"price": 100.0, "depth_usd": 1e6, "open_interest_usd": 1e6, "volatility": 0.5, **of_market}
    return MarketModel(
        schema=1,
        name="wicks",
        markets={name: Market(**market) for name in names},
        correlation={a: dict.fromkeys(names[:i], 0.0) for i, a in enumerate(names) if i},
        wicks=layer,
    )


def paths(made, *, days=30, step=300.0, count=2, markets=NAMES, **more):
    source = compose(made, STATIONARY_LAW, markets=markets, horizon=days * 86400.0, step=step, seed=7, **more)
    return source.generate(0, count)


LAYER = Wicks(half_life="600s", common_down=300.0)


def wicks_of(made, **more):
    """Log distance of a path from the same path without wicks, (P, S + 1, m)."""
    with_them = paths(made, **more).world
    return np.log(with_them / paths(made.model_copy(update={"wicks": None}), **more).world)


def test_a_layer_without_rates_and_no_layer_are_the_same_path():
    np.testing.assert_array_equal(paths(model(Wicks())).world, paths(model()).world)


def test_a_wick_is_visited_and_undone_by_its_half_life():
    w = wicks_of(model(LAYER, wick_down=WickSide(rate=20.0, tail=3.0)), days=90)[0, :, 0]
    begins = np.flatnonzero((w[1:] < -1e-6) & (w[:-1] > -1e-6)) + 1
    assert len(begins) > 3
    assert (w <= 0).all()
    assert (w[begins] <= -2 * DEVIATION * (1 - 1e-9)).all()
    alone = [t for t in begins if (np.diff(w[t : t + 9]) > 0).all()]
    np.testing.assert_allclose(w[np.array(alone) + 2], w[alone] / 2, rtol=1e-9)  # two steps are a half-life


@pytest.mark.parametrize("step", [60.0, 900.0])
def test_its_depth_does_not_depend_on_the_step(step):
    made = model(LAYER, wick_down=WickSide(rate=20.0, tail=3.0))
    deepest = wicks_of(made, days=30, step=step)[:, :, 0].min(axis=1)
    np.testing.assert_allclose(deepest, wicks_of(made, days=30)[:, :, 0].min(axis=1), rtol=1e-9)


def test_further_markets_longer_horizons_and_other_blocks_change_nothing():
    whole = paths(model(LAYER, wick_down=DOWN, wick_up=UP))
    less = model(LAYER, names=("A", "B"), wick_down=DOWN, wick_up=UP)
    np.testing.assert_array_equal(paths(less, markets=("B",)).world[:, :, 0], whole.world[:, :, 1])
    np.testing.assert_array_equal(
        paths(model(LAYER, wick_down=DOWN, wick_up=UP), days=10).world, whole.world[:, : 10 * 288 + 1]
    )
    source = compose(
        model(LAYER, wick_down=DOWN, wick_up=UP),
        STATIONARY_LAW,
        markets=NAMES,
        horizon=30 * 86400.0,
        step=300.0,
        seed=7,
    )
    np.testing.assert_array_equal(source.generate(1, 1).world[0], whole.world[1])


def test_the_volatility_axis_scales_wicks():
    made = model(LAYER, wick_down=WickSide(rate=400.0, tail=6.0))
    doubled = wicks_of(made, days=10, axes=PathAxes(volatility=2.0))
    np.testing.assert_allclose(doubled, 2 * wicks_of(made, days=10), atol=1e-5)


def test_those_who_join_share_the_hour_the_side_and_the_rank():
    made = model(LAYER, wick_down=WickSide(rate=0.0, joins=1.0, tail=3.0))
    w = wicks_of(made, count=4)
    np.testing.assert_allclose(w, np.broadcast_to(w[:, :, :1], w.shape), atol=1e-12)
    assert w.min() < -2 * DEVIATION


def test_depth_falls_at_a_wick():
    made = model(LAYER, wick_down=WickSide(rate=20.0, tail=3.0))
    from stress.paths import Depth

    layer = Depth(phi=0.0, jump_sensitivity=30.0, half_life="3600s", sd=0.0, floor=0.01)
    block = paths(made.model_copy(update={"depth": layer}), days=90)
    w = wicks_of(made, days=90)
    assert (block.depth[w < -DEVIATION] < 0.99e4).all()


def test_no_wick_goes_beyond_a_factor_of_ten():
    made = model(Wicks(half_life="600s"), wick_down=WickSide(rate=4000.0, tail=1.01))
    assert wicks_of(made, days=30, count=8)[:, :, 0].min() > -2 * np.log(10)  # two may overlap


@pytest.mark.parametrize("wrong", [{"rate": -1.0, "tail": 3}, {"rate": 9000.0, "tail": 3}, {"rate": 1.0, "tail": 1.0}])
def test_rates_and_tails_outside_their_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        WickSide(**wrong)


def test_the_tail_of_a_pareto_law_seen_from_where_wicks_begin():
    reach = wicks._beyond(3.0, 1.0)
    assert reach[0] < 1  # a wick of two deviations rarely reaches two beyond the body
    far = (wicks._EDGES[:-1] > 30) & (wicks._EDGES[:-1] < 99)
    # Far out the law is Pareto, seen 0.4 deviations (the mean height of a path over its body) less deep.
    np.testing.assert_allclose(reach[:-1][far], ((wicks._EDGES[:-1][far] + 0.4) / 2) ** -3.0, rtol=0.02)


def test_a_motion_without_wicks_hardly_reaches_two_deviations_beyond_its_body():
    draws = np.random.default_rng(2)
    close = draws.standard_normal(400_000)
    # The minimum of a bridge, by inverse of its law.
    low = 0.5 * (close - np.sqrt(close**2 - 2 * np.log(draws.random(len(close)))))
    beyond = wicks.excess(close[:, None], close[:, None], low[:, None], np.ones((len(close), 1)))[:, 0, 0]
    assert (beyond > wicks.SMALLEST).mean() < 1 / 10_000


def test_too_few_wicks_are_no_law():
    assert wicks.fit_sizes(np.full(1000, 0.5), np.ones(1000), 180.0) is None


def test_the_common_share_of_markets_that_share_half_their_wicks():
    draws = np.random.default_rng(3)
    shared = draws.random(200_000) < 0.01
    own = draws.random((200_000, 3)) < 0.01
    beyond = np.where(shared[:, None] | own, 5.0, 0.0)
    assert wicks.fit_common(beyond, np.ones(len(beyond))) == pytest.approx(0.5, abs=0.03)
    beyond[:50_000, 2] = np.nan
    assert wicks.fit_common(beyond, np.ones(len(beyond))) == pytest.approx(0.5, abs=0.03)


def test_a_split_gives_each_market_its_rate_back():
    found = [WickSide(rate=300.0, tail=3.0), None, WickSide(rate=100.0, tail=4.0)]
    common, parts = wicks.split(found, 0.4)
    assert parts[1] is None
    for whole, part in zip(found, parts, strict=True):
        if part:
            assert part.rate + common * part.joins == pytest.approx(whole.rate)


def test_year_of_the_layer_is_that_of_diffusion():
    assert pytest.approx(diffusion.YEAR) == wicks.YEAR_HOURS * wicks.HOUR
