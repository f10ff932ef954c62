"""What the nightly job calls a breach, and which run it compares with; no Prefect server."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from flows import nightly
from stress.measures import Difference
from stress.runs import Comparison


def night(events, paths, one_path=False, tolerance=0.01):
    point = SimpleNamespace(index=(0,), values={"scenario": "panic"}, scenario=SimpleNamespace(one_path=one_path))
    data = xr.Dataset({"events_mutualised_loss": ("scenario", [events]), "paths": ("scenario", [paths])})
    stated = SimpleNamespace(measure="mutualised_loss", probability=tolerance, confidence=0.95)
    return SimpleNamespace(
        study=SimpleNamespace(tolerance=stated if tolerance else None),
        plan=SimpleNamespace(current_index=(), path_points=[point]),
        data=data,
        place=lambda point, cell: {"scenario": 0},
    )


def change(low, high):
    return Comparison("proposed", "panic", "1 %", "2 %", Difference((low + high) / 2, low, high, 4096, "blocks"))


@pytest.mark.parametrize(
    ("night", "alerts"),
    [
        (night(10, 4096), 0),
        (night(41, 4096), 1),  # 1 %: the interval reaches beyond the tolerance
        (night(0, 100), 1),  # nothing seen, and nothing shown: 3.6 % is possible
        (night(0, 0), 1),  # a failed cell is no good news
        (night(1, 1, True), 1),
        (night(0, 1, True), 0),
        (night(4096, 4096, tolerance=None), 0),
    ],
)
def test_the_current_cell_against_the_tolerance(night, alerts):
    assert len(nightly.alerts(night, [])) == alerts


def test_a_named_cell_against_the_last_run():
    found = nightly.alerts(night(0, 4096), [change(0.001, 0.02), change(-0.001, 0.02), change(-0.02, -0.001)])
    assert [str(alert) for alert in found] == [
        "ALERT proposed cell, panic: worse than the last run by +1.05% [+0.10%, +2.00%]"
    ]


def test_each_night_points_to_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(
        nightly.runs, "open_run", lambda path: SimpleNamespace(study=SimpleNamespace(tolerance=None), path=path)
    )
    monkeypatch.setattr(nightly.runs, "compare", lambda last, now, event: [last.path.name, now.path.name])
    assert nightly.compare.fn(str(tmp_path / "monday")) == []
    assert nightly.compare.fn(str(tmp_path / "tuesday")) == ["monday", "tuesday"]
    # The same night again keeps its comparison.
    assert nightly.compare.fn(str(tmp_path / "tuesday")) == ["monday", "tuesday"]
    assert json.loads((tmp_path / "latest.json").read_text()) == {"run": "tuesday", "previous": "monday"}


def test_a_breach_is_seen_in_a_run_that_numpy_counts(tmp_path):
    assert nightly.alerts(night(np.int64(400), np.int64(4096)), [])[0].reason.startswith("mutualised_loss: 9.77%")
