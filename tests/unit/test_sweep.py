"""Tasks, receipts, resume and locks, with an engine that returns made-up outcomes (no compiling)."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from stress import engine, grid, runs, sweep
from stress.errors import InvariantViolation, StoreError
from stress.grid import Layout, Piece
from stress.kernels.venue import PathBlock
from stress.provenance import run_id as runs_by
from stress.sweep import block as blocks
from stress.sweep.plan import Task, tasks
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES

PATHS = np.dtype([(term.name, term.dtype) for term in PATH_OUTCOMES])
MARKETS = np.dtype([(term.name, term.dtype) for term in MARKET_OUTCOMES])
LAYOUT = Layout({"scenario": ("calm",)}, {"cap": (10.0, 20.0)}, ("BTC",), (80,), 40)
CONSTANTS = {term.name: 0.0 for term in grid.CELL_TERMS}


class Bench:
    """A workbench whose cells are numbers."""

    layout = LAYOUT
    seconds_compile = 0.0

    def source(self, point):
        def generate(first, count):
            number = np.arange(first, first + count, dtype=float)
            world = np.tile(number[:, None, None], (1, 3, 1))
            flags = np.zeros(world.shape, np.uint8)
            return PathBlock(first, world, world, world, world, flags, flags[:, :, 0], flags[:, :, 0].astype(np.int8))

        return SimpleNamespace(generate=generate)

    def cell(self, point, index):
        return SimpleNamespace(cell=index, constants=CONSTANTS)

    def compiled(self, built):
        return None

    def warm(self, source):
        return None


def simulate(_, cell, paths, windows):
    outcome = np.zeros(len(paths.world), PATHS)
    outcome["mutualised_loss"] = np.where(paths.world[:, 0, 0] % 7 == 0, paths.world[:, 0, 0] * (cell + 1), 0.0)
    return SimpleNamespace(paths=outcome, markets=np.zeros((len(outcome), 1), MARKETS))


@pytest.fixture
def bench(monkeypatch):
    made = Bench()
    monkeypatch.setattr(engine, "simulate", simulate)
    monkeypatch.setattr(blocks, "workbench", lambda folder, study_hash: made)
    return made


def todo(width=2):
    return [
        Task("h", runs_by("h"), Piece(block, 0, first, min(width, 2 - first)))
        for block in range(2)
        for first in range(0, 2, width)
    ]


def swept(folder, chosen, map_function=map):
    return sorted(sweep.execute(chosen, folder, map_function), key=lambda receipt: receipt.task.name)


def merged(folder, chosen):
    read = [(task.piece, grid.read_record(folder / "blocks" / f"{task.name}.npz")) for task in chosen]
    return grid.result_hash(*grid.merge(LAYOUT, read))


@pytest.mark.parametrize("chunk", [1, 7, 32, 64])
def test_chunks_of_paths_never_show(bench, monkeypatch, chunk):
    reference = grid.array_hash(sweep.compute(bench, Piece(0, 0, 0, 2)))
    monkeypatch.setattr(blocks, "CHUNK", chunk)
    assert grid.array_hash(sweep.compute(bench, Piece(0, 0, 0, 2))) == reference


def test_a_worker_with_other_sources_refuses(bench, tmp_path):
    foreign = [Task("h", "other sources", Piece(0, 0, 0, 2))]
    (receipt,) = swept(tmp_path, foreign)
    assert receipt.failure["type"] == "StoreError"
    assert "other sources or library versions" in receipt.failure["message"]


def test_tiles_threads_and_order_never_show(bench, tmp_path):
    swept(tmp_path / "a", todo())
    swept(tmp_path / "b", todo(1)[::-1], sweep.in_threads(3))
    assert merged(tmp_path / "a", todo()) == merged(tmp_path / "b", todo(1))


def test_a_failing_cell_is_recorded_and_the_rest_completes(bench, monkeypatch, tmp_path):
    def broken(compiled, cell, paths, windows):
        if cell == 1 and paths.first_path >= 40:
            raise ZeroDivisionError("margin of nothing")
        return simulate(compiled, cell, paths, windows)

    monkeypatch.setattr(engine, "simulate", broken)
    receipts = swept(tmp_path, todo())
    assert [receipt.failed_cells for receipt in receipts] == [0, 1]
    record = grid.read_record(tmp_path / "blocks" / f"{todo()[1].name}.npz")
    good, failure = json.loads(str(record["failures"]))
    assert good is None
    assert failure["type"] == "ZeroDivisionError"
    assert "margin of nothing" in failure["traceback"]
    assert record["paths"].tolist() == [40, 0]


def test_a_violated_invariant_voids_the_cell(bench, monkeypatch):
    paths = np.zeros(3, PATHS)
    paths["violation"][2] = 5
    with pytest.raises(InvariantViolation, match="I5 failed on 1 of 3 paths") as raised:
        blocks.refuse_violations(paths, 64)
    assert raised.value.value == 66
    paths["violation"][2] = engine.NEVER_QUIET
    with pytest.raises(InvariantViolation, match="not quiet after 10,000 rounds on 1 of 3 paths"):
        blocks.refuse_violations(paths, 64)


def test_a_block_without_paths_is_a_failure_in_the_receipt(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(Bench, "source", lambda self, point: SimpleNamespace(generate=None))
    receipts = swept(tmp_path, todo())
    assert all(receipt.failure["type"] == "TypeError" for receipt in receipts)
    assert not list((tmp_path / "blocks").iterdir())


def test_finished_blocks_are_kept_and_damaged_or_failed_ones_done_again(bench, monkeypatch, tmp_path):
    first = swept(tmp_path, todo())
    (tmp_path / "blocks" / ".b.npz.1.tmp").write_bytes(b"half")
    again = swept(tmp_path, todo())
    assert [receipt.resumed for receipt in again] == [True, True]
    assert [receipt.hash for receipt in again] == [receipt.hash for receipt in first]
    assert not list((tmp_path / "blocks").glob(".*"))
    file = tmp_path / "blocks" / f"{todo()[0].name}.npz"
    file.write_bytes(file.read_bytes()[:-30])
    assert [receipt.resumed for receipt in swept(tmp_path, todo())] == [False, True]
    monkeypatch.setattr(engine, "simulate", lambda *_, **__: 1 / 0)
    (tmp_path / "blocks" / f"{todo()[1].name}.npz").unlink()
    swept(tmp_path, todo())
    monkeypatch.setattr(engine, "simulate", simulate)
    assert [receipt.resumed for receipt in swept(tmp_path, todo())] == [True, False]


def test_the_vault_counts_for_the_event_only_above_its_floor():
    outcome = np.zeros(4, PATHS)
    outcome["mutualised_loss"] = [5.0, 50.0, 5.0, 15.0]
    outcome["provider_default_loss"] = [5.0, 50.0, 0.0, 6.0]
    floors = {"loss_floor": 4.0, "vault_loss_floor": 10.0}
    assert blocks.events(outcome, floors)[:, 0].tolist() == [False, True, True, True]


def test_tiles_follow_the_cost_and_cover_every_cell_once():
    shape = Layout({"scenario": ("a", "b")}, {"cap": tuple(range(10))}, ("BTC",), (128, 1), 64)
    for cell_seconds in (1e-9, 0.02, 10.0):
        planned = tasks("h", shape, (1e-4, cell_seconds))
        covered = [
            (t.piece.block, t.piece.path_point, t.piece.first_cell + i) for t in planned for i in range(t.piece.cells)
        ]
        assert len(covered) == len(set(covered)) == 3 * 10
        assert len({task.name for task in planned}) == len(planned)


def test_two_runs_of_one_study_do_not_share_a_folder(tmp_path):
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with runs.lock(tmp_path):
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    try:
        with pytest.raises(StoreError, match="another process is running this study: process"), runs.lock(tmp_path):
            pass
    finally:
        leave.set()
        holder.join()
    with runs.lock(tmp_path):
        pass
