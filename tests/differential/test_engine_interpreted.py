"""The presets' engines run interpreted, in a process of their own with warnings as errors, give the compiled bits."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stress import engine
from stress.config import Study
from stress.sweep.workbench import Workbench

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from tests.differential.test_engine_interpreted import digest; print(*digest(sys.argv[1]))"


def digest(preset: str) -> tuple[str, int]:
    """Hash the outcomes of an hour of panic in two cells; also the number of fills."""
    study = Study(
        schema=1,
        question="Does compiling change a bit?",
        protocol=str(ROOT / f"configs/protocols/{preset}.yaml"),
        book={"kind": "synthetic", "accounts": 60},
        market=str(ROOT / "configs/markets/house.yaml"),
        markets=["BTC", "ETH"],
        scenarios=["panic"],
        horizon="1h",
        step="60s",
        axes={"leverage_cap": [20, 50]},
        paths=64,
        seed=20261122,
    )
    bench = Workbench(study)
    block = bench.source(0).generate(0, 64)
    whole, fills = hashlib.sha256(), 0
    for index in range(2):
        built = bench.cell(0, index)
        outcome = engine.simulate(engine.compose(built.protocol), built.cell, block)
        whole.update(outcome.paths.tobytes() + outcome.markets.tobytes())
        fills += int(outcome.paths["fills"].sum())
    return whole.hexdigest(), fills


@pytest.mark.parametrize("preset", ["reference", "hyperliquid"])
def test_interpreted_engines_have_the_compiled_bits(preset):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, preset],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiled, fills = digest(preset)
    assert fills > 50
    assert done.stdout.split() == [compiled, str(fills)]
