"""Golden results: which studies, which numbers of theirs, how they are written and compared."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import json
import math
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console

import stress

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDIES = {"reference": ROOT / "configs/studies/first_look.yaml", "hyperliquid": HERE / "hyperliquid.yaml"}
# Means and counts; intervals, tails and probabilities follow from them and have tests of their own.
VARIABLES = (
    "events_*",
    "ledger_residual",
    "loss_per_open_interest",
    "margin_efficiency",
    "mean_*",
    "open_interest",
    "paths",
    "paths_with_loss",
    "trader_equity",
    "worst_loss",
)

Golden = dict[str, list[float]]


@functools.cache
def finished(name: str) -> stress.Run:
    """Run a study once per process, in a folder of its own."""
    return stress.run(STUDIES[name], results=tempfile.mkdtemp(prefix="golden-"), workers=1, progress=False)


def measured(name: str) -> Golden:
    """Return every golden variable as a flat list, the last axis running fastest."""
    data = finished(name).data
    chosen = [str(v) for v in data.data_vars if any(fnmatch.fnmatch(str(v), rule) for rule in VARIABLES)]
    return {variable: data[variable].values.ravel().tolist() for variable in sorted(chosen)}


def file_of(name: str) -> Path:
    """Return the file that holds a study's golden values."""
    return HERE / f"{name}.json"


def stored(name: str) -> Golden:
    """Return the golden values of a study."""
    return json.loads(file_of(name).read_text())


def text_of(values: Golden) -> str:
    """Return sorted JSON, one variable a line; floats print so that they read back to the same bits."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(values.items())) + "\n}\n"


def digest() -> str:
    """Return the name that CHANGELOG gives to the golden values as they are stored."""
    whole = b"".join(file_of(name).read_bytes() for name in sorted(STUDIES))
    return hashlib.sha256(whole).hexdigest()[:12]


def tolerance(variable: str) -> dict[str, Any]:
    """Return the first row of the table that fits a variable."""
    table = tomllib.loads((HERE / "tolerances.toml").read_text())["tolerance"]
    return next(row for row in table if any(fnmatch.fnmatch(variable, name) for name in row["names"]))


def moved(variable: str, golden: list[float], now: list[float]) -> float:
    """Return the largest relative move of a variable."""
    return max(abs(b - a) / max(abs(a), abs(b), math.ulp(0.0)) for a, b in zip(golden, now, strict=True))


def within(variable: str, golden: float, now: float) -> bool:
    """Tell whether a value may pass for its golden one; whole numbers (counts) compare exactly."""
    if isinstance(golden, int):
        return golden == now
    row = tolerance(variable)
    return abs(now - golden) <= row["absolute"] + row["relative"] * abs(golden)


def printed(name: str) -> str:
    """Return what a finished run prints on a terminal of 100 columns, without styles."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    finished(name).summary(console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


# What the proposer of the example says; nothing of it happened.
WORDS = {
    "author": "Risk desk of the fictitious venue",
    "why_now": "Makers asked for 50x on 2026-11-02 (an invented thread of an invented forum).",
    "motivation": (
        "An invented problem, to show where one stands: on 2026-11-02 makers of the fictitious venue wrote that its cap of 20x sends "
        "their flow elsewhere, and asked for 50x in every market.\n\n"
        "A motivation names what was observed, when, and where it can be read; the evidence below then says what the change would do "
        "about it, and to whom."
    ),
    "conflicts": "none: venue, author and book are invented",
    "licence": "CC0 1.0",
}


def example(name: str, folder: Path) -> None:
    """Write the report of a finished run as Markdown with its figures, as a forge shows it, and its proposal."""
    with tempfile.TemporaryDirectory() as whole:
        page = finished(name).report(whole)
        folder.mkdir(parents=True, exist_ok=True)
        for file in page.parent.iterdir():
            if file != page:
                folder.joinpath(file.name).write_bytes(file.read_bytes())
        finished(name).propose(folder / "proposal", **WORDS)


README = re.compile(r"(<!-- first look: written by make golden -->\n```text\n)(.*?)(\n?```\n<!-- end -->)", re.DOTALL)
