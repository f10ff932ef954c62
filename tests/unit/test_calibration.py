"""Calibration: a fit of simulated bars finds what they were drawn from; the command writes a market file and a page."""

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stress import calibration
from stress.calibration import states
from stress.calibration.diagnostics import adverse, excursions_of, statistics
from stress.calibration.fit import _chains, blocks, flat
from stress.calibration.samples import INSIDE, Sample, block_bootstrap, garch_fhs, hourly, paths
from stress.cli import main
from stress.config import load_market
from stress.errors import PriceFileError, StudyError
from stress.paths import regimes
from stress.paths.depth import fit_elasticity
from stress.paths.replay import PriceHistory
from stress.sources import read_prices

CONFIGS = Path(__file__).parents[2] / "configs"
MARKETS = ("BTC", "ETH", "SOL", "XRP")


@pytest.fixture(scope="module")
def house():
    model = load_market(CONFIGS / "markets/house.yaml")
    kept = {name: model.markets[name] for name in MARKETS}
    pairs = {a: {b: v for b, v in of.items() if b in kept} for a, of in model.correlation.items() if a in kept}
    return model.model_copy(update={"markets": kept, "correlation": {a: of for a, of in pairs.items() if of}})


def quiet(model):
    """The model without jumps."""
    still = {name: market.model_copy(update={"own_jumps": None}) for name, market in model.markets.items()}
    return model.model_copy(update={"markets": still, "jumps": model.jumps.model_copy(update={"common": None})})


def bars_of(model, hours, seed):
    """Simulated hourly bars as a price history, and as a table."""
    sample = next(paths([model], hours, seed))
    times = pd.date_range("2024-01-01", periods=hours + 1, freq="1h", tz="UTC")
    frames = []
    for i, name in enumerate(model.markets):
        x = np.concatenate([[0.0], np.cumsum(sample.returns[:, i])])
        high = np.concatenate([[0.0], np.maximum(sample.high[:, i] + x[:-1], np.maximum(x[:-1], x[1:]))])
        low = np.concatenate([[0.0], np.minimum(sample.low[:, i] + x[:-1], np.minimum(x[:-1], x[1:]))])
        prices = 100 * np.exp(np.stack([np.concatenate([[0.0], x[:-1]]), high, low, x]))
        columns = dict(zip(("open", "high", "low", "close"), prices, strict=True))
        frames.append(
            pd.DataFrame({"ts": times, "venue": "", "symbol": name, **columns, "row": np.arange(hours + 1) + 1})
        )
    table = pd.concat(frames, ignore_index=True)
    return PriceHistory("simulated", table, 3600.0, 0)


@pytest.fixture(scope="module")
def fitted(house):
    history = bars_of(house, 12_000, 3)
    return calibration.calibrate([history], house, name="again", data=[], replicates=10)


def test_a_fit_of_simulated_bars_is_near_what_they_were_drawn_from(house, fitted):
    model, returns = fitted.model, fitted.panel.returns
    for i, name in enumerate(MARKETS):
        assert model.markets[name].volatility == pytest.approx(house.markets[name].volatility, rel=0.3)
        # Regimes and slow volatility trade places in a fit; what they give together must not move.
        again = next(paths([model], 12_000, 5)).returns[:, i]
        assert again.std() == pytest.approx(returns[:, i].std(), rel=0.25)
    assert model.correlation["ETH"]["BTC"] == pytest.approx(house.correlation["ETH"]["BTC"], abs=0.06)
    errors = model.calibration.standard_errors
    assert all(error > 0 for error in errors.values())
    assert "markets.BTC.volatility" in errors


def test_calm_is_as_common_as_it_was_simulated_though_volatility_moves_and_prices_jump(house, fitted):
    model = fitted.model
    assert model.calibration.occupancy["calm"] == pytest.approx(house.regimes.stationary[0], abs=0.15)


def test_regimes_slow_volatility_and_weekdays_are_told_apart(house):
    hours = np.arange(40_000)
    weekday = hours // 24 % 7
    factor = np.array([1.1, 1.05, 1.0, 1.0, 1.0, 0.8, 0.9])
    returns = next(paths([quiet(house)], len(hours), 8)).returns * factor[weekday][:, None]
    found = states.Fit(returns, weekday, np.array([1.0, 1.8, 3.5]), house.regimes.matrix).read()
    np.testing.assert_allclose(found.chance.mean(axis=0), house.regimes.stationary, atol=0.03)
    np.testing.assert_allclose(found.multiples[1], house.regimes.values("volatility")[1], rtol=0.15)
    np.testing.assert_allclose(found.weekdays, factor / np.sqrt((factor**2).mean()), rtol=0.06)
    assert found.sd == pytest.approx(house.volatility.sd, rel=0.15)
    assert found.half_life == pytest.approx(120, rel=0.4)
    assert 1 - found.transition[0, 0] == pytest.approx(1 - house.regimes.matrix[0, 0], rel=1.0)


def test_a_sample_without_regimes_has_none_of_them(house):
    one = house.model_copy(update={"regimes": regimes.Regimes()})
    returns = next(paths([quiet(one)], 20_000, 4)).returns
    found = states.Fit(returns, np.zeros(len(returns), int), np.array([1.0, 2.0, 4.0]), house.regimes.matrix).read()
    assert found.chance[:, 0].mean() > 0.97


def test_what_prices_cannot_identify_comes_from_the_template(house, fitted):
    model = fitted.model
    assert model.markets["SOL"].depth_usd == house.markets["SOL"].depth_usd
    assert model.depth == house.depth
    assert model.calibration.kept


def test_the_file_of_a_fit_is_a_market_file(fitted, tmp_path):
    model = fitted.model
    file = tmp_path / "again.yaml"
    file.write_text(calibration.as_yaml(model))
    assert flat(load_market(file).model_dump()) == pytest.approx(flat(model.model_dump()))


def test_the_page_shows_data_of_the_fit_itself_inside_its_band(house, fitted):
    found = calibration.compare([house], fitted.panel, replicates=12, seed=9)
    for model in found.simulated:
        inside = [found.inside(key, model) for key in found.data if found.inside(key, model) is not None]
        assert np.mean(inside) > 0.5  # 90 % expected; statistics hang together, and challengers have no house
    inside, judged = map(sum, zip(*(found.count(group) for group in ("moments", "tails", "excursions")), strict=True))
    assert inside / judged > 0.6
    page = calibration.page(fitted.model, found, fitted.panel)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    assert "block bootstrap" in page
    assert "A band from 12 samples is narrower" in page
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<figure>") == page.count('role="img"')
    assert page.count("<details>") + page.count("<details open>") >= 5  # the numbers of each figure


def test_the_band_holds_the_spread_of_the_parameter_draws(fitted):
    wide = fitted.model.model_copy(update={"volatility": None, "wicks": None})

    def times(factor):
        markets = {n: m.model_copy(update={"volatility": factor * m.volatility}) for n, m in wide.markets.items()}
        return wide.model_copy(update={"markets": markets})

    key = ("moments", "volatility of hours", "BTC")
    one, both = (
        calibration.compare(models, fitted.panel, replicates=8, challengers=False).band(key)
        for models in ([wide], [times(0.5), times(2.0)])
    )
    assert both[2] - both[0] > 3 * (one[2] - one[0])
    assert len(fitted.draws) == 10
    assert len({draw.markets["BTC"].volatility for draw in fitted.draws}) == 10


def miss(fitted, change, key, **of):
    """The diagnosis of one statistic after a change of the data, from few samples of the fit."""
    panel = dataclasses.replace(fitted.panel, **change(fitted.panel))
    found = calibration.compare([fitted.model], panel, replicates=6, challengers=False)
    made = [one for one in calibration.diagnose(found, panel, ("BTC",)) if one.key == ("excursions", key, "BTC")]
    assert made, found.band(("excursions", key, "BTC"))
    return made[0], calibration.page(fitted.model, found, panel)


def test_wicks_that_the_fit_lacks_are_named_as_what_happened_inside_hours(fitted):
    often = np.arange(len(fitted.panel.low))[:, None] % 50 == 0
    made, page = miss(fitted, lambda p: {"low": np.where(often, -0.5, p.low)}, "long, 1 h, 1 %")
    assert made.data == pytest.approx(1 - np.exp(-0.5))
    assert made.leading == "inside"
    assert "highs and lows reached further" in made.reason()
    assert not made.crowded
    assert "What lies outside, and why" in page


def test_data_more_volatile_than_the_fit_are_named_so(fitted):
    made, _ = miss(
        fitted, lambda p: {"returns": 2 * p.returns, "high": 2 * p.high, "low": 2 * p.low}, "short, 24 h, 1 %"
    )
    assert made.leading == "volatility"
    assert made.factors["volatility"] == pytest.approx(2, rel=0.3)
    assert np.prod(list(made.factors.values())) == pytest.approx(made.ratio)
    assert "volatility " in made.reason()


def test_one_crash_that_makes_a_quantile_is_dated_and_taken_out(fitted):
    def crash(p):
        low = p.low.copy()
        low[5000:5024, 0] = -0.6
        return {"low": low}

    made, _ = miss(fitted, crash, "long, 4 h, 0.1 %")
    assert made.crowded
    assert made.window[0] <= str(fitted.panel.hours[5010].date()) <= made.window[1]
    assert made.without < made.data
    assert made.leading == "inside"
    assert "at 1 h by " in made.reason()
    assert made.window[0] in made.crash()


def test_excursions_by_hand():
    x = np.log(np.array([100, 90, 95, 110.0]))
    bars = np.diff(x), np.log([1.0, 1.1, 1.2]), np.log([0.8, 0.99, 0.98])
    down, up = adverse(*bars, 1)
    np.testing.assert_allclose(down, [0.2, 0.01, 0.02])
    down, up = adverse(*bars, 2)
    np.testing.assert_allclose(down, [1 - min(0.8, 0.9 * 0.99), 1 - min(0.99, 95 / 90 * 0.98)])
    np.testing.assert_allclose(up, [max(1.0, 0.9 * 1.1) - 1, max(1.1, 95 / 90 * 1.2) - 1])


def test_excursions_of_real_bars_are_those_of_the_published_table(market_data):
    table = pd.read_csv(market_data / "adverse_excursion_quantiles.csv").set_index(["sym", "h"])
    history = calibration.by_market(read_prices(market_data / "binance_spot_1h.parquet"))
    panel = calibration.panel([history], MARKETS[:3], MARKETS[:3])
    since = panel.hours > pd.Timestamp("2020-10-15", tz="UTC")
    for i, market in enumerate(panel.markets):
        found = excursions_of(panel.returns[since, i], panel.high[since, i], panel.low[since, i])
        for horizon in (1, 4, 24):
            for column, side, sign in (("L", "long", -1), ("S", "short", 1)):
                for level in (1, 0.1):
                    value = 100 * sign * found["excursions", f"{side}, {horizon} h, {level:g} %"]
                    assert value == pytest.approx(table.loc[(market, horizon), f"{column}{level:g}%"], rel=0.01)


def test_a_block_bootstrap_draws_rows_as_they_were(fitted):
    panel, sample = fitted.panel, next(block_bootstrap(fitted.panel, 4))
    again = next(block_bootstrap(panel, 4))
    np.testing.assert_array_equal(sample.returns, again.returns)
    rows = {row.tobytes() for row in np.concatenate([panel.returns, panel.low], axis=1)}
    assert all(row.tobytes() in rows for row in np.concatenate([sample.returns, sample.low], axis=1))
    follows = {panel.returns[t].tobytes(): panel.returns[t + 1].tobytes() for t in range(len(panel.returns) - 1)}
    runs = [follows.get(a.tobytes()) == b.tobytes() for a, b in itertools.pairwise(sample.returns)]
    assert np.mean(runs) == pytest.approx(1 - 1 / 336, abs=0.003)


def test_garch_residuals_make_volatility_of_the_data_and_leave_holes_where_they_were(fitted):
    returns = fitted.panel.returns.copy()
    returns[:6000, 3] = np.nan
    panel = dataclasses.replace(fitted.panel, returns=returns)
    drawn = [sample for sample, _ in zip(garch_fhs(panel, 4), range(9), strict=False)]  # more than one batch
    assert drawn[0].returns.shape == returns.shape
    spread = np.array([np.nanstd(sample.returns, axis=0) for sample in drawn]).mean(axis=0)
    np.testing.assert_allclose(spread, np.nanstd(returns, axis=0), rtol=0.3)
    assert np.mean([np.isnan(sample.returns[:, 3]).mean() for sample in drawn]) == pytest.approx(0.5, abs=0.15)
    assert all((sample.low[np.isfinite(sample.low)] <= 1e-12).all() for sample in drawn)
    found = [statistics(sample, panel.markets)["clustering", "|r| at 1 h", "BTC"] for sample in drawn]
    assert np.mean(found) > 0.03


def test_extremes_between_steps_are_those_of_the_motion():
    draws = np.random.default_rng(4)
    hours, inside, sigma = 400, 600, 0.01
    fine = np.concatenate([[0.0], np.cumsum(draws.standard_normal(hours * inside) * sigma / np.sqrt(inside))])
    coarse = hourly(fine[:: inside // INSIDE][:, None])
    true = fine[1:].reshape(hours, inside).min(axis=1) - fine[:-1:inside]
    # The fine walk has its own 0.5826 sigma sqrt(step) to the motion.
    assert coarse.low.mean() == pytest.approx(true.mean() - 0.5826 * sigma / np.sqrt(inside), rel=0.03)


def test_statistics_of_a_random_walk():
    draws = np.random.default_rng(5)
    r = 0.01 * draws.standard_normal((20_000, 2))
    found = statistics(Sample(r, np.abs(r), -np.abs(r)), ("A", "B"))
    assert found[("moments", "volatility of hours", "A")] == pytest.approx(0.01 * np.sqrt(8760), rel=0.02)
    assert abs(found[("moments", "excess kurtosis", "A")]) < 0.15
    assert abs(found[("clustering", "|r| at 24 h", "A")]) < 0.03
    assert found[("dependence", "tail, 1 %", "B")] < 0.05


def test_bootstrap_weights_count_every_hour_once_on_average():
    drawn = np.array(list(blocks(500, 50.0, 200, 1)))
    assert (drawn.sum(axis=1) == 500).all()
    assert drawn.mean() == 1
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.5  # neighbours come together


def test_the_command_writes_file_and_page(tmp_path, house, capsys):
    table = bars_of(house, 2500, 6).table.drop(columns=["row", "venue"])
    file, out = tmp_path / "bars.parquet", tmp_path / "mine.yaml"
    table.assign(symbol=table["symbol"] + "USDT").to_parquet(file)
    with pytest.raises(SystemExit, match="0"):
        main(["calibrate", str(file), "-o", str(out), "--replicates", "3", "--samples", "2",
              "--template", str(CONFIGS / "markets/house.yaml")])  # fmt: skip
    model = load_market(out)
    assert set(model.markets) == set(MARKETS)
    assert model.calibration.data[0].file == "bars.parquet"
    assert out.with_suffix(".html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("change", "error", "key"),
    [
        (lambda t: t[t["symbol"] != "x"].assign(ts=t["ts"] + (t["ts"] - t["ts"].min())), PriceFileError, "bar"),
        (lambda t: t[t["ts"] < t["ts"].min() + pd.Timedelta("100h")], StudyError, "markets"),
        (lambda t: pd.concat([t, t.assign(venue="other")]), PriceFileError, "symbol"),
    ],
)
def test_bars_that_cannot_be_fitted_are_refused(house, change, error, key):
    history = bars_of(house, 2100, 7)
    bar = 7200.0 if key == "bar" else 3600.0
    with pytest.raises(error) as refused:
        calibration.calibrate([PriceHistory("x", change(history.table), bar, 0)], house, name="x", data=[])
    assert refused.value.key == key
    assert refused.value.fix


def test_chains_of_replicates_are_chains_though_their_chances_were_moved_below_zero(fitted):
    draws = np.random.default_rng(3)
    whole = np.array([[0.99, 0.01, 0.0], [0.04, 0.95, 0.01], [0.0, 0.1, 0.9]])
    moved = np.tile(whole, (400, 1, 1))
    moved[:, 0, 1] *= 1 + 0.5 * draws.standard_normal(400)
    moved[:, 2, 1] *= 1 + 1.5 * draws.standard_normal(400)
    assert (moved < 0).any()
    chains = _chains(whole.tolist(), moved.tolist(), fitted.panel)
    assert (chains >= 0).all()
    np.testing.assert_allclose(chains.sum(axis=2), 1)
    assert (chains[:, 2, 2] < 1).all()
    for i, j in ((0, 1), (2, 1)):
        assert chains[:, i, j].mean() == pytest.approx(whole[i, j], rel=0.1)
    assert chains[:, 0, 1].std() == pytest.approx(0.005, rel=0.1)
    assert np.corrcoef(chains[:, 0, 1], moved[:, 0, 1])[0, 1] > 0.95  # the replicate keeps its place


def depth_file(file, bars, hours):
    """Samples every half hour of the first hours, which fall as the volatility of the day around them rises."""
    frames = []
    for symbol, rows in bars.groupby("symbol"):
        r = np.log(rows["close"]).diff().fillna(0.0)
        spread = np.sqrt((r**2).rolling(24, center=True, min_periods=6).mean())
        usd = (8e7 * spread.median() / spread).to_numpy()[:hours].repeat(2)
        times = pd.date_range(rows["ts"].iloc[0], periods=2 * hours, freq="30min")
        sides = {f"{side}_100bps_usd": usd for side in ("bid", "ask")}
        ends = np.arange(2 * hours) == 5  # one snapshot that ends before 1 %
        nearer = {f"{side}_50bps_usd": np.where(ends, usd, 0.6 * usd) for side in ("bid", "ask")}
        frames.append(
            pd.DataFrame({"ts": times, "symbol": symbol + "USDT", "bid": 99.9, "ask": 100.1, **nearer, **sides})
        )
    pd.concat(frames).to_csv(file, index=False)
    return str(file)


def test_depth_is_fitted_where_it_is_given_and_kept_where_it_is_short(tmp_path, house, capsys):
    bars = bars_of(house, 2500, 6).table.drop(columns=["row", "venue"])
    prices, out = tmp_path / "bars.parquet", tmp_path / "deep.yaml"
    bars.to_parquet(prices)

    def fitted_with(depth):
        with pytest.raises(SystemExit, match="0"):
            main(["calibrate", str(prices), "-o", str(out), "--depth", depth, "--replicates", "5", "--samples", "2",
                  "--markets", "BTC", "ETH", "--template", str(CONFIGS / "markets/house.yaml")])  # fmt: skip
        return load_market(out), out.with_suffix(".html").read_text()

    model, page = fitted_with(depth_file(tmp_path / "long.csv", bars, 1500))
    assert model.depth.phi == pytest.approx(1.0, abs=0.5)
    assert 0 < model.calibration.standard_errors["depth.phi"] < 0.5
    assert model.markets["BTC"].depth_usd == pytest.approx(8e7, rel=0.4)
    assert model.depth.floor == house.depth.floor
    assert "depth.floor" in model.calibration.kept
    assert model.calibration.depth.data[0].file == "long.csv"
    assert model.calibration.depth.hours["BTC"] > 1000
    assert any("BTC: 1 depth samples of long.csv end before" in line for line in model.calibration.warnings)
    assert "Depth falls as volatility to the power" in page

    model, page = fitted_with(depth_file(tmp_path / "short.csv", bars, 100))
    assert model.depth == house.depth
    assert "depth" in model.calibration.kept
    assert any("depth.phi is kept from the template" in line for line in model.calibration.warnings)
    assert "too short a sample" in page

    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", str(prices), "-o", str(out), "--depth", str(prices)])
    assert "bid_100bps_usd" in capsys.readouterr().err


def test_an_elasticity_by_hand():
    volatility = np.array([0.0, 1.0, 2.0, 3.0])
    depth = np.stack([10 - 0.5 * volatility, [7.0, np.nan, 6.0, np.nan]], axis=1)
    phi, level = fit_elasticity(depth, volatility, np.ones(4))
    assert phi == pytest.approx(0.5)
    np.testing.assert_allclose(level, [10.0, 7.0])


def test_a_parameter_draw_may_jump_more_often_than_the_file_provides_for(house):
    common = house.jumps.common.model_copy(update={"intensity": 500.0})
    often = house.model_copy(update={"jumps": house.jumps.model_copy(update={"common": common})})
    calm = next(paths([house], 2000, 2)).returns
    np.testing.assert_array_equal(next(paths([house], 2000, 2)).returns, calm)
    assert np.abs(next(paths([often], 2000, 2)).returns).max() > np.abs(calm).max()
