"""A venue's rules: one mechanism per stage, each with its parameters, as a protocol file states them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date as Date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from stress.config.documents import read_document
from stress.config.refusals import read_model
from stress.errors import MechanismError, StudyError
from stress.mechanisms import of_stage, shelf
from stress.stages import CONTRACTS, ImpactParameters, Mechanism, MechanismParameters, Stage


@functools.cache
def _rule_model(name: str) -> type[MechanismParameters]:
    """Return the parameters of a mechanism with the key `rule` that names it."""
    parameters = shelf()[name].parameters
    rule: Any = (Literal[name], Field(description="the mechanism"))
    return create_model(f"{parameters.__name__}Rule", __base__=parameters, __doc__=parameters.__doc__, rule=rule)


@dataclass(frozen=True)
class RuleOf:
    """Marks a field that holds one rule of a stage: `rule:` chooses among the shelf's mechanisms."""

    stage: Stage

    def models(self) -> Iterator[type[MechanismParameters]]:
        """Yield the parameter models of the stage's mechanisms."""
        return (_rule_model(name) for name in of_stage(self.stage))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(_rule_model(name)) for name in of_stage(self.stage)}
        return core_schema.tagged_union_schema(choices, discriminator="rule")


Impact = Annotated[ImpactParameters, RuleOf(Stage.IMPACT)]
Oracle = Annotated[MechanismParameters, RuleOf(Stage.ORACLE)]
Mark = Annotated[MechanismParameters, RuleOf(Stage.MARK)]
Funding = Annotated[MechanismParameters, RuleOf(Stage.FUNDING)]
Breaker = Annotated[MechanismParameters, RuleOf(Stage.BREAKERS)]
Margin = Annotated[MechanismParameters, RuleOf(Stage.MARGIN)]
Modifier = Annotated[MechanismParameters, RuleOf(Stage.MARGIN_MODIFIERS)]
Collateral = Annotated[MechanismParameters, RuleOf(Stage.COLLATERAL)]
Trigger = Annotated[MechanismParameters, RuleOf(Stage.TRIGGER)]
Size = Annotated[MechanismParameters, RuleOf(Stage.SIZE)]
Execution = Annotated[MechanismParameters, RuleOf(Stage.EXECUTION)]
Fees = Annotated[MechanismParameters, RuleOf(Stage.FEES)]
Layer = Annotated[MechanismParameters, RuleOf(Stage.WATERFALL)]


class Source(BaseModel):
    """Where a value of the file comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: str = Field(description="which values")
    text: str = Field(description="the source: document, address or commit")
    date: Date = Field(description="when it was read")
    sure: bool = Field(default=True, description="false where the value is an estimate")
    values: tuple[str, ...] = Field(
        default=(), description="keys of these values in the file, dotted; * stands for any part"
    )


class Protocol(BaseModel):
    """One venue: `rule:` of each stage names a mechanism, the other keys are its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_: Literal[1] = Field(alias="schema", description="version of the file format: 1")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="short name, used in tables")
    title: str = Field(description="name for readers")
    summary: str = Field(description="what the venue is, in a sentence or two")
    sources: tuple[Source, ...] = Field(min_length=1, description="where the values come from")
    not_represented: tuple[str, ...] = Field(default=(), description="rules of the venue that the model leaves out")
    rounds_per_step: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="liquidation rounds within a step; null = until quiet"
    )
    impact: Impact
    oracle: Oracle
    mark: Mark
    funding: Funding | None = None
    breakers: tuple[Breaker, ...] = ()
    margin: Margin
    margin_modifiers: tuple[Modifier, ...] = ()
    collateral: tuple[Collateral, ...] = ()
    trigger: Trigger
    size: Size
    execution: Annotated[tuple[Execution, ...], Field(min_length=1)]
    fees: Fees | None = None
    waterfall: tuple[Layer, ...] = ()

    def rules(self) -> list[tuple[Mechanism, MechanismParameters]]:
        """Return mechanism and parameters of every rule, in stage order, then in the order of the file."""
        return [(shelf()[getattr(rule, "rule")], rule) for _, rule in self.placed_rules()]  # noqa: B009

    def placed_rules(self) -> Iterator[tuple[tuple[str | int, ...], MechanismParameters]]:
        """Yield where each rule stands in the file, ('margin',) or ('waterfall', 1), and its parameters."""
        for stage in CONTRACTS:
            held = getattr(self, stage.value)
            if isinstance(held, tuple):
                yield from (((stage.value, index), rule) for index, rule in enumerate(held))
            elif held is not None:
                yield (stage.value,), held

    def holdings(self) -> set[str]:
        """Return the assets that accounts may hold as collateral: they have no margin rule but a haircut."""
        return {asset for rule in self.collateral for asset in getattr(rule, "markets")}  # noqa: B009

    def rules_of(self, market: str) -> Iterator[tuple[tuple[str | int, ...], MechanismParameters]]:
        """Yield where each rule that acts on a market stands in the file, and its parameters."""
        skipped = (Stage.MARGIN, Stage.MARGIN_MODIFIERS) if market in self.holdings() else ()
        return ((place, rule) for place, rule in self.placed_rules() if place[0] not in skipped)

    def terms(self, market: str, step: float, stages: Collection[str] = tuple(CONTRACTS)) -> dict[str, Any]:
        """Return the fields of every rule of some stages for one market at a step (seconds), or raise naming the key."""
        found: dict[str, Any] = {}
        for place, rule in self.rules_of(market):
            if place[0] not in stages:
                continue
            try:
                terms = rule.terms(market, step)
            except StudyError as error:
                error.key = ".".join(str(part) for part in (self.name, *place, error.key))
                raise
            except ValueError as error:
                key = ".".join(str(part) for part in (self.name, *place))
                raise StudyError(str(error), key=key, value=market, fix="add the market, or `default`") from None
            for name in terms.keys() & found.keys():
                raise MechanismError(
                    "two rules of one protocol use this name", key=name, value=".".join(map(str, place))
                )
            found |= terms
        return found

    def lists(self, market: str) -> bool:
        """Return whether the venue's margin rule has rates for a market."""
        tiers = getattr(self.margin, "markets", None)
        return tiers is None or market in tiers or "default" in tiers or market in self.holdings()

    def __reduce__(self) -> tuple[Any, ...]:
        # Rule models are made at run time and cannot be found by name: travel as plain data.
        return (Protocol.model_validate, (self.model_dump(by_alias=True),))


def load_protocol(path: Path | str) -> Protocol:
    """Read a protocol file; every refusal names file, line, key, value, rule and fix."""
    return read_model(Protocol, read_document(path))
