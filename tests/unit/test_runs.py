"""A run from study to folder and back: finished, failed, opened, compared, replayed, from the command line."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import stress
from stress import cli, engine, grid, runs, sweep
from stress.errors import StoreError, StressError
from stress.runs import folder as folders

CONFIGS = Path(__file__).parents[2] / "configs"


def study(**changes):
    return stress.Study(
        **{
            "schema": 1,
            "name": "small",
            "question": "Does a run come back as it was?",
            "protocol": str(CONFIGS / "protocols/reference.yaml"),
            "book": {"kind": "synthetic", "accounts": 12},
            "market": str(CONFIGS / "markets/house.yaml"),
            "markets": ["BTC", "ETH"],
            "scenarios": ["panic"],
            "horizon": "1h",
            "step": "60s",
            "axes": {"leverage_cap": [20, 50]},
            "current": {"leverage_cap": 20},
            "proposed": {"leverage_cap": 50},
            "tolerance": {"probability": "1%"},
            "paths": 128,
            "seed": 20261122,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return stress.run(study(), results=tmp_path_factory.mktemp("results"), workers=2)


def test_a_finished_run_is_whole_and_named_by_study_and_sources(finished):
    assert sorted(path.name for path in finished.path.iterdir()) == ["grid.zarr", "run.json", "study.json"]
    assert finished.path.parent.name == "small"
    assert finished.data.attrs["study_hash"] == study().content_hash
    assert finished.data.attrs["failures"] == []
    assert not finished.data["failed"].values.any()
    assert set(finished.diary["seconds"]) == {"start_up", "compile", "simulation", "merge"}
    assert finished.result_hash[:12] in repr(finished)
    assert "panic" in finished._repr_html_()


def test_the_store_says_what_everything_in_it_is(finished):
    plain = xr.open_zarr(finished.path / "grid.zarr")
    assert [str(name) for name in plain.variables if not plain[name].attrs.get("meaning")] == []
    assert plain["leverage_cap"].attrs["source"] == "protocol, tiered_margin: BTC.leverage_cap[0]"


def test_a_finished_run_is_not_run_again(finished, monkeypatch):
    monkeypatch.setattr(sweep, "execute", None)
    again = stress.run(study(), results=finished.path.parents[1])
    assert again.result_hash == finished.result_hash


def test_opening(finished, tmp_path):
    for path in (finished.path, finished.path / "grid.zarr", finished.path.parent):
        assert stress.open(path).result_hash == finished.result_hash
    with pytest.raises(StoreError, match="not a finished run"):
        stress.open(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    changed = json.loads((copy / "study.json").read_text()) | {"seed": 1}
    (copy / "study.json").write_text(json.dumps(changed))
    with pytest.raises(StoreError, match="not the one that made it"):
        stress.open(copy)


def test_a_loss_row_and_its_replayed_path_agree(finished):
    rows = finished.losses
    row = int(np.argmax(rows["adl_notional"].values))
    cell = {"leverage_cap": int(rows["cell"][row])}
    trace = finished.trace("panic", cell, int(rows["path"][row]))
    assert trace["adl_notional"].sum() == pytest.approx(float(rows["adl_notional"][row]))
    assert trace["adl_notional"].sum() > 0
    table = runs.trace_table(finished, "panic", cell, int(rows["path"][row]))
    assert len(table) == 61 * 2


def test_blocks_computed_again_have_their_hash(finished):
    for block in range(2):
        now, stored = finished.verify(block, 0)
        assert now == stored


def test_a_run_compared_with_itself_and_with_other_paths(finished, tmp_path):
    for one in stress.compare(finished, finished):
        assert one.difference.value == 0
        assert one.difference.paths == 128
        assert one.difference.p_value == 1
    other = stress.run(study(seed=7), results=tmp_path, workers=2)
    apart = stress.compare(finished, other)
    assert {one.cell for one in apart} == {"current", "proposed"}
    assert {one.difference.method for one in apart} == {"independent runs"}
    with pytest.raises(StoreError, match="not an event"):
        stress.compare(finished, other, "ruin")


def test_cells_by_value(finished):
    assert finished.find_cell({}) == {"leverage_cap": 0}
    assert finished.find_cell({"leverage_cap": "50"}) == {"leverage_cap": 1}
    with pytest.raises(StoreError, match="one of 20, 50"):
        finished.find_cell({"leverage_cap": "30"})
    with pytest.raises(StoreError, match="did you mean leverage_cap"):
        finished.find_cell({"leverage_cup": "50"})


def test_a_failing_cell_is_named_and_done_again_on_request(finished, tmp_path, monkeypatch):
    def broken(compiled, cell, block, **options):
        if cell.open_interest.sum() > 1.5 * lowest and block.first_path >= 64:
            raise StressError("no such margin")
        return simulate(compiled, cell, block, **options)

    simulate, lowest = engine.simulate, float(finished.data["open_interest"].min())
    monkeypatch.setattr(engine, "simulate", broken)
    partly = stress.run(study(), results=tmp_path, workers=2)
    assert partly.data["failed"].values.tolist() == [[False, True]]
    assert partly.data["paths"].values.tolist() == [[128, 64]]
    (failure,) = partly.data.attrs["failures"]
    assert failure.startswith("scenario=panic, leverage_cap=50.0: StressError: no such margin (1 of 2 blocks")
    assert "no such margin" in partly.diary["failures"][0]["traceback"]
    monkeypatch.undo()
    whole = stress.run(study(), results=tmp_path, workers=2)
    assert whole.result_hash == finished.result_hash
    assert [path.name for path in tmp_path.glob("small/*")] == [finished.path.name]


def test_a_run_of_nothing_but_failures_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "simulate", lambda *_, **__: 1 / 0)
    with pytest.raises(StressError, match=r"every cell failed: .*ZeroDivisionError"):
        stress.run(study(), results=tmp_path, workers=1)


def test_two_writers_of_one_run(finished, tmp_path):
    place = runs.prepare(study(), tmp_path)
    with runs.lock(Path(place.working)), pytest.raises(StoreError, match="another process is running"):
        runs.sweep_blocks(place)
    # The other process finishes first: what was begun here is dropped, its result stands.
    shutil.copytree(finished.path, place.final)
    swept = runs.sweep_blocks(place)
    assert swept.tasks == 0
    assert runs.finalize(place, swept).result_hash == finished.result_hash
    assert not Path(place.working).exists()
    with pytest.raises(StoreError, match="just finished"):
        runs.sweep_blocks(place)


def test_a_run_keeps_the_data_it_read(tmp_path):
    times = np.datetime_as_string(np.datetime64("2025-10-10T00:00") + np.arange(62), unit="m")
    bars = [
        f"{ts}:00Z,{name},{100 - m},{101 - m},{98 - m},{99 - m}"
        for m, ts in enumerate(times)
        for name in ("BTC", "ETH")
    ]
    prices = tmp_path / "crash.csv"
    prices.write_text("\n".join(["ts,symbol,open,high,low,close", *bars]) + "\n")
    symbols = {"BTC": ["BTC"], "ETH": ["ETH"]}
    replay = {"name": "crash", "replay": str(prices), "from": "2025-10-10", "symbols": symbols, "impact_share": [0]}
    asked = study(scenarios=[replay], paths=1, step="20s")
    done = stress.run(asked, results=tmp_path / "results", workers=1)
    prices.unlink()
    again = stress.open(done.path)
    assert again.study.content_hash == asked.content_hash
    assert len(again.trace("crash", {"leverage_cap": 0})) == 181
    now, stored = again.verify(0, 0)
    assert now == stored


def test_what_is_wrong_is_said_by_the_names_of_the_users_files(tmp_path):
    file = tmp_path / "bad.csv"
    file.write_text("ts,symbol,open,high,low,close\nnoon,BTC,1,1,1,1\n")
    replay = {"name": "crash", "replay": str(file), "from": "2025-10-10T00:00:00Z", "impact_share": [0]}
    with pytest.raises(StressError, match=r"bad\.csv:2: ts = 'noon'") as raised:
        stress.run(study(scenarios=[replay], paths=1), results=tmp_path / "results")
    assert raised.value.file == str(file)
    assert not (tmp_path / "results").exists()


def test_files_are_written_whole(tmp_path):
    folders.write_whole(tmp_path / "a.json", b"one")
    folders.write_whole(tmp_path / "a.json", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.json", b"two")]


def test_the_command_line(finished, tmp_path, capsys):
    folder = str(finished.path)

    def said(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments])
        assert (ended.value.code or 0) == code
        out = capsys.readouterr()
        return out.err if code == 2 else out.out

    assert said("--version").strip() == metadata.version("perpstress")
    assert "the same" in said("verify", folder, "--block", "1")
    assert "is not a block of the run" in said("verify", folder, "--block", "7", code=2)
    assert "did you mean panic?" in said("verify", folder, "--scenario", "panik", code=2)
    assert "current" in said("compare", folder, folder)
    losing = int(finished.losses["path"][0])
    assert "mark_price" in said("path", folder, "--path", str(losing), "--cell", "leverage_cap=50")
    written = tmp_path / "trace.csv"
    assert said("path", folder, "--path", "0", "--csv", str(written)).strip() == str(written)
    assert len(written.read_text().splitlines()) == 1 + 61 * 2
    assert "axis=value" in said("path", folder, "--path", "0", "--cell", "leverage_cap", code=2)
    assert "not a finished run" in said("report", str(tmp_path), code=2)


def test_public_names():
    assert all(hasattr(stress, name) for name in stress.__all__)
    with pytest.raises(AttributeError):
        stress.nothing
    assert grid.NOMINAL_WEIGHT == 2**32
