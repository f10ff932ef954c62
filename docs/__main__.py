"""Execute the notebooks of this folder and write their outputs anew (make notebooks).

    python -m docs

A notebook is JSON and its cells are plain Python: executing them in this process needs no Jupyter, compiles the
engine once for all of them, and gives outputs that can be compared byte by byte. What a cell prints, and what its
last expression shows (text, HTML, pictures), stands below it as in Jupyter; an error ends the execution.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def notebooks() -> list[Path]:
    """Return the notebooks of this folder."""
    return sorted(HERE.glob("*.ipynb"))


def execute(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a notebook with the outputs of its code cells, executed in `folder`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    os.environ["COLUMNS"] = "100"  # what a terminal's width changes must not depend on the terminal
    with contextlib.chdir(folder):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            count += 1
            outputs = list(_outputs("".join(cell["source"]), names, count))
            cells.append({**cell, "execution_count": count, "outputs": outputs})
    return {**notebook, "cells": cells}


def text_of(notebook: dict[str, Any]) -> str:
    """Return a notebook as it is written."""
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _outputs(source: str, names: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    tree = ast.parse(source, f"cell {count}")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said, value = io.StringIO(), None
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(tree, f"cell {count}", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
    if said.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": said.getvalue().splitlines(keepends=True)}
    if value is not None:
        yield {"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": _shown(value)}


def _shown(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if isinstance(value, Picture):
        return {"text/plain": [value.words], "image/png": base64.b64encode(value.file.read_bytes()).decode()}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = str(value._repr_html_()).splitlines(keepends=True)
    return data


class Picture:
    """A PNG file shown below a cell, with words for those who cannot see it."""

    def __init__(self, file: Path, words: str) -> None:
        self.file, self.words = file, words

    def _repr_png_(self) -> bytes:
        return self.file.read_bytes()

    def __repr__(self) -> str:
        return self.words


def main() -> None:
    """Execute every notebook in the folder above this one."""
    for file in notebooks():
        file.write_text(text_of(execute(json.loads(file.read_text(encoding="utf-8")), HERE.parent)), encoding="utf-8")
        print(file.name, file=sys.stderr)


if __name__ == "__main__":
    # The module under its own name, so that a notebook's `from docs.__main__ import Picture` is this class.
    from docs.__main__ import main as run

    run()
