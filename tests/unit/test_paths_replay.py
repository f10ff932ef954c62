"""Replay: the wick is visited, the median is of spot, gaps and bad prints follow the named rule."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stress.errors import PriceFileError, StudyError
from stress.paths import MarketModel, PathAxes, compose
from stress.paths.replay import is_spot, realised_volatility, visit
from stress.scenarios import expand, parse_scenario
from stress.sources import read_prices

HOUSE = Path(__file__).parents[2] / "configs/markets/house.yaml"
START = pd.Timestamp("2025-10-10T20:00:00Z")


@pytest.fixture(scope="module")
def house():
    return MarketModel.model_validate(yaml.safe_load(HOUSE.read_text()))


def bars(prices, *, venue="v", symbol="BTC-USD", start=START):
    """Rows of one-minute bars from (open, high, low, close); None is a missing bar."""
    return [
        {"ts": start + pd.Timedelta(minutes=i), "venue": venue, "symbol": symbol}
        | dict(zip(("open", "high", "low", "close"), map(float, bar), strict=True))
        for i, bar in enumerate(prices)
        if bar is not None
    ]


def replayed(house, tmp_path, rows, *, minutes=None, step=20.0, axes=PathAxes(), markets=("BTC",), **entry):  # noqa: B008
    file = tmp_path / "prices.parquet"
    minutes = minutes or len({row["ts"] for row in rows})
    clock = bars([FLAT] * 5, symbol="OTHER")  # makes the file's bar one minute, whatever is missing
    pd.DataFrame(rows + clock).to_parquet(file)
    history = read_prices(file)
    scenario = parse_scenario({"replay": str(file), "from": START.isoformat(), **entry}, house.regimes.states)
    return compose(
        house, scenario, markets=markets, horizon=minutes * 60.0, step=step, seed=1, axes=axes, history=history
    )


UP, DOWN, FLAT = (100, 110, 90, 105), (105, 106, 80, 90), (90, 90, 90, 90)


def test_a_bar_visits_low_then_high_when_it_rises_and_high_then_low_when_it_falls():
    assert visit(np.array([UP, DOWN], float), 3).tolist() == [100, 90, 110, 105, 106, 80, 90]


def test_longer_bars_are_log_linear_between_their_extremes():
    prices = visit(np.array([UP], float), 6)
    assert prices[[0, 2, 4, 6]].tolist() == [100, 90, 110, 105]
    assert prices[1] == pytest.approx(np.sqrt(100 * 90))
    assert prices[5] == pytest.approx(np.sqrt(110 * 105))
    uneven = visit(np.array([UP], float), 7)  # extremes after 2 and 4 of 7 steps
    assert uneven[[2, 4, 7]].tolist() == [90, 110, 105]


def test_the_world_price_is_the_median_of_spot_venues(house, tmp_path):
    rows = bars([UP, DOWN], venue="a")
    rows += bars([(x + 1 for x in UP), (x + 1 for x in DOWN)], venue="b", symbol="BTCUSDT")
    rows += bars([(x + 50 for x in UP), (x + 50 for x in DOWN)], venue="c", symbol="BTCUSD")
    rows += bars([(x - 70 for x in UP), (x - 70 for x in DOWN)], venue="d", symbol="BTCUSD_PERP")
    source = replayed(house, tmp_path, rows)
    block = source.generate(0, 1)
    assert block.world[0, :, 0].tolist() == [101, 91, 111, 106, 107, 81, 91]
    assert source.initial_prices.tolist() == [101]
    assert source.report.series == {"BTC": ("a BTC-USD", "b BTCUSDT", "c BTCUSD")}
    one = replayed(house, tmp_path, rows, venues=["c"])
    assert one.initial_prices.tolist() == [150]
    named = replayed(house, tmp_path, rows, symbols={"BTC": ["BTCUSD_PERP"]})
    assert named.initial_prices.tolist() == [30]


@pytest.mark.parametrize(
    ("symbol", "spot"),
    [("BTC", True), ("BTC-USD", True), ("btc/usdt", True), ("BTCUSDC", True), ("BTCUSD_PERP", False), ("WBTC", False)],
)
def test_what_counts_as_spot(symbol, spot):
    assert is_spot(symbol, "BTC") is spot


def test_gaps_are_held_and_reported(house, tmp_path):
    source = replayed(house, tmp_path, bars([UP, None, None, DOWN]), minutes=4)
    assert source.generate(0, 1).world[0, :, 0].tolist() == [100, 90, 110, *[105] * 7, 106, 80, 90]
    assert source.report.gaps == {"BTC": (("2025-10-10T20:01:00+00:00", 2),)}
    assert "2 bars held, at most 2 in a row (from 2025-10-10T20:01:00+00:00)" in str(source.report)


def test_a_close_before_the_stretch_stands_at_its_start(house, tmp_path):
    early = bars([FLAT], start=START - pd.Timedelta(minutes=3))
    source = replayed(house, tmp_path, early + bars([None, UP]), minutes=2)
    assert source.generate(0, 1).world[0, :, 0].tolist() == [90, 90, 90, 90, 90, 110, 105]


@pytest.mark.parametrize(
    ("entry", "rows", "message"),
    [
        ({"on_gap": "refuse"}, [UP, None, DOWN], "refuses gaps"),
        ({"longest_hold": "1m"}, [UP, None, None, DOWN], "gap of 2m from 2025-10-10T20:01:00"),
        ({}, [None, None, UP, DOWN], "no price at the start"),
        ({"symbols": {"BTC": ["BTC-EUR"]}}, [UP, DOWN], "no spot series"),
    ],
)
def test_gaps_beyond_the_rule_are_refused(house, tmp_path, entry, rows, message):
    with pytest.raises(PriceFileError, match=message):
        replayed(house, tmp_path, bars(rows), minutes=len(rows), **entry)


SPIKE = (100, 101, 0.0001, 100)


def test_a_bad_print_is_refused_by_default_with_its_row(house, tmp_path):
    with pytest.raises(PriceFileError, match="bad print") as refused:
        replayed(house, tmp_path, bars([UP, SPIKE, UP]))
    assert (refused.value.line, refused.value.value) == (2, 0.0001)
    assert "winsorise" in refused.value.fix


def test_a_bad_print_is_cut_to_its_neighbours_or_kept_by_the_named_rule(house, tmp_path):
    cut = replayed(house, tmp_path, bars([UP, SPIKE, UP]), on_bad_print="winsorise")
    assert cut.generate(0, 1).world.min() == 90
    assert cut.report.bad_prints == ("v BTC-USD 2025-10-10T20:01:00+00:00 low 0.0001 (row 2)",)
    kept = replayed(house, tmp_path, bars([UP, SPIKE, UP]), on_bad_print="keep")
    assert kept.generate(0, 1).world.min() == 0.0001


def test_a_crash_of_four_fifths_is_no_bad_print(house, tmp_path):
    replayed(house, tmp_path, bars([UP, (100, 101, 17, 60), (60, 61, 58, 60)]))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"step": 60.0}, "step"),
        ({"step": 25.0, "minutes": 5}, "step"),
        ({"minutes": 2.5, "step": 10.0}, "horizon"),
        ({"to": "2025-10-10T20:05:00Z"}, "scenarios.prices.to"),
        ({"from": "2025-10-10T20:00:30Z"}, "scenarios.prices.from"),
        ({"impact_share": [0, 0.1]}, "scenarios.prices"),
    ],
)
def test_what_the_bars_cannot_resolve_is_refused(house, tmp_path, change, key):
    with pytest.raises(StudyError) as refused:
        replayed(house, tmp_path, bars([UP, DOWN, UP]), **change)
    assert refused.value.key == key
    if key == "step":
        assert refused.value.fix == "set step: 20s"


def test_a_replay_needs_its_history(house):
    scenario = parse_scenario({"replay": "x.parquet", "from": START.isoformat()}, house.regimes.states)
    with pytest.raises(StudyError, match="price file"):
        compose(house, scenario, markets=("BTC",), horizon=60.0, step=20.0, seed=1)


def test_own_impact_runs_at_each_share_and_zero_is_unlimited_depth(house, tmp_path):
    scenario = parse_scenario(
        {"replay": "x.parquet", "from": START.isoformat(), "impact_share": [0, 0.25]}, house.regimes.states
    )
    assert [run.name for run in expand(scenario)] == ["x x0", "x x0.25"]
    rows = bars([FLAT, FLAT])
    none, quarter, whole = (replayed(house, tmp_path, rows, impact_share=[s]) for s in (0, 0.25, 1))
    assert (none.impact_scale, quarter.impact_scale) == (0, 0.25)
    assert np.isinf(none.generate(0, 1).depth).all()
    assert (quarter.generate(0, 1).depth == 4 * whole.generate(0, 1).depth).all()
    assert whole.generate(0, 1).depth[0, 0, 0] == house.markets["BTC"].depth_usd / 90
    half = replayed(house, tmp_path, rows, impact_share=[1], axes=PathAxes(depth=0.5))
    assert (half.generate(0, 1).depth == 0.5 * whole.generate(0, 1).depth).all()


def test_depth_falls_with_realised_volatility_to_its_floor(house, tmp_path):
    crash = [FLAT, (90, 90, 60, 61), (61, 62, 60, 61)]
    depth = replayed(house, tmp_path, bars(crash), impact_share=[1]).generate(0, 1).depth[0, :, 0]
    assert depth[0] == depth[3] == house.markets["BTC"].depth_usd / 90
    assert (depth[4:] == house.depth.floor * depth[0]).all()


def test_realised_volatility_is_unbiased_on_a_random_walk():
    random = np.random.default_rng(1)
    sigma, count, inside = 0.001, 2000, 4000
    walk = np.cumsum(random.standard_normal((count, inside)) * sigma * np.sqrt(60 / inside), axis=1)
    walk = np.concatenate([np.zeros((count, 1)), walk], axis=1)
    prices = np.exp(np.stack([walk[:, 0], walk.max(axis=1), walk.min(axis=1), walk[:, -1]], axis=1))
    assert np.sqrt(np.mean(realised_volatility(prices, 60.0, sigma) ** 2)) == pytest.approx(sigma, rel=0.03)


def test_a_replay_is_one_path(house, tmp_path):
    source = replayed(house, tmp_path, bars([UP, DOWN]))
    assert source.paths_available == 1
    for first, count in ((0, 2), (1, 1)):
        with pytest.raises(StudyError, match="one path"):
            source.generate(first, count)
    block = source.generate(0, 1)
    assert (block.premium == 0).all()
    assert (block.regime == -1).all()


# ------------------------------------------------------------------------------------------ transforms


def moves_of(source):
    world = source.generate(0, 1).world[0]
    return np.log(world / world[0])


def test_severity_multiplies_every_log_move_and_compression_its_speed(house, tmp_path):
    rows = bars([UP, DOWN, FLAT, UP])
    plain = moves_of(replayed(house, tmp_path, rows))
    np.testing.assert_allclose(moves_of(replayed(house, tmp_path, rows, severity=1.5)), 1.5 * plain, atol=1e-12)
    fast = replayed(house, tmp_path, rows, minutes=2, step=10.0, time_compression=2)
    np.testing.assert_allclose(moves_of(fast), plain, atol=1e-12)  # a bar takes half its time, at half the step


def test_a_market_is_rescaled_to_a_yearly_volatility_of_its_closes(house, tmp_path):
    rows = bars([UP, DOWN, UP, DOWN])
    world = replayed(house, tmp_path, rows, volatility_to={"BTC": 0.6}).generate(0, 1).world[0, :, 0]
    closes = np.log(world[[0, 3, 6, 9, 12]])  # a bar of one minute is three steps
    yearly = np.sqrt((np.diff(closes) ** 2).mean() / 60 * 365 * 86400)
    assert yearly == pytest.approx(0.6)
    with pytest.raises(StudyError, match="no volatility to rescale"):
        replayed(house, tmp_path, bars([FLAT, FLAT]), volatility_to={"BTC": 0.6})


def test_a_mapped_market_takes_the_moves_of_another_times_beta_from_its_own_price(house, tmp_path):
    rows = bars([UP, DOWN, FLAT])
    mapped = replayed(house, tmp_path, rows, markets=("BTC", "SOL"), map={"SOL": {"source": "BTC", "beta": 2}})
    world = mapped.generate(0, 1).world[0]
    assert world[0, 1] == house.markets["SOL"].price
    moves = np.log(world / world[0])
    np.testing.assert_allclose(moves[:, 1], 2 * moves[:, 0], atol=1e-12)


def test_offsets_are_runs_that_start_earlier_or_later(house, tmp_path):
    entry = {"replay": "x.parquet", "from": START.isoformat(), "offset": ["-1m", "0s", "2m"]}
    runs = expand(parse_scenario(entry, house.regimes.states))
    assert [run.name for run in runs] == ["x -1m", "x +0s", "x +2m"]
    assert [(run.from_ - START).total_seconds() for run in runs] == [-60, 0, 120]
    rows = bars([FLAT, UP, DOWN, FLAT])
    later = replayed(house, tmp_path, rows, minutes=2, **{"from": (START + pd.Timedelta(minutes=1)).isoformat()})
    assert later.generate(0, 1).world[0, 0, 0] == UP[0]
