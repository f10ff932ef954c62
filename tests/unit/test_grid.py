"""Block records, their merge and the store: by hand, in any order, and damaged on purpose."""

import math
import warnings

import numpy as np
import pytest
import xarray as xr

from stress import grid, measures
from stress.errors import StoreError
from stress.grid import Layout, Piece, merging
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES, SCHEMA_VERSION

PATHS = np.dtype([(term.name, term.dtype) for term in PATH_OUTCOMES])
MARKETS = np.dtype([(term.name, term.dtype) for term in MARKET_OUTCOMES])
LAYOUT = Layout({"scenario": ("calm", "panic")}, {"cap": (10.0, 20.0, 40.0)}, ("BTC", "ETH"), (40, 40), 8)


def outcomes(first, count, point=0, cell=0):
    """Outcomes that depend on (path, point, cell) alone, with a loss on every fifth path."""
    paths, markets = np.zeros(count, PATHS), np.zeros((count, 2), MARKETS)
    number = np.arange(first, first + count)
    paths["mutualised_loss"] = np.where(number % 5 == 0, 0.1 * (number + 1) * (cell + 1) * 10.0**point, 0.0)
    paths["bad_debt"] = paths["mutualised_loss"] / 3
    paths["exhaustion_step"] = np.where(number % 5 == 0, 7, -1)
    for m in range(2):
        markets["mutualised_loss"][:, m] = paths["mutualised_loss"] / 2
    return paths, markets


def cell_record(first, count, point=0, cell=0):
    paths, markets = outcomes(first, count, point, cell)
    happened = np.stack(
        [paths["mutualised_loss"] > 0, paths["exhaustion_step"] >= 0] + [paths["adl_notional"] > 0] * 2, axis=1
    )
    return grid.reduce_cell(paths, markets, happened, first)


def pieces(layout=LAYOUT, width=3, failed=()):
    constants = {term.name: 100.0 for term in grid.CELL_TERMS}
    for block in range(layout.blocks):
        for point in range(layout.path_points):
            first, count = layout.block_range(point, block)
            for start in range(0, layout.cells, width):
                chosen = range(start, min(start + width, layout.cells))
                bad = [(block, point, cell) in failed for cell in chosen]
                records = [
                    grid.empty_cell(2) if lost else cell_record(first, count, point, cell)
                    for lost, cell in zip(bad, chosen, strict=True)
                ]
                reasons = [{"type": "T", "message": "m", "traceback": ""} if lost else None for lost in bad]
                given = [{} if lost else constants for lost in bad]
                yield (
                    Piece(block, point, start, len(chosen)),
                    grid.stack_cells(records, given, reasons, f"{point}-{block}"),
                )


def finished(data, losses):
    data = measures.estimate(data, losses)
    data.attrs |= {"schema_version": SCHEMA_VERSION, "result_hash": grid.result_hash(data, losses)}
    return data


def test_a_cell_by_hand():
    record = cell_record(0, 10)
    assert record["events"].tolist() == [2, 2, 0, 0]
    name = [term.name for term in grid.AVERAGED].index("mutualised_loss")
    assert record["sums"][name] == math.fsum([0.1, 0.1 * 6])
    assert record["histogram"].sum() == 10
    assert record["histogram"][0] == 10  # both losses lie below 1 USD
    assert record["loss_path"].tolist() == [0, 5]
    assert record["loss_events"].tolist() == [3, 3]
    assert (record["loss_weight"] == 1 << 32).all()


def test_bins_hold_their_lower_edge():
    paths, markets = np.zeros(4, PATHS), np.zeros((4, 2), MARKETS)
    paths["mutualised_loss"] = [0.0, 1.0, 10.0, 1e10]
    histogram = grid.reduce_cell(paths, markets, np.zeros((4, 4), bool), 0)["histogram"]
    assert np.flatnonzero(histogram).tolist() == [0, 1, 1 + grid.BINS_PER_DECADE, len(grid.BIN_EDGES) - 2]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_merge_does_not_depend_on_order_or_tiling(width):
    reference = finished(*grid.merge(LAYOUT, pieces()))
    shuffled = list(pieces(width=width))
    np.random.default_rng(width).shuffle(shuffled)
    assert finished(*grid.merge(LAYOUT, shuffled)).attrs["result_hash"] == reference.attrs["result_hash"]


def test_merged_moments_are_those_of_all_paths():
    data, losses = grid.merge(LAYOUT, pieces())
    data = measures.estimate(data, losses)
    for point, cell in np.ndindex(2, 3):
        loss = outcomes(0, 40, point, cell)[0]["mutualised_loss"]
        at = {"scenario": point, "cap": cell}
        assert float(data["mean_mutualised_loss"][at]) == pytest.approx(loss.mean(), rel=1e-14)
        assert float(data["se_mutualised_loss"][at]) == pytest.approx(loss.std(ddof=1) / math.sqrt(40), rel=1e-12)
        assert float(data["worst_loss"][at]) == loss.max()
        assert int(data["events_mutualised_loss"][at]) == 8
        assert data["mean_mutualised_loss_by_market"][at].sum() == pytest.approx(loss.mean())
        # 40 paths: the worst 1 % is 0.4 of the worst path.
        assert float(data["es_99"][at]) == pytest.approx(loss.max())
    assert data["block_events_mutualised_loss"].dims == ("scenario", "cap", "block", "component")
    assert data["block_first_path"].values.tolist() == [0, 8, 16, 24, 32]
    assert len(np.unique(data["block_hash"].values)) == 10


def test_a_failed_block_marks_its_cell_and_no_other():
    data, losses = grid.merge(LAYOUT, pieces(failed={(1, 0, 2)}))
    data = measures.estimate(data, losses)
    assert data["failed"].values.tolist() == [[False, False, True], [False, False, False]]
    assert data["paths"].values.tolist() == [[40, 40, 32], [40, 40, 40]]
    assert np.isnan(data["block_sum_mutualised_loss"].values[0, 2, 1, 0])
    assert np.isfinite(data["mean_mutualised_loss"].values).all()


def test_a_cell_without_any_path_is_not_a_number():
    data, losses = grid.merge(LAYOUT, pieces(failed={(block, 1, 0) for block in range(5)}))
    data = measures.estimate(data, losses)
    lost = data.isel(scenario=1, cap=0)
    assert bool(lost["failed"])
    for name in ("probability_mutualised_loss", "mean_mutualised_loss", "var_99", "worst_loss", "open_interest"):
        assert np.isnan(lost[name].values)


def test_a_missing_block_marks_its_cells():
    data, _ = grid.merge(LAYOUT, (entry for entry in pieces() if entry[0].block != 3))
    assert data["failed"].values.all()
    assert (data["block_hash"].values[:, 3] == data["block_hash"].values[0, 3]).all()


def test_loss_rows_beyond_the_cap_leave_the_largest(monkeypatch):
    monkeypatch.setattr(merging, "LOSS_ROWS", 6 * 3)
    data, losses = grid.merge(LAYOUT, pieces())
    assert losses.attrs["rows_per_cell_at_most"] == 3
    mine = losses.where((losses["cell"] == 1) & (losses["path_point"] == 0), drop=True)
    assert mine["path"].values.tolist() == [25, 30, 35]
    assert (data["paths_with_loss"].values == 8).all()


def test_a_scenario_of_one_path_has_one_block():
    layout = LAYOUT._replace(paths=(40, 1))
    data, _ = grid.merge(
        layout, (entry for entry in pieces(layout) if layout.block_range(entry[0].path_point, entry[0].block)[1])
    )
    assert data["paths"].values[:, 0].tolist() == [40, 1]
    assert not data["failed"].values.any()


def test_a_record_is_whole_or_refused(tmp_path):
    (_, record), *_ = pieces()
    file = tmp_path / "b.npz"
    fingerprint = grid.write_record(file, record)
    assert grid.array_hash(grid.read_record(file)) == fingerprint
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.npz"]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="cannot be read"):
        grid.read_record(file)
    record["sums"] = record["sums"] + 1
    np.savez_compressed(file, hash=np.array(fingerprint), **record)
    with pytest.raises(StoreError, match="does not have the hash"):
        grid.read_record(file)


def test_the_store_opens_with_xarray_alone_and_describes_itself(tmp_path):
    data, losses = grid.merge(LAYOUT, pieces())
    data = finished(data, losses)
    grid.write(tmp_path / "grid.zarr", data, losses)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(tmp_path / "grid.zarr").load()
    assert float(plain["probability_mutualised_loss"].sel(scenario="panic", cap=20)) == 0.2
    described = ("unit", "meaning")
    undescribed = [
        name for name in plain.data_vars
        if name not in ("block_first_path", "block_hash", "path_hash", "bin_edges") and any(key not in plain[name].attrs for key in described)
    ]  # fmt: skip
    assert undescribed == []
    again, rows = grid.read(tmp_path / "grid.zarr")
    assert grid.result_hash(again, rows) == data.attrs["result_hash"]
    assert rows.sizes["row"] == 2 * 3 * 8


def test_a_store_of_another_schema_or_with_changed_arrays_is_refused(tmp_path):
    data, losses = grid.merge(LAYOUT, pieces())
    data = finished(data, losses)
    grid.write(tmp_path / "a.zarr", data.assign_attrs(schema_version=99), losses)
    with pytest.raises(StoreError, match="schema_version = 99"):
        grid.read(tmp_path / "a.zarr")
    data["events_adl"] = data["events_adl"] + 1
    grid.write(tmp_path / "b.zarr", data, losses)
    with pytest.raises(StoreError, match="result_hash"):
        grid.read(tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="no finished grid"):
        grid.read(tmp_path / "c.zarr")


def test_an_axis_cannot_take_the_name_of_a_result():
    with pytest.raises(StoreError, match=r"axes\.open_interest"):
        grid.refuse_axes(LAYOUT._replace(cell_axes={"open_interest": (1.0, 2.0)}))
