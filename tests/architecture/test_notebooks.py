"""The notebooks of docs/: executed, whole, without traces of a machine; and what they show is what they give."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def words(output):
    return "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))


def test_there_is_one_for_each_reader():
    assert [file.stem for file in NOTEBOOKS] == ["analyst", "delegate", "engineer"]
    assert sum(file.stat().st_size for file in NOTEBOOKS) < 500_000


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_outputs_are_there_and_tell_nothing_of_a_machine(file):
    cells = code(read(file))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell["outputs"]) for cell in cells) >= len(cells) - 1
    text = "\n".join(words(output) for cell in cells for output in cell["outputs"])
    text += "".join("".join(o.get("data", {}).get("text/html", [])) for cell in cells for o in cell["outputs"])
    assert "Traceback" not in text
    assert not re.search(r"(?<![\w<])/(home|tmp|root|Users|work|usr|opt|var)\b|\b0x[0-9a-f]{6,}", text)


@pytest.mark.slow
def test_executing_them_again_gives_what_they_show(tmp_path):
    for name in ("configs", "docs", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = (
        "import json, pathlib; from docs.__main__ import execute, notebooks; print(json.dumps("
        "{f.stem: execute(json.loads(f.read_text()), pathlib.Path.cwd()) for f in notebooks()}))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    again = json.loads(ran.stdout)
    for file in NOTEBOOKS:
        shown, now = ([[words(o) for o in cell["outputs"]] for cell in code(n)] for n in (read(file), again[file.stem]))
        assert shown == now, file.name
