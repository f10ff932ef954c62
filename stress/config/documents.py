"""YAML documents that remember the line of every key, and refuse what could be misread.

Only the plain part of YAML is understood: mappings with text keys, lists, text, numbers, `true`,
`false`, `null`. Tags, aliases and duplicate keys are refused; `yes`, `on` and `1:30` are text (in
YAML 1.1 they would silently become a truth value and 90); a number that is not finite is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stress.errors import StressError, StudyError

Location = tuple[str | int, ...]
DEEPEST = 32
LARGEST = 4 << 20

_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Document:
    """Plain data with its file and, per location (keys and list positions), its line from 1."""

    data: dict[str, Any]
    file: Path | None = None
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line(self, location: Sequence[str | int]) -> int | None:
        """Return the line of a location, or of the closest enclosing one that the file holds."""
        at = tuple(location)
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at)

    def part(self, data: Mapping[str, Any], location: Sequence[str | int]) -> Document:
        """Return the mapping at a location as a document of its own, with its lines."""
        at = tuple(location)
        return Document(dict(data), self.file, {k[len(at) :]: v for k, v in self.lines.items() if k[: len(at)] == at})

    def error(self, rule: str, location: Sequence[str | int], *, value: object = None, fix: str) -> StudyError:
        """Return the error that `rule` is broken at a location of this document."""
        return StudyError(
            rule,
            file=None if self.file is None else str(self.file),
            line=self.line(location),
            key=dotted(location) or None,
            value=value,
            fix=fix,
        )

    def own(self, error: StressError, location: Sequence[str | int] = ()) -> StressError:
        """Return an error that names no file as one of this document, at its key or at a location."""
        if error.file is not None:
            return error
        parts = (error.key or "").replace("]", "").replace("[", ".").split(".")
        key = tuple(int(part) if part.isdecimal() else part for part in parts)
        inside = next((key[i:] for i in range(len(key)) if (*location, *key[i:]) in self.lines), ())
        fix = error.fix or "correct it: see the comments and sources of the files in configs"
        return self.error(error.rule, (*location, *inside), value=error.value, fix=fix)


def dotted(location: Sequence[str | int]) -> str:
    """Return `axes.leverage_cap[2]` for ('axes', 'leverage_cap', 2)."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class _Composer(yaml.BaseLoader):
    """Composes nodes only; every scalar stays text, so that no YAML 1.1 rule reinterprets it."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            fix = "write the value out where it is used"
            raise _Refused("an alias is not allowed", event, _key(index), f"*{event.anchor}", fix)
        tag = getattr(event, "tag", None)
        if tag is not None:
            fix = "remove the tag: values are plain numbers and text"
            raise _Refused("a tag is not allowed", event, _key(index), tag, fix)
        if self.depth >= DEEPEST:
            rule = f"nesting is at most {DEEPEST} levels deep"
            raise _Refused(rule, event, _key(index), None, "flatten the document")
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Refused(Exception):
    """A construct of YAML that this project does not read."""

    def __init__(self, rule: str, at: Any, key: str | None, value: object, fix: str) -> None:
        super().__init__(rule)
        self.rule, self.line, self.key, self.value, self.fix = rule, at.start_mark.line + 1, key, value, fix


def _key(index: Any) -> str | None:
    """Return the key under which a node is composed: the key's own node, or the position in a list."""
    return index.value if isinstance(index, yaml.ScalarNode) else None if index is None else str(index)


def read_document(path: Path | str) -> Document:
    """Read one YAML file whose top level is a mapping; every refusal names file and line."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise StudyError(
                f"a configuration file has at most {LARGEST >> 20} MiB",
                file=str(path),
                value=path.stat().st_size,
                fix="give data as a Parquet or CSV file and name it here",
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StudyError(
            f"the file cannot be read: {error.strerror}", file=str(path), fix="check the path and its permissions"
        ) from None
    except UnicodeDecodeError as error:
        raise StudyError(
            "the file is not UTF-8 text",
            file=str(path),
            line=error.object[: error.start].count(b"\n") + 1,
            fix="save it as UTF-8",
        ) from None
    return parse_document(text, path)


def parse_document(text: str, file: Path | None = None) -> Document:
    """Return the document that `text` holds; `file` is only named in errors."""
    name = None if file is None else str(file)
    lines: dict[Location, int] = {}
    try:
        node = yaml.compose(text, Loader=_Composer)
        if not isinstance(node, yaml.MappingNode):
            raise StudyError(
                "the top level is a mapping of keys to values", file=name, line=1, fix="start with `schema: 1`"
            )
        return Document(_mapping(node, (), lines), file, lines)
    except _Refused as refused:
        raise StudyError(
            refused.rule, file=name, line=refused.line, key=refused.key, value=refused.value, fix=refused.fix
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise StudyError(
            f"not valid YAML: {what}",
            file=name,
            line=None if mark is None else mark.line + 1,
            fix="check indentation, brackets, quotes and the space after each colon",
        ) from None
    except yaml.YAMLError as error:
        raise StudyError(f"not valid YAML: {error}", file=name, fix="remove control characters") from None


def _value(node: yaml.Node, at: Location, lines: dict[Location, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, at, lines)
    if isinstance(node, yaml.SequenceNode):
        values = []
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            values.append(_value(item, (*at, index), lines))
        return values
    return _scalar(node, at)


def _mapping(node: yaml.MappingNode, at: Location, lines: dict[Location, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _Refused("a key is text", key_node, dotted(at) or None, None, "write `key: value`")
        key = key_node.value
        if key in found:
            first = lines[(*at, key)]
            raise _Refused(
                f"the key stands twice (first in line {first})", key_node, dotted((*at, key)), None, "keep one"
            )
        lines[(*at, key)] = key_node.start_mark.line + 1
        found[key] = _value(value_node, (*at, key), lines)
    return found


def _scalar(node: yaml.Node, at: Location) -> str | int | float | bool | None:
    text: str = node.value
    if getattr(node, "style", None):  # quoted or block text is text
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        raise _Refused("a number is finite", node, dotted(at), text, "give a finite number, or leave the key out")
    return text
