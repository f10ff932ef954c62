"""The worked example of CONTRIBUTING: one new file is a rule of the shelf, its tests are the only other change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_becomes_a_rule_and_passes_what_is_asked_of_it(tmp_path):
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a mechanism")[1].split("\n## ")[0]
    mechanism, unit, prop, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for part in ("stress", "tests", "configs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "stress/mechanisms/late_trigger.py").write_text(mechanism)
    (tmp_path / "tests/unit/test_mechanism_late_trigger.py").write_text(unit)
    (tmp_path / "tests/property/test_late_trigger.py").write_text(prop)
    table = tmp_path / "tests/property/compositions.py"
    head = "PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {\n"
    assert head in table.read_text()
    table.write_text(table.read_text().replace(head, head + line))
    chosen = [
        "tests/unit/test_mechanism_late_trigger.py",
        "tests/property/test_late_trigger.py",
        "tests/property/test_invariants.py::test_the_table_names_the_shelf",
        "tests/property/test_covering_set.py::test_every_pair_of_rules_meets",
        "tests/architecture/test_shelves.py",
    ]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not test_shelves or late_trigger",
            *chosen,
        ],
        cwd=tmp_path,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    # Three prices, the property, the two tables, and what the shelf demands of a rule.
    assert int(re.findall(r"(\d+) passed", ran.stdout)[0]) >= 6, ran.stdout
