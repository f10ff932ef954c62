"""Import floors, and what the linter cannot say: kernels know two libraries, nothing is a drawer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DRAWERS = {"utils", "util", "common", "helpers", "helper", "base", "misc", "tools", "constants", "core", "lib"}


def imported(file: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found


def test_import_contracts_hold():
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout


def test_floors_of_the_linter_are_those_of_the_architecture_page():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "floors")["layers"]
    page = (ROOT / "ARCHITECTURE.md").read_text()
    named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert [name for name in named if name in layers] == layers[::-1]


@pytest.mark.parametrize("file", sorted((ROOT / "stress/kernels").glob("*.py")), ids=lambda file: file.stem)
def test_kernels_know_numpy_and_numba_only(file):
    assert imported(file) - sys.stdlib_module_names <= {"numpy", "numba", "stress"}


def test_no_module_is_a_drawer():
    names = {path.stem for folder in ("stress", "flows", "tests") for path in (ROOT / folder).rglob("*")}
    assert not names & DRAWERS


def test_numba_options_stand_in_one_file():
    users = {
        file.relative_to(ROOT).as_posix()
        for folder in ("stress", "flows")
        for file in (ROOT / folder).rglob("*.py")
        if "numba" in imported(file)
    }
    # provenance asks for the version only
    assert users <= {"stress/kernels/jit.py", "stress/kernels/compiler.py", "stress/provenance.py"}
    stated = re.findall(r"fastmath\W+(\w+)", (ROOT / "stress/kernels/jit.py").read_text().split('"""', 2)[2])
    assert stated == ["False"]
