"""One self-contained HTML page: figures and its one script inline, nothing fetched, everything from the study escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from stress.report import figures
from stress.report.document import Code, Document, Explorer, Figure, Table, Text


def render(document: Document) -> str:
    """Return the page as text."""
    source, script = (
        resources.files("stress.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.html.j2", "explorer.js")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name, kind in {"figure": Figure, "table": Table, "text": Text, "code": Code, "explorer": Explorer}.items():
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    # Drawings are our own elements: matplotlib has escaped the names inside them.
    environment.filters["drawings"] = lambda figure: [Markup(drawing) for drawing in figures.svg(figure)]
    environment.filters["json"] = _json
    explored = any(isinstance(block, Explorer) for section in document.sections for block in section.blocks)
    # The page's own security policy lets this script run and no other.
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(source).render(
        document=document, script=Markup(script) if explored else "", fingerprint=fingerprint
    )


def _json(data: Any) -> Markup:
    """Return JSON that cannot end the element it stands in, whatever names it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
