"""The points to visit: path axes change the paths, cell axes do not; every cell sees the same paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from stress.config import MARGIN_MODES, PATH_AXES, RESPONSES, Protocol, Study, show
from stress.design.axes import addressed, effective, parameters, with_axis
from stress.errors import StudyError, did_you_mean
from stress.paths import PathAxes
from stress.scenarios import Scenario, ShockScenario, expand
from stress.stages import Seconds, Stage

_CHOICES = {"traders": RESPONSES, "margin_mode": MARGIN_MODES}
# Axes that are a field of the study, not of a protocol.
_OF_STUDY = (*_CHOICES, "turnover")
# Axes that have a key of their own in the study file.
_OWN_KEYS = {"scenario": "scenarios", "scenarios": "scenarios", "protocol": "protocol"}


@dataclass(frozen=True)
class PathPoint:
    """One combination of values of the path axes."""

    index: tuple[int, ...]
    values: Mapping[str, Any]
    scenario: Scenario
    axes: PathAxes


@dataclass(frozen=True)
class CellPoint:
    """One combination of values of the cell axes.

    Parameters
    ----------
    index, values : position on, and value of, each cell axis, in their order.
    protocol : the resolved protocol; `base` is the same venue at the current values (makes the book).
    resolved : every parameter that an axis set, by its own name (`BTC.leverage_cap[0]`).
    turnover : share of positions opened anew under the cell's terms, where the response is `grandfather`.
    changed_markets : per market of the study, whether a margin parameter differs from `base`.
    """

    index: tuple[int, ...]
    values: Mapping[str, Any]
    protocol: Protocol
    base: Protocol
    response: str
    turnover: float
    margin_mode: str
    resolved: Mapping[str, Any]
    changed_markets: tuple[bool, ...]


@dataclass(frozen=True)
class Design:
    """Axes and points of a study, both in C order (the last axis runs fastest).

    `resolved[axis][index]` holds the parameters that an axis value sets; `followed[axis]` the terms
    that moved with it without being set, by protocol.
    """

    path_axes: Mapping[str, tuple[Any, ...]]
    cell_axes: Mapping[str, tuple[Any, ...]]
    path_points: tuple[PathPoint, ...]
    cells: tuple[CellPoint, ...]
    current_index: tuple[int, ...] | None
    proposed_index: tuple[int, ...] | None
    current: tuple[Protocol, ...]
    resolved: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    followed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def shocked(self) -> dict[str, str]:
        """The market that a scenario moves alone, by the scenario's name; scenarios that move more are left out."""
        found = {str(p.values["scenario"]): p.scenario for p in self.path_points}
        return {name: s.alone for name, s in found.items() if isinstance(s, ShockScenario) and s.alone}

    @property
    def path_shape(self) -> tuple[int, ...]:
        """Number of values of each path axis."""
        return tuple(len(values) for values in self.path_axes.values())

    @property
    def cell_shape(self) -> tuple[int, ...]:
        """Number of values of each cell axis."""
        return tuple(len(values) for values in self.cell_axes.values())

    def cell(self, index: tuple[int, ...]) -> CellPoint:
        """Return the cell at an index."""
        return self.cells[int(np.ravel_multi_index(index, self.cell_shape))] if index else self.cells[0]


def plan(study: Study) -> Design:
    """Return the design of a study, or raise naming file, line and key of what cannot be visited."""
    for protocol in study.protocols:
        try:
            for market in study.markets:
                protocol.terms(market, study.step)
        except StudyError as error:
            raise study.origin.protocols.get(protocol.name, study.origin.document).own(error) from None
    path_axes, path_points = _path_points(study)
    cell_axes = _cell_axes(study)
    names = tuple(name for name in cell_axes if name not in (*_OF_STUDY, "protocol"))
    resolved, followed = _checked(study, names, cell_axes)
    current_values = _stated(study, "current", study.current, cell_axes)
    current = tuple(
        _at(study, protocol, {n: v for n, v in current_values.items() if n in names})[0] for protocol in study.protocols
    )
    cells = tuple(_cells(study, cell_axes, names, current))
    return Design(
        path_axes=path_axes,
        cell_axes=cell_axes,
        path_points=path_points,
        cells=cells,
        current_index=_index(study, cell_axes, current_values),
        proposed_index=None
        if study.proposed is None
        else _index(study, cell_axes, current_values | _stated(study, "proposed", study.proposed, cell_axes)),
        current=current,
        resolved=resolved,
        followed=followed,
    )


# ------------------------------------------------------------------------------------------ paths


def _path_points(study: Study) -> tuple[dict[str, tuple[Any, ...]], tuple[PathPoint, ...]]:
    scenarios: dict[str, Scenario] = {}
    for index, scenario in enumerate(study.scenarios):
        for run in expand(scenario):
            if run.name in scenarios:
                fix = "give one of them another `name`"
                raise study.error("two scenarios have one name", "scenarios", index, value=run.name, fix=fix)
            scenarios[run.name] = run
    axes: dict[str, tuple[Any, ...]] = {"scenario": tuple(scenarios)}
    for name in PATH_AXES:
        values = study.axes.get(name, ())
        for index, value in enumerate(values):
            if not isinstance(value, float) or isinstance(value, Seconds):
                raise study.error(
                    "a path axis takes numbers", "axes", name, index, value=show(value), fix="use a number"
                )
            inside, rule = value > 0, "a multiplier is above 0"
            if name == "correlation":
                inside, rule = -1 <= value <= 1, "a blend of correlation lies in -1 to 1"
            if not inside:
                raise study.error(rule, "axes", name, index, value=value, fix="use a value in that range")
        if values:
            axes[name] = values
    points = []
    for position in product(*(range(len(values)) for values in axes.values())):
        point = {name: axes[name][i] for name, i in zip(axes, position, strict=True)}
        multipliers = {name: value for name, value in point.items() if name != "scenario"}
        points.append(PathPoint(position, point, scenarios[point["scenario"]], PathAxes(**multipliers)))
    return axes, tuple(points)


# ------------------------------------------------------------------------------------------ cells


def _cell_axes(study: Study) -> dict[str, tuple[Any, ...]]:
    axes: dict[str, tuple[Any, ...]] = {}
    if len(study.protocols) > 1:
        axes["protocol"] = tuple(protocol.name for protocol in study.protocols)
    for name, values in study.axes.items():
        if name in PATH_AXES:
            continue
        if name in _OWN_KEYS:
            fix = f"list the values under the key `{_OWN_KEYS[name]}` of the study"
            raise study.error("is no axis of its own", "axes", name, fix=fix)
        for index, value in enumerate(values):
            if name in _CHOICES and value not in _CHOICES[name]:
                fix = did_you_mean(str(value), _CHOICES[name])
                raise study.error(f"unknown value of {name}", "axes", name, index, value=show(value), fix=fix)
            if name == "turnover" and not (isinstance(value, float) and 0 <= value <= 1):
                rule = "turnover is a share of positions"
                raise study.error(rule, "axes", name, index, value=show(value), fix="use a number from 0 to 1")
        axes[name] = values
    return axes


def _checked(
    study: Study, names: tuple[str, ...], cell_axes: Mapping[str, tuple[Any, ...]]
) -> tuple[dict[str, tuple[Mapping[str, Any], ...]], dict[str, tuple[str, ...]]]:
    """Try every axis value alone, so that an error names it; return what each set and what followed."""
    resolved: dict[str, tuple[Mapping[str, Any], ...]] = {}
    followed: dict[str, tuple[str, ...]] = {}
    claimed: dict[tuple[str, tuple[str | int, ...]], str] = {}
    for name in names:
        for protocol in study.protocols:
            try:
                addressed(protocol, name, study.markets)
            except StudyError as error:
                raise study.error(error.rule, "axes", name, fix=error.fix or "name a parameter") from None
        sets: list[dict[str, Any]] = []
        moved: dict[str, None] = {}
        for index, value in enumerate(cell_axes[name]):
            found: dict[str, Any] = {}
            for protocol in study.protocols:
                prefix = f"{protocol.name}: " if len(study.protocols) > 1 else ""
                changed, set_here = _at(study, protocol, {name: value}, "axes", name, index)
                found |= {prefix + key: new for key, new in set_here.items()}
                moved |= dict.fromkeys(_moved(study, protocol, changed, name))
            sets.append(found)
        for protocol in study.protocols:
            lead = addressed(protocol, name, study.markets)[0]
            other = claimed.setdefault((protocol.name, lead.place), name)
            if other != name:
                rule = f"sets the same parameter as the axis {other}: {lead.name}"
                raise study.error(rule, "axes", name, fix="keep one of the two axes")
        resolved[name], followed[name] = tuple(sets), tuple(moved)
    return resolved, followed


def _at(study: Study, protocol: Protocol, values: Mapping[str, Any], *at: str | int) -> tuple[Protocol, dict[str, Any]]:
    """Return the protocol with axes at values; errors name the place in the study file."""
    resolved: dict[str, Any] = {}
    for name, value in values.items():
        try:
            protocol, found = with_axis(protocol, name, value, study.markets)
            resolved |= found
            for market in study.markets:
                protocol.terms(market, study.step)
        except StudyError as error:
            raise study.error(
                error.rule, *(at or ("axes", name)), value=show(value), fix=error.fix or "use another value"
            ) from None
    return protocol, resolved


def _moved(study: Study, before: Protocol, after: Protocol, axis: str) -> Iterator[str]:
    """Yield the terms that an axis moved without setting them: fields that follow their source (not a rule's own copies, `_…`)."""
    own = axis.rpartition(".")[2].partition("[")[0]
    for market in study.markets:
        old, new = before.terms(market, study.step), after.terms(market, study.step)
        for name in new:
            if name in (own, f"{own}_steps") or name.startswith("_"):
                continue
            if not np.array_equal(old[name], new[name]):
                yield name


def _cells(
    study: Study, axes: Mapping[str, tuple[Any, ...]], names: tuple[str, ...], current: tuple[Protocol, ...]
) -> Iterator[CellPoint]:
    by_name = {protocol.name: index for index, protocol in enumerate(study.protocols)}
    built: dict[tuple[Any, ...], tuple[Protocol, dict[str, Any]]] = {}
    for index in product(*(range(len(values)) for values in axes.values())):
        values = {name: axes[name][i] for name, i in zip(axes, index, strict=True)}
        which = by_name[values["protocol"]] if "protocol" in values else 0
        # Cells that differ in their last axes only share the protocol built so far.
        key: tuple[Any, ...] = (which,)
        protocol: Protocol = study.protocols[which]
        resolved: dict[str, Any] = {}
        for name in names:
            key = (*key, values[name])
            if key not in built:
                changed, found = _at(study, protocol, {name: values[name]})
                built[key] = changed, resolved | found
            protocol, resolved = built[key]
        response = values.get("traders", study.traders)
        if response == "grandfather":
            _refuse_moving(study, protocol, current[which])
        yield CellPoint(
            index=index,
            values=values,
            protocol=protocol,
            base=current[which],
            response=response,
            turnover=values.get("turnover", study.turnover),
            margin_mode=values.get("margin_mode", study.margin_mode),
            resolved=resolved,
            changed_markets=_changed_markets(study, protocol, current[which]),
        )


def _refuse_moving(study: Study, changed: Protocol, base: Protocol) -> None:
    """Refuse to grandfather a change of a rule that is not asked position by position, or has one memory for both terms."""
    for (mechanism, new), (_, old) in zip(changed.rules(), base.rules(), strict=True):
        if not mechanism.kernels.keys() & {"update", "offset"} or new == old:
            continue
        raise study.error(
            f"positions cannot keep what {mechanism.name} asked, which is the account's or moves on a path",
            *(("axes", "traders") if "traders" in study.axes else ("traders",)),
            value="grandfather",
            fix="use another response, or let the axes leave that rule alone",
        )


def _changed_markets(study: Study, one: Protocol, other: Protocol) -> tuple[bool, ...]:
    if one is other:
        return (False,) * len(study.markets)
    stages = (Stage.MARGIN, Stage.MARGIN_MODIFIERS, Stage.COLLATERAL)

    def differs(market: str) -> bool:
        ours, theirs = (protocol.terms(market, study.step, stages) for protocol in (one, other))
        return ours.keys() != theirs.keys() or any(not np.array_equal(ours[name], theirs[name]) for name in ours)

    return tuple(differs(market) for market in study.markets)


# ------------------------------------------------------------------------- current and proposed


def _stated(study: Study, key: str, stated: Mapping[str, Any], axes: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Return the values that `current` or `proposed` states, checked to lie on the grid."""
    for name, value in stated.items():
        if name in axes:
            if not any(_same(value, held) for held in axes[name]):
                listed = ", ".join(show(held) for held in axes[name])
                fix = f"use one of {listed}, or add {show(value)} to axes.{name}"
                raise study.error("is not on the grid", key, name, value=show(value), fix=fix)
            continue
        if name in PATH_AXES or name in _OWN_KEYS:
            rule = "changes the world or the venue, not a parameter"
            raise study.error(rule, key, name, value=show(value), fix="remove it")
        held = getattr(study, name) if name in _OF_STUDY else None
        for protocol in study.protocols if held is None else ():
            try:
                lead = addressed(protocol, name, study.markets)[0]
            except StudyError as error:
                fields = {parameter.field for parameter in parameters(protocol)} | set(axes) | set(_OF_STUDY)
                fix = error.fix or did_you_mean(name, fields)
                raise study.error(error.rule, key, name, value=show(value), fix=fix) from None
            held = effective(lead.value, study.step)
            if not _same(value, held):
                break
        if not _same(value, held):
            rule = f"is not on the grid: it is no axis, and stays at {show(held)}"
            fix = f"add an axis: `{name}: [{show(held)}, {show(value)}]`"
            raise study.error(rule, key, name, value=show(value), fix=fix)
    return {
        name: next(held for held in axes[name] if _same(value, held)) for name, value in stated.items() if name in axes
    }


def _index(study: Study, axes: Mapping[str, tuple[Any, ...]], values: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the cell at `values`, the protocol's own where they say nothing; None where it is no cell."""
    index = []
    for name, listed in axes.items():
        if name in values:
            value = values[name]
        elif name == "protocol":
            value = study.protocols[0].name
        elif name in _OF_STUDY:
            value = getattr(study, name)
        else:
            value = effective(addressed(study.protocols[0], name, study.markets)[0].value, study.step)
        position = next((i for i, held in enumerate(listed) if _same(value, held)), None)
        if position is None:
            return None
        index.append(position)
    return tuple(index)


def _same(one: Any, other: Any) -> bool:
    """Return whether two axis values are one: 40 and 40.0 are, 1 and true are not, 60 and 60s are not."""
    return type(one) is type(other) and one == other
