"""The report as data: sections of text, tables and figures, which each renderer writes in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Text:
    """One paragraph, or a list of items if there are several."""

    items: tuple[str, ...]

    @classmethod
    def of(cls, *items: str) -> Text:
        """Return a paragraph (one item) or a list (several)."""
        return cls(items)


@dataclass(frozen=True)
class Code:
    """Lines to be copied as they stand."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True)
class Panel:
    """One drawing: `draw(axes)` on matplotlib axes of `size` inches."""

    draw: Callable[[Any], None]
    size: tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """Panels that belong together, with what a reader who cannot see them needs.

    `folded` is the line under which a figure is folded away; empty = shown.
    """

    name: str
    alt: str
    caption: str
    panels: tuple[Panel, ...]
    table: Table
    columns: int = 2
    folded: str = ""


@dataclass(frozen=True)
class Explorer:
    """Cells among which the reader of the page chooses; `data` is plain JSON for the page's script."""

    caption: str
    data: dict[str, Any]


Block = Text | Code | Table | Figure | Explorer


@dataclass(frozen=True)
class Section:
    """A titled part of the report."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Verdict:
    """The answer in plain words, and one row per scenario behind it.

    `headline` answers whether it is safer, `sentence` by how much, `sure` how sure; together they have at most 60
    words. `colour` is never the only mark. `question` is what the headline answers where that is not the study's
    own question, which `grid` then answers: which of all values tried keep the tolerance.
    """

    headline: str
    sentence: str
    sure: str
    colour: Literal["safe", "risky", "undecided", "none"]
    table: Table
    small_print: tuple[str, ...] = field(default=())
    question: str = ""
    grid: str = ""


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    question: str
    verdict: Verdict
    sections: tuple[Section, ...]
    identity: tuple[tuple[str, str], ...]
