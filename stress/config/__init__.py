"""The study, its protocol and market: YAML in, frozen models and a content hash out.

Documents keep the line of every key; refusals name file, line, key, value, rule and fix.
"""

from stress.config.documents import Document, dotted, parse_document, read_document
from stress.config.events import Replay, events, replay_study
from stress.config.markets import load_market
from stress.config.protocol import Protocol, Source, load_protocol
from stress.config.study import (
    EVENTS,
    MARGIN_MODES,
    PATH_AXES,
    RESPONSES,
    Study,
    Tolerance,
    axis_value,
    load_study,
    show,
)

__all__ = [
    "EVENTS",
    "MARGIN_MODES",
    "PATH_AXES",
    "RESPONSES",
    "Document",
    "Protocol",
    "Replay",
    "Source",
    "Study",
    "Tolerance",
    "axis_value",
    "dotted",
    "events",
    "load_market",
    "load_protocol",
    "load_study",
    "parse_document",
    "read_document",
    "replay_study",
    "show",
]
