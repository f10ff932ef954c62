"""The contagion matrix: by hand from block sums, paired, with its interval; shocks on top of paths."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from stress import config, contagion, paths
from stress.errors import StudyError
from stress.grid import BY_MARKET
from stress.paths import shock
from stress.scenarios import parse_scenario

CONFIGS = Path(__file__).parents[2] / "configs"
MARKETS = ["BTC", "ETH"]


def grid_of(cross, isolated, counts=(2, 2)):
    """Return a grid of one shock with block sums (blocks, markets) of every quantity, and so many paths a block."""
    sums = np.stack([cross, isolated]).astype(float)[None, :, :, None, :]
    dims = ("scenario", "margin_mode", "block", "component", "market")
    names = {f"block_sum_{term.name}_by_market": (dims, sums) for term in BY_MARKET}
    paths = np.broadcast_to(counts, (1, 2, len(counts)))
    coords = {"scenario": ["BTC -30%"], "margin_mode": ["cross", "isolated"], "market": MARKETS}
    return xr.Dataset(names | {"block_paths": (dims[:3], paths)}, coords=coords)


def test_differences_elsewhere_and_total_by_hand():
    found = contagion.extend(grid_of([[10, 6], [14, 10]], [[8, 0], [8, 4]]), {"BTC -30%": "BTC"}).isel(shock=0)
    # (10 - 8 + 14 - 8) / 4 paths, (6 - 0 + 10 - 4) / 4 paths
    assert found["contagion_liquidated_notional"].values.tolist() == [2.0, 3.0]
    assert float(found["contagion_liquidated_notional_elsewhere"]) == 3.0
    assert float(found["contagion_liquidated_notional_total"]) == 5.0
    assert int(found["contagion_paths"]) == 4
    assert str(found["shocked_market"].values) == "BTC"


def test_the_interval_is_students_over_blocks():
    cross, isolated = [[10, 6], [14, 10], [3, 9]], [[8, 0], [8, 4], [1, 8]]
    found = contagion.extend(grid_of(cross, isolated, (2, 2, 2)), {"BTC -30%": "BTC"}).isel(shock=0)
    means = (np.array(cross) - np.array(isolated)) / 2.0
    half = stats.t.ppf(0.975, 2) * means.std(axis=0, ddof=1) / math.sqrt(3)
    for end, sign in (("_low", -1), ("_high", 1)):
        bounds = found[f"contagion_mutualised_loss{end}"].values
        assert bounds == pytest.approx(means.mean(axis=0) + sign * half, rel=1e-12)


def test_blocks_that_one_mode_lost_count_in_neither():
    lost = grid_of([[10, 6], [np.nan, np.nan]], [[8, 0], [8, 4]])
    lost["block_paths"] = lost["block_paths"].copy(data=[[[2, 0], [2, 2]]])
    found = contagion.extend(lost, {"BTC -30%": "BTC"}).isel(shock=0)
    assert found["contagion_bad_debt"].values.tolist() == [1.0, 3.0]
    assert int(found["contagion_paths"]) == 2
    assert np.isnan(found["contagion_bad_debt_low"]).all()  # one block has no spread


@pytest.mark.parametrize("modes", [["cross"], ["isolated"]])
def test_one_mode_alone_has_no_matrix(modes):
    data = grid_of([[1, 1], [1, 1]], [[1, 1], [1, 1]]).sel(margin_mode=modes)
    assert contagion.extend(data, {"BTC -30%": "BTC"}) is data


def test_only_shocks_of_one_market_that_leave_the_others_are_rows():
    alone = parse_scenario({"shocks": {"BTC": -0.3}, "over": "10m"}, ())
    assert alone.alone == "BTC"
    assert parse_scenario({"shocks": {"BTC": -0.3, "ETH": -0.1}, "over": "10m"}, ()).alone is None
    assert parse_scenario({"shocks": {"BTC": -0.3}, "others": "by_beta", "over": "10m"}, ()).alone is None


def sources(**changed):
    model = config.load_study(CONFIGS / "studies/quickstart.yaml").market
    entry = {"name": "fall", "shocks": {"BTC": -0.3}, "over": "10m", "depth": 0.5, **changed}
    shape = {"markets": MARKETS, "horizon": 3600.0, "step": 60.0, "seed": 7}
    plain = paths.compose(model, parse_scenario("stress", ["stress"]), **shape)
    return plain, paths.compose(model, parse_scenario({**entry, "on": "stress"}, ["stress"]), **shape)


@pytest.mark.parametrize("at", ["0s", "20m"])
def test_a_shock_on_top_multiplies_every_path_and_nothing_else(at):
    plain, shocked = (source.generate(5, 3) for source in sources(at=at))
    minute = np.arange(61)
    start = 0 if at == "0s" else 20
    factor = 0.7 ** np.clip((minute - start) / 10, 0, 1)
    np.testing.assert_allclose(shocked.world[..., 0], plain.world[..., 0] * factor, rtol=1e-14)
    np.testing.assert_array_equal(shocked.world[..., 1], plain.world[..., 1])
    np.testing.assert_allclose(
        shocked.depth, plain.depth * np.where(minute >= start, 0.5, 1.0)[None, :, None], rtol=1e-14
    )
    np.testing.assert_array_equal(shocked.premium, plain.premium)
    assert shocked.first_path == 5


def test_a_shock_on_top_is_many_paths_and_an_outage_is_in_each():
    _, shocked = sources(oracle_outage={"from": "10m", "to": "12m"})
    assert shocked.paths_available is None
    assert not shocked.scenario.one_path
    block = shocked.generate(0, 2)
    assert block.oracle_outage[:, :, 0].sum(axis=1).tolist() == [2, 2]
    assert shock.on_top(shocked.overlay, block).venue_outage.shape == (2, 61)


def test_a_regime_that_the_market_lacks_is_refused_by_name():
    with pytest.raises(StudyError, match="is not a regime") as refused:
        parse_scenario({"shocks": {"BTC": -0.3}, "over": "10m", "on": "pannic"}, ["calm", "panic"])
    assert "panic" in str(refused.value)
