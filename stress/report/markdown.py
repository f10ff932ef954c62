"""The report as Markdown for a forum or a pull request, with its figures as PNG files beside it."""

from __future__ import annotations

import html

from stress.report import figures
from stress.report.document import Block, Code, Document, Explorer, Figure, Table, Text

# What a forum would read as markup, GitHub's mathematics and strike-through included.
_SPECIAL = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": " ", "\r": " "} | {sign: f"\\{sign}" for sign in "\\|`*_[]$~"}
)


def render(document: Document) -> tuple[str, dict[str, bytes]]:
    """Return the text, and the figures by the file name under which the text shows them."""
    verdict = document.verdict
    pictures: dict[str, bytes] = {}
    lines = [f"# {_said(document.title)}", f"*{_said(verdict.question or document.question)}*"]
    how, _, sure = verdict.sure.partition(":")
    much = "**By how much:** " if verdict.question else ""
    box = [f"**{_said(verdict.headline)}**", f"{much}{_said(verdict.sentence)}" if verdict.sentence else ""]
    box += [f"**{_said(how)}:**{_said(sure)}"] if verdict.sure else []
    lines += ["\n>\n".join(f"> {line}" for line in box if line)]
    asks = f"The study asks: {document.question}" if verdict.question else ""
    lines += [_said(" ".join(filter(None, (asks, verdict.grid))))] * bool(asks or verdict.grid)
    lines += [_table(verdict.table)]
    lines += [_said(line) for line in verdict.small_print]
    for section in document.sections:
        lines.append(f"## {_said(section.title)}")
        for block in section.blocks:
            lines.append(_block(block, pictures))
    return "\n\n".join(lines) + "\n", pictures


def _block(block: Block, pictures: dict[str, bytes]) -> str:
    if isinstance(block, Text):
        return _said(block.items[0]) if len(block.items) == 1 else "\n".join(f"- {_said(item)}" for item in block.items)
    if isinstance(block, Code):
        return "\n".join(("```", *block.lines, "```"))
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Explorer):
        return "report.html shows every dimension of the grid, two at a time, with the interval of each cell."
    return _figure(block, pictures)


def _figure(figure: Figure, pictures: dict[str, bytes]) -> str:
    file = f"{figure.name}.png"
    pictures[file] = figures.png(figure)
    return f"![{_said(figure.alt)}]({file})\n\n{_said(figure.caption)}\n\n{_table(figure.table)}"


def _table(table: Table) -> str:
    rows = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    text = "\n".join(f"| {' | '.join(_said(cell) if row is not rows[1] else cell for cell in row)} |" for row in rows)
    if table.folded:
        return f"<details><summary>{html.escape(table.caption)}</summary>\n\n{text}\n\n</details>"
    return f"**{_said(table.caption)}**\n\n{text}"


def _said(text: str) -> str:
    return text.translate(_SPECIAL)
