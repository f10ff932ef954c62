"""The answer on a terminal: the verdict, and one line per named cell with intervals."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stress.report.document import Document
from stress.report.document import Table as Rows

_STYLES = {"safe": "green", "risky": "red", "undecided": "yellow", "none": "default"}


def render(document: Document) -> RenderableType:
    """Return what `rich` prints: the verdict box, then the table behind it."""
    verdict = document.verdict
    # Text, not markup: names come from users and may hold square brackets.
    said = Text.assemble((verdict.headline, f"bold {_STYLES[verdict.colour]}"), "\n", verdict.sentence)
    for line in filter(None, (verdict.sure, verdict.grid)):
        said.append(f"\n{line}")
    box = Panel(said, title=Text(document.title), title_align="left", border_style=_STYLES[verdict.colour])
    return Group(box, _table(verdict.table), *(Text(line, style="dim") for line in verdict.small_print))


def _table(rows: Rows) -> Table:
    table = Table(caption=Text(rows.caption), caption_justify="left", show_edge=False)
    for column in rows.columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
