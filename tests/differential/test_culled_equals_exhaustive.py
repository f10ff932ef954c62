"""I9 for the presets, compiled: the culled engine gives the bytes of the exhaustive one on generated days."""

from __future__ import annotations

from pathlib import Path

import pytest

from stress import engine
from stress.config import load_study
from stress.sweep.workbench import Workbench

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("preset", ["reference", "hyperliquid"])
def test_i9_on_days_that_start_in_stress_and_panic(preset, tmp_path):
    study = load_study(CONFIGS / "studies" / "quickstart.yaml")
    text = (CONFIGS / "studies" / "quickstart.yaml").read_text().replace("protocols/reference", f"protocols/{preset}")
    folder = tmp_path / "configs" / "studies"
    folder.mkdir(parents=True)
    for part in ("protocols", "markets"):
        (tmp_path / "configs" / part).symlink_to(CONFIGS / part)
    text = text.replace(f"paths: {study.paths}", "paths: 64")
    (folder / "quickstart.yaml").write_text(text)
    bench = Workbench(load_study(folder / "quickstart.yaml"))
    liquidated = 0
    for point in range(len(bench.plan.path_points)):
        block = bench.source(point).generate(0, 6)
        for index in (0, len(bench.plan.cells) // 2, len(bench.plan.cells) - 1):
            built = bench.cell(point, index)
            whole, part = (
                engine.simulate(engine.compose(built.protocol, culled=culled), built.cell, block)
                for culled in (False, True)
            )
            assert part.paths.tobytes() == whole.paths.tobytes(), bench.describe(point, index)
            assert part.markets.tobytes() == whole.markets.tobytes(), bench.describe(point, index)
            liquidated += int(whole.paths["liquidated_accounts"].sum())
    assert liquidated > 50  # the comparison covered liquidations
