"""merton_single_check through YAML, flow and store: over 200 seeds the stored intervals cover at their rate.

One account is looked at once, at the horizon; what it owes then nobody pays, so that the event has the case's
closed-form probability. Every run is a flow of its own, on one scheduler.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from scipy import stats

from stress import measures
from tests.validation import closed_forms as exact
from tests.validation.cases import read_cases

ROOT = Path(__file__).parents[2]
SEEDS, PATHS = 200, 2048
INTERVALS = {"": measures.wilson, "_exact": measures.clopper_pearson}

FLOWS = """
import sys
from pathlib import Path
from distributed import LocalCluster
from flows.sweep_flow import sweep_flow

if __name__ == "__main__":
    results, *studies = sys.argv[1:]
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "host": "127.0.0.1"}
    with LocalCluster(**options, protocol="tcp://", dashboard_address=None) as cluster:
        for study in studies:
            print(sweep_flow(study, results, None, cluster.scheduler_address)[0], flush=True)
"""


@pytest.fixture(scope="module")
def case():
    return next(case for case in read_cases(Path(__file__).parent, 1) if case.name == "c6")


def study_files(case, folder: Path, seeds: int) -> list[Path]:
    """Write protocol, market, book and one study per seed; return the studies."""
    s0, leverage, days = case["S0"], case["leverage"], case["T_years"] * 365
    jumps = {"intensity": case["lam"], "size": {"law": "normal", "mean": case["mu_j"], "sd": case["sig_j"]}}
    own = {"price": s0, "volatility": case["sigma"], "drift": case["mu"], "own_jumps": jumps}
    tier = {"above": 0, "leverage_cap": 1, "maintenance_to_initial_ratio": case["maint"]}
    documents = {
        "protocol.yaml": {
            "schema": 1,
            "name": "once",
            "title": "A venue that looks once",
            "summary": "Oracle mark, one rate, whole orders, no fund.",
            "sources": [{"of": "all values", "text": "validation case", "date": "2026-11-22"}],
            "impact": {"rule": "linear_impact"},
            "oracle": {"rule": "external_feed", "oracle_delay": "0s"},
            "mark": {"rule": "oracle_mark"},
            "margin": {"rule": "tiered_margin", "markets": {"X": [tier]}},
            "trigger": {"rule": "strict_trigger"},
            "size": {"rule": "full_size"},
            "execution": [{"rule": "order_book", "deficit_fill": "any"}],
            "waterfall": [],
        },
        "market.yaml": {
            "schema": 1,
            "name": case.name,
            "markets": {"X": {"depth_usd": 1e30, "open_interest_usd": 1.0, **own}},
            "jumps": {"compensated": case["compensated"]},
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
    (folder / "book.csv").write_text(
        f"trader,margin_mode,market,size,entry_price,collateral\n1,cross,X,1,{s0},{s0 / leverage!r}\n"
    )
    study = {
        "schema": 1,
        "question": "How often is the account's equity negative when it is looked at?",
        "protocol": "protocol.yaml",
        "book": {"kind": "snapshot", "path": "book.csv"},
        "market": "market.yaml",
        "scenarios": ["calm"],
        "horizon": f"{days:.12g}d",
        "step": f"{days:.12g}d",
        "loss_floor": 0.0,
        "paths": PATHS,
    }
    files = [folder / f"seed{seed}.yaml" for seed in range(seeds)]
    for seed, file in enumerate(files):
        file.write_text(yaml.safe_dump({**study, "seed": seed}, sort_keys=False))
    return files


def stores(case, folder: Path, seeds: int) -> list[xr.Dataset]:
    """Run a flow per seed, in one process; return what was stored."""
    studies = [str(file) for file in study_files(case, folder, seeds)]
    (folder / "seeds.py").write_text(FLOWS)
    done = subprocess.run(
        [sys.executable, str(folder / "seeds.py"), str(folder / "results"), *studies],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [xr.open_zarr(Path(line) / "grid.zarr").load() for line in done.stdout.splitlines()]


def coverage(kind: str, p: float) -> float:
    """The rate at which an interval covers p, exactly: over every count that may be seen."""
    counts = np.arange(PATHS + 1)
    low, high = INTERVALS[kind](counts, PATHS)
    return float(stats.binom.pmf(counts, PATHS, p)[(low <= p) & (p <= high)].sum())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_stored_intervals_cover_the_closed_form_at_their_rate(case, tmp_path):
    p, _ = exact.merton_shortfall(
        case["S0"], exact.bankruptcy_price(case["S0"], case["leverage"], 1.0), 1.0, case.inputs
    )
    found = stores(case, tmp_path, SEEDS)
    assert len(found) == SEEDS
    assert len({json.dumps(data.attrs["result_hash"]) for data in found}) == SEEDS
    for kind in INTERVALS:
        bounds = [
            [data[f"probability_mutualised_loss{kind}_{end}"].item() for end in ("low", "high")] for data in found
        ]
        covered = sum(low <= p <= high for low, high in bounds)
        rate = coverage(kind, p)
        assert rate >= 0.94  # the nominal 95 % up to the steps of a binomial
        low, high = stats.binom.interval(0.999, SEEDS, rate)
        assert low <= covered <= high, (kind, covered, rate)
    events = sum(data["events_mutualised_loss"].item() for data in found)
    trials = SEEDS * PATHS
    assert abs(events - trials * p) <= 4 * np.sqrt(trials * p * (1 - p))
