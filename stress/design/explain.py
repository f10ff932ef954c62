"""What `explain` says: the resolved study with every default visible, and what it will cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from stress.config import Protocol, Study, show
from stress.design.axes import effective
from stress.design.plan import Design, plan
from stress.kernels.venue import PathBlock
from stress.stages import Delay, MeetsStep, format_duration
from stress.vocabulary import MARKET_OUTCOMES, PATH_OUTCOMES

WIDTH = 110
# Text that needs no quotes, in a flow mapping either, and is no number.
_PLAIN = re.compile(r"(?!(true|false|null)$)(?![0-9.]+$)[A-Za-z0-9_][A-Za-z0-9_./%-]*( [A-Za-z0-9_./%()=<>-]+)*")


@dataclass(frozen=True)
class TimeConstant:
    """A duration of a protocol and how it meets the step: `steps` is None where it needs none."""

    name: str
    seconds: float
    rule: Literal["exact", "rounded_up", "per_step", "must_resolve"]
    used: float
    steps: int | None


@dataclass(frozen=True)
class Cost:
    """What a study will take: account-steps of the exhaustive engine, and bytes."""

    path_points: int
    cells: int
    blocks: int
    account_steps: int | None
    block_bytes: int
    store_bytes: int


def time_constants(protocol: Protocol, step: float) -> list[TimeConstant]:
    """Return every duration of a protocol at a step (seconds), in the order of the stages."""
    found: list[TimeConstant] = []
    for place, rule in protocol.placed_rules():
        found += _time_constants(rule, place, step)
    return found


def _time_constants(held: BaseModel, place: tuple[str | int, ...], step: float) -> Iterator[TimeConstant]:
    """Yield the durations of a rule, and of the tiers, sources or assets inside it."""
    for field, info in type(held).model_fields.items():
        meets = next((item for item in info.metadata if isinstance(item, MeetsStep)), None)
        value = getattr(held, field)
        if value is None:
            continue
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, tuple) else ()
        for key, part in inner:
            if isinstance(part, BaseModel):
                yield from _time_constants(part, (*place, field, key), step)
        if meets is None:
            continue
        for market, one in value.items() if isinstance(value, Mapping) else ((None, value),):
            seconds = float(one.value if isinstance(one, Delay) else one)
            used = float(effective(one, step))
            steps = meets.steps(field, used, step) if meets.rule in ("rounded_up", "must_resolve") else None
            used = used if steps is None else steps * step
            name = ".".join(str(part) for part in (*place, *((market,) if market else ()), field))
            yield TimeConstant(name, seconds, meets.rule, used, steps)


def cost(study: Study, design: Design, accounts: int | None = None) -> Cost:
    """Return what a study takes; `accounts` of the book, where the study does not state them."""
    accounts = getattr(study.book, "accounts", None) if accounts is None else accounts
    points, cells, markets = len(design.path_points), len(design.cells), len(study.markets)
    paths = sum(1 if point.scenario.one_path else study.paths for point in design.path_points)
    scalars = len(PATH_OUTCOMES) + markets * len(MARKET_OUTCOMES)
    per_market = {"world": 8, "depth": 8, "premium": 8, "external_premium": 8, "oracle_outage": 1}
    per_step = sum(per_market.values()) * markets + len(PathBlock._fields) - len(per_market) - 1
    return Cost(
        path_points=points,
        cells=cells,
        blocks=study.blocks,
        account_steps=None if accounts is None else paths * study.steps * accounts * cells,
        block_bytes=study.block_size * (study.steps + 1) * per_step,
        store_bytes=points * cells * study.blocks * scalars * 8,
    )


def explain(study: Study, *, accounts: int | None = None, core_seconds: float | None = None) -> str:
    """Return the resolved study as text.

    `accounts` of the book, where the study does not state them, and the run's time on one core need the book:
    `sweep.Workbench.forecast` has both.
    """
    design = plan(study)
    sections = [
        f"Study {study.name}, content hash {study.content_hash}\n{study.question}",
        "Resolved study\n" + "\n".join(_indented(_resolved(study))),
        *(
            f"Time constants of {protocol.name} at a step of {format_duration(study.step)}\n"
            + "\n".join(_indented(_constants(protocol, study.step)))
            for protocol in study.protocols
        ),
        "Axes\n" + "\n".join(_indented(_axes(design))),
        "Points\n" + "\n".join(_indented(_points(study, design))),
        "Cost\n" + "\n".join(_indented(_cost(study, cost(study, design, accounts), core_seconds))),
    ]
    return "\n\n".join(sections) + "\n"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


# ---------------------------------------------------------------------------- the resolved study


def _resolved(study: Study) -> Iterator[str]:
    stated = study.stated()
    yield from _yaml(study.resolved(), stated, "")


def _yaml(values: Mapping[str, Any], stated: Any, indent: str) -> Iterator[str]:
    """Yield a mapping as YAML; a value the files do not state is marked as default."""
    for key, value in values.items():
        given = stated.get(key, ...) if isinstance(stated, Mapping) else ...
        line = f"{indent}{key}: {_flow(value)}"
        entries = isinstance(value, list) and any(isinstance(item, Mapping) for item in value)
        if given is ...:
            if isinstance(value, Mapping) and value and len(line) > WIDTH:
                yield f"{indent}{key}:  # default"
                yield from _yaml(value, value, indent + "  ")
            else:
                yield f"{line}  # default"
        elif not isinstance(value, (Mapping, list)) or (len(line) <= WIDTH and given == value):
            yield line
        elif isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(value, given, indent + "  ")
        elif entries:
            yield f"{indent}{key}:"
            for index, item in enumerate(value):
                if isinstance(given, list) and item == given[index] and len(_flow(item)) + len(indent) < WIDTH:
                    yield f"{indent}  - {_flow(item)}"
                    continue
                first, *rest = _yaml(item, given[index] if isinstance(given, list) else ..., indent + "    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_flow(item)}" for item in value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------- the rest


def _constants(protocol: Protocol, step: float) -> Iterator[str]:
    meaning = {
        "exact": "exact: closed form, any step",
        "rounded_up": "rounded up to whole steps",
        "per_step": "spread over the step",
        "must_resolve": "a whole multiple of the step",
    }
    for constant in time_constants(protocol, step):
        steps = "" if constant.steps is None else f", {constant.steps} step" + "s" * (constant.steps != 1)
        stands = "" if constant.used == constant.seconds else f", taken as {format_duration(constant.used)}"
        yield f"{constant.name} = {format_duration(constant.seconds)}: {meaning[constant.rule]}{steps}{stands}"


def _axes(design: Design) -> Iterator[str]:
    for name, values in design.path_axes.items():
        yield f"{name} (path axis): {', '.join(show(value) for value in values)}"
    for name, values in design.cell_axes.items():
        yield f"{name} (cell axis): {', '.join(show(value) for value in values)}"
        sets = design.resolved.get(name, ())
        for parameter in sets[0] if sets and (len(sets[0]) > 1 or name not in sets[0]) else ():
            yield f"  sets {parameter}: {', '.join(show(found[parameter]) for found in sets)}"
        if design.followed.get(name):
            yield f"  followed: {', '.join(design.followed[name])}"


def _points(study: Study, design: Design) -> Iterator[str]:
    yield f"{len(design.path_points)} path points x {len(design.cells)} cells"
    for label, index in (("current", design.current_index), ("proposed", design.proposed_index)):
        if index is not None:
            values = ", ".join(f"{name} {show(value)}" for name, value in design.cell(index).values.items())
            yield f"{label}: cell {list(index)}, {values or 'the protocol as it stands'}"
        elif label == "current":
            yield "current: no cell has the protocol's own values; add them to the axes, or state `current`"
        elif study.proposed is not None:
            yield "proposed: no cell, since the values that stay current are on no cell"


def _cost(study: Study, found: Cost, seconds: float | None) -> Iterator[str]:
    yield f"paths per path point: {study.paths:,} of {study.steps:,} steps, in blocks of {study.block_size}: {found.blocks}"
    yield f"a block of paths takes {found.block_bytes / 1e6:,.1f} MB, block scalars of the store {found.store_bytes / 1e6:,.1f} MB"
    if found.account_steps is None:
        yield "account-steps: known once the book is read"
        return
    yield f"{found.account_steps:,} account-steps if none is skipped"
    if seconds is not None:
        yield f"about {seconds / 60:,.1f} minutes on one core if none is skipped; most are"
