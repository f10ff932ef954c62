"""The walk of `leverage_cap` through the modules, as ARCHITECTURE tells it, followed in a real run."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
import threading
import tomllib
from pathlib import Path

import stress
from stress.config import load_study
from stress.sweep import Workbench

ROOT = Path(__file__).parents[2]
HANDS = {"stress.sweep", "stress.runs"}


def told() -> list[str]:
    """Return the functions of the walk, in the page's order."""
    page = (ROOT / "ARCHITECTURE.md").read_text().partition("## The walk of `leverage_cap`")[2].partition("\n## ")[0]
    return re.findall(r"^\| \d+ \| `([a-z]+\.[a-z_]+)` \|", page, re.MULTILINE)


def floors() -> list[str]:
    """Return the modules from the lowest floor to the highest."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["id"] == "floors")["layers"][::-1]


def test_the_walk_of_leverage_cap_is_as_told(tmp_path):
    functions = told()
    assert len(functions) == 7
    codes = {}
    for name in functions:
        module, function = name.split(".")
        codes[getattr(importlib.import_module(f"stress.{module}"), function).__code__] = name
    entered: dict[str, str] = {}

    def follow(frame, event, _):
        name = codes.get(frame.f_code) if event == "call" else None
        if name is not None and name not in entered and frame.f_back is not None:
            entered[name] = ".".join(frame.f_back.f_globals["__name__"].split(".")[:2])

    text = (ROOT / "configs/studies/first_look.yaml").read_text()
    for old, new in (("horizon: 6h", "horizon: 10m"), ("paths: 256", "paths: 64")):
        assert old in text
        text = text.replace(old, new)
    for folder in ("protocols", "markets"):
        text = text.replace(f"{folder}/", f"{ROOT}/configs/{folder}/")
    (tmp_path / "walk.yaml").write_text(text)
    bench = Workbench(load_study(tmp_path / "walk.yaml"))
    bench.compiled(bench.cell(0, 0))  # following the compiler would take minutes
    threading.setprofile(follow)
    sys.setprofile(follow)
    try:
        run = stress.run(tmp_path / "walk.yaml", results=tmp_path / "results", workers=1, progress=False)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert list(entered) == functions
    modules = [module for module, _ in itertools.groupby(name.split(".")[0] for name in functions)]
    assert modules == sorted(set(modules), key=floors().index)  # each once, in floor order
    assert set(list(entered.values())[1:]) <= HANDS  # the first is called by whoever has a file
    assert run.data.leverage_cap.values.tolist() == [10, 20, 25, 40, 50]
