"""The worked example of CONTRIBUTING: one new file is a rule of the shelf, and nothing else changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

RUN = """
import sys
from pathlib import Path
import pytest
import stress.mechanisms
stress.mechanisms.__path__.append(sys.argv[1])  # as if the file lay beside the others
from stress.mechanisms import shelf
from stress.glossary import HEADINGS
assert "late_trigger" in shelf()
document = sys.modules["stress.mechanisms.late_trigger"].__doc__
assert all(f"\\n{heading} " in document for heading in HEADINGS), document
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "tests.conftest", sys.argv[2]]))
"""


def test_the_example_becomes_a_rule_and_passes_its_test(tmp_path):
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a mechanism")[1].split("\n## ")[0]
    mechanism, test = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf/late_trigger.py").write_text(mechanism)
    (tmp_path / "test_mechanism_late_trigger.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "shelf"), str(tmp_path / "test_mechanism_late_trigger.py")],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]
    assert "3 passed" in ran.stdout
