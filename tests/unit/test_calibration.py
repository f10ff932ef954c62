"""Calibration: a fit of simulated bars finds what they were drawn from; the command writes a market file and a page."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stress import calibration
from stress.calibration import states
from stress.calibration.diagnostics import INSIDE, _excursions, _hourly, simulate, statistics
from stress.calibration.fit import blocks, flat
from stress.cli import main
from stress.config import load_market
from stress.errors import PriceFileError, StudyError
from stress.paths import regimes
from stress.paths.replay import PriceHistory

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
    sample = next(simulate(model, hours, seed))
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
    model = calibration.calibrate([history], house, name="again", data=[], replicates=10)
    return history, model


def test_a_fit_of_simulated_bars_is_near_what_they_were_drawn_from(house, fitted):
    history, model = fitted
    returns = calibration.panel([history], MARKETS).returns
    for i, name in enumerate(MARKETS):
        assert model.markets[name].volatility == pytest.approx(house.markets[name].volatility, rel=0.3)
        # Regimes and slow volatility trade places in a fit; what they give together must not move.
        again = next(simulate(model, 12_000, 5)).returns[:, i]
        assert again.std() == pytest.approx(returns[:, i].std(), rel=0.25)
    assert model.correlation["ETH"]["BTC"] == pytest.approx(house.correlation["ETH"]["BTC"], abs=0.06)
    errors = model.calibration.standard_errors
    assert all(error > 0 for error in errors.values())
    assert "markets.BTC.volatility" in errors


def test_calm_is_as_common_as_it_was_simulated_though_volatility_moves_and_prices_jump(house, fitted):
    _, model = fitted
    assert model.calibration.occupancy["calm"] == pytest.approx(house.regimes.stationary[0], abs=0.15)


def test_regimes_slow_volatility_and_weekdays_are_told_apart(house):
    hours = np.arange(40_000)
    weekday = hours // 24 % 7
    factor = np.array([1.1, 1.05, 1.0, 1.0, 1.0, 0.8, 0.9])
    returns = next(simulate(quiet(house), len(hours), 8)).returns * factor[weekday][:, None]
    found = states.Fit(returns, weekday, np.array([1.0, 1.8, 3.5]), house.regimes.matrix).read()
    np.testing.assert_allclose(found.chance.mean(axis=0), house.regimes.stationary, atol=0.03)
    np.testing.assert_allclose(found.multiples[1], house.regimes.values("volatility")[1], rtol=0.15)
    np.testing.assert_allclose(found.weekdays, factor / np.sqrt((factor**2).mean()), rtol=0.06)
    assert found.sd == pytest.approx(house.volatility.sd, rel=0.15)
    assert found.half_life == pytest.approx(120, rel=0.4)
    assert 1 - found.transition[0, 0] == pytest.approx(1 - house.regimes.matrix[0, 0], rel=1.0)


def test_a_sample_without_regimes_has_none_of_them(house):
    one = house.model_copy(update={"regimes": regimes.Regimes()})
    returns = next(simulate(quiet(one), 20_000, 4)).returns
    found = states.Fit(returns, np.zeros(len(returns), int), np.array([1.0, 2.0, 4.0]), house.regimes.matrix).read()
    assert found.chance[:, 0].mean() > 0.97


def test_what_prices_cannot_identify_comes_from_the_template(house, fitted):
    _, model = fitted
    assert model.markets["SOL"].depth_usd == house.markets["SOL"].depth_usd
    assert model.depth == house.depth
    assert model.calibration.kept


def test_the_file_of_a_fit_is_a_market_file(fitted, tmp_path):
    _, model = fitted
    file = tmp_path / "again.yaml"
    file.write_text(calibration.as_yaml(model))
    assert flat(load_market(file).model_dump()) == pytest.approx(flat(model.model_dump()))


def test_the_page_shows_data_of_the_fit_itself_inside_its_band(house, fitted):
    history, model = fitted
    panel = calibration.panel([history], MARKETS)
    found = calibration.compare(house, panel, replicates=12, seed=9)
    judged = [key for key in found.data if found.inside(key) is not None]
    assert np.mean([found.inside(key) for key in judged]) > 0.6  # 90 % expected; statistics hang together
    page = calibration.page(model, found)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "Adverse excursions" in page
    assert "<script" not in page


def test_an_excursion_outside_the_band_is_said_with_its_reason(fitted):
    history, model = fitted
    panel = calibration.panel([history], MARKETS)
    crash = dataclasses.replace(panel, low=np.where(np.arange(len(panel.low))[:, None] % 50 == 0, -0.5, panel.low))
    found = calibration.compare(model, crash, replicates=3)
    said = calibration.excursions_outside(found, ("BTC",))
    assert any(line.startswith("BTC long, 1 h, 1 %: data 39.35%") and "rarer in the fit" in line for line in said)
    assert "Which not, and why" in calibration.page(model, found)


def test_excursions_by_hand():
    x = np.log(np.array([100, 90, 95, 110.0]))
    bars = calibration.diagnostics.Sample(
        np.diff(x)[:, None], np.log([1.0, 1.1, 1.2])[:, None], np.log([0.8, 0.99, 0.98])[:, None]
    )
    down, up = _excursions(bars, 0, 1)
    np.testing.assert_allclose(down, [-0.2, -0.01, -0.02])
    down, up = _excursions(bars, 0, 2)
    np.testing.assert_allclose(down, [min(0.8, 0.9 * 0.99) - 1, min(0.99, 95 / 90 * 0.98) - 1])
    np.testing.assert_allclose(up, [max(1.0, 0.9 * 1.1) - 1, max(1.1, 95 / 90 * 1.2) - 1])


def test_extremes_between_steps_are_those_of_the_motion():
    draws = np.random.default_rng(4)
    hours, inside, sigma = 400, 600, 0.01
    fine = np.concatenate([[0.0], np.cumsum(draws.standard_normal(hours * inside) * sigma / np.sqrt(inside))])
    coarse = _hourly(fine[:: inside // INSIDE][:, None])
    true = fine[1:].reshape(hours, inside).min(axis=1) - fine[:-1:inside]
    # The fine walk has its own 0.5826 sigma sqrt(step) to the motion.
    assert coarse.low.mean() == pytest.approx(true.mean() - 0.5826 * sigma / np.sqrt(inside), rel=0.03)


def test_statistics_of_a_random_walk():
    draws = np.random.default_rng(5)
    r = 0.01 * draws.standard_normal((20_000, 2))
    found = statistics(calibration.diagnostics.Sample(r, np.abs(r), -np.abs(r)), ("A", "B"))
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
