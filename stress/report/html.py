"""One self-contained HTML page: figures inline, nothing fetched, everything from the study escaped."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from stress.report import figures
from stress.report.document import Code, Document, Figure, Table, Text


def render(document: Document) -> str:
    """Return the page as text."""
    source = resources.files("stress.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["figure"] = lambda block: isinstance(block, Figure)
    environment.tests["table"] = lambda block: isinstance(block, Table)
    environment.tests["text"] = lambda block: isinstance(block, Text)
    environment.tests["code"] = lambda block: isinstance(block, Code)
    # Drawings are our own elements: matplotlib has escaped the names inside them.
    environment.filters["drawings"] = lambda figure: [Markup(drawing) for drawing in figures.svg(figure)]
    return environment.from_string(source).render(document=document)
