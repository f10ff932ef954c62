"""The path kernel run interpreted, in a process of its own with warnings as errors, gives the compiled bits."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, pathlib, yaml
from stress.paths import MarketModel, Wicks, compose
from stress.paths.wicks import WickSide
from stress.scenarios import parse_scenario

house = MarketModel.model_validate(yaml.safe_load(pathlib.Path("configs/markets/house.yaml").read_text()))
busy = house.model_copy(update={"jumps": house.jumps.model_copy(update={
    "common": house.jumps.common.model_copy(update={"intensity": 400.0})}),
    "wicks": Wicks(common_down=3000.0),
    "markets": {name: market.model_copy(update={"wick_down": WickSide(rate=3000.0, joins=0.5, tail=3.0)})
                for name, market in house.markets.items()}})
for start in ("stress", "panic"):
    scenario = parse_scenario(start, house.regimes.states)
    source = compose(busy, scenario, markets=("SOL", "BTC"), horizon=6 * 3600.0, step=600.0, seed=2**64 - 1)
    block = source.generate(2**40, 3)
    print(hashlib.sha256(b"".join(array.tobytes() for array in block[1:])).hexdigest())
"""


def run(**environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_interpreted_paths_have_the_compiled_bits():
    compiled = run(NUMBA_DISABLE_JIT="0")
    assert len(set(compiled)) == 2
    assert run(NUMBA_DISABLE_JIT="1") == compiled
