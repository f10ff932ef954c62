"""Resampled hours: rows stay together, wicks are visited, GARCH is recovered, tails are spliced, files are held to hashes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stress.config import load_market, load_study
from stress.errors import StressError, StudyError
from stress.kernels.rng import round_keys
from stress.paths import compose, resampled
from stress.paths.replay import PriceHistory
from stress.paths.resampled import Garch, Resampled, fit_garch, hours_of, variance
from stress.provenance import file_hash
from stress.scenarios import RegimeScenario
from stress.sweep.workbench import Workbench

CONFIGS = Path(__file__).parents[2] / "configs"
STATIONARY = RegimeScenario(name="stationary", start="stationary")
GARCH = Garch(omega=4e-7, alpha=0.06, beta=0.92, lower=(2.6, 0.8, 0.2), upper=(2.6, 0.8, 0.2))


def bars(hours=3000, seed=1):
    draws = np.random.default_rng(seed)
    common = draws.standard_normal(hours)
    frames = []
    for name, level in (("BTC", 60_000.0), ("ETH", 2000.0)):
        close = level * np.exp(np.cumsum(0.004 * (0.8 * common + 0.6 * draws.standard_normal(hours))))
        opened = np.concatenate([[level], close[:-1]])
        frames.append(
            pd.DataFrame(
                {
                    "ts": pd.date_range("2024-01-01", periods=hours, freq="1h", tz="UTC"),
                    "venue": "",
                    "symbol": name,
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.01,
                    "low": np.minimum(opened, close) * 0.97,
                    "close": close,
                    "row": np.arange(hours) + 1,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def source(layer, table=None, **changes):
    house = load_market(CONFIGS / "markets/house.yaml").model_copy(update={"resampled": layer})
    history = PriceHistory("bars", bars() if table is None else table, 3600.0, 0)
    keys = {"markets": ("BTC", "ETH"), "horizon": 86400.0, "step": 60.0, "seed": 1, "history": history, **changes}
    return compose(house, STATIONARY, **keys)


def bootstrap(**changes):
    return Resampled(law="block_bootstrap", file="bars.csv", blake2b="0", **changes)


def test_hours_are_those_of_the_data_in_blocks_with_all_markets_at_once():
    made = source(bootstrap(mean_block="12h"))
    drawn, data = hours_of(made.keys, made.terms, 3), made.terms.rows
    found = [int(np.flatnonzero((data.close == bar[0]).all(axis=1))[0]) for bar in drawn]
    follows = sum(b == (a + 1) % len(data.close) for a, b in pairwise(found))
    assert 15 <= follows <= 23
    assert (drawn[0, 2] == data.low[found[0]]).all()


def test_the_wick_of_every_hour_is_visited():
    made = source(bootstrap())
    world = made.generate(0, 2).world
    assert world.shape == (2, 1441, 2)
    drawn = hours_of(made.keys, made.terms, 1)
    for hour in (0, 7):
        start, inside = world[1, 60 * hour], world[1, 60 * hour : 60 * hour + 61]
        np.testing.assert_allclose(np.log(inside.min(axis=0) / start), drawn[hour, 2], rtol=1e-9)
        np.testing.assert_allclose(np.log(inside[-1] / start), drawn[hour, 0], rtol=1e-9)


def test_a_path_does_not_depend_on_blocks_or_horizon():
    made, longer = source(bootstrap()), source(bootstrap(), horizon=2 * 86400.0)
    np.testing.assert_array_equal(made.generate(0, 4).world[3], made.generate(3, 1).world[0])
    np.testing.assert_array_equal(longer.generate(3, 1).world[0, :1441], made.generate(3, 1).world[0])


def simulated(garch, hours, seed):
    z = np.random.default_rng(seed).standard_t(6, hours) / np.sqrt(1.5)
    r, now = np.empty(hours), garch.mean
    for t in range(hours):
        r[t] = np.sqrt(now) * z[t]
        now = garch.omega + garch.alpha * r[t] ** 2 + garch.beta * now
    return r


def test_garch_parameters_are_recovered():
    fits = [fit_garch(simulated(GARCH, 8000, seed)) for seed in range(4)]
    alpha, beta = np.array([(fit.alpha, fit.beta) for fit in fits]).T
    assert alpha.mean() == pytest.approx(GARCH.alpha, abs=0.015)
    assert beta.mean() == pytest.approx(GARCH.beta, abs=0.02)
    assert all(fit.alpha + fit.beta <= resampled.PERSISTENCE + 1e-12 for fit in fits)


def test_persistence_is_capped_and_the_mean_is_the_variance_of_the_data():
    # A break in volatility looks like one that never fades.
    r = np.random.default_rng(2).standard_t(6, 8000) * np.repeat([0.002, 0.012], 4000)
    fit = fit_garch(r)
    assert fit.alpha + fit.beta == pytest.approx(resampled.PERSISTENCE)
    assert fit.mean == pytest.approx(r.var(), rel=1e-6)


def test_filtered_residuals_rebuild_the_data_and_tails_reach_beyond_them():
    layer = Resampled(law="garch_fhs", file="x", blake2b="0", garch={"BTC": GARCH, "ETH": GARCH})
    made = source(layer)
    data = made.terms.rows.close[:, 0]
    np.testing.assert_allclose(made.terms.scale[:, 0] ** 2, variance(data, GARCH))
    z = data / made.terms.scale[:, 0]
    keys, hit = round_keys(1, 2), 0
    for path in range(60):
        drawn = hours_of(keys, made.terms, path)[:, 0, 0]
        now = GARCH.mean
        for r in drawn:
            hit += abs(r) / np.sqrt(now) > np.abs(z).max()
            now = GARCH.omega + GARCH.alpha * r * r + GARCH.beta * now
    assert hit > 0


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"step": 1800.0}, "step"), ({"horizon": 5400.0}, "step"), ({"history": None}, "market.resampled")],
)
def test_what_hours_cannot_resolve_is_refused(changes, key):
    with pytest.raises(StudyError) as refused:
        source(bootstrap(), **changes)
    assert refused.value.key == key


def test_regimes_and_missing_markets_are_refused():
    with pytest.raises(StressError, match="no bars"):
        source(bootstrap(), markets=("BTC", "SOL"))
    with pytest.raises(StudyError, match="no GARCH"):
        source(Resampled(law="garch_fhs", file="x", blake2b="0"))
    house = load_market(CONFIGS / "markets/house.yaml").model_copy(update={"resampled": bootstrap()})
    with pytest.raises(StudyError, match="no regime"):
        compose(house, RegimeScenario(name="panic", start="panic"), markets=("BTC",), horizon=3600.0, step=60.0, seed=1)


def test_a_study_finds_the_file_by_name_and_holds_it_to_its_hash(tmp_path):
    file = tmp_path / "bars.csv"
    bars().drop(columns=["row", "venue"]).to_csv(file, index=False)
    market = yaml.safe_load((CONFIGS / "markets/house.yaml").read_text())
    market["resampled"] = {"law": "block_bootstrap", "file": "bars.csv", "blake2b": file_hash(file)}
    (tmp_path / "market.yaml").write_text(yaml.safe_dump(market, sort_keys=False))
    study = yaml.safe_load((CONFIGS / "studies/first_look.yaml").read_text())
    study |= {
        "market": "market.yaml",
        "protocol": str(CONFIGS / "protocols/reference.yaml"),
        "scenarios": ["stationary"],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    loaded = load_study(tmp_path / "study.yaml", market_data=tmp_path)
    assert loaded.data_hashes == {"bars.csv": file_hash(file)}
    assert Workbench(loaded).source(0).generate(0, 1).world.shape == (1, 361, 2)
    file.write_text(file.read_text() + "\n")
    with pytest.raises(StressError, match="not the one"):
        load_study(tmp_path / "study.yaml", market_data=tmp_path)
