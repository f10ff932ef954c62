"""Pydantic's refusals in the project's own words: file, line, key, value, rule and fix."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from stress.config.documents import Document, Location
from stress.errors import StressError, StudyError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def broken(rule: str, fix: str, *at: str | int) -> PydanticCustomError:
    """Return the error a validator raises: rule, fix and, below the validated value, where."""
    return PydanticCustomError("rule_broken", "{rule}", {"rule": rule, "fix": fix, "at": at})


def read_model(model: type[Model], document: Document) -> Model:
    """Return the document as a `model`, or raise what it breaks."""
    try:
        found = model.model_validate(document.data)
    except ValidationError as error:
        raise_all(refusals(document, model, error))
        raise
    except StressError as error:
        raise document.own(error) from None
    raise_all(kind_refusals(document, found))
    return found


def refusals(document: Document, model: type[BaseModel], error: ValidationError) -> list[StressError]:
    """Return one StudyError per problem that pydantic found in `document`, validated as `model`."""
    return [_refusal(document, model, detail) for detail in error.errors(include_url=False)]


def kind_refusals(document: Document, held: BaseModel) -> list[StressError]:
    """Return one StudyError per value whose kind was changed on the way in: `true` for 1, quoted numbers."""
    found: list[StressError] = []

    def compare(given: Any, kept: Any, at: Location) -> None:
        if isinstance(given, Mapping):
            for key, value in given.items():
                inner = kept.get(key) if isinstance(kept, Mapping) else getattr(kept, _attribute(kept, key), None)
                compare(value, inner, (*at, key))
        elif isinstance(given, list) and isinstance(kept, (list, tuple)):
            for index, (value, inner) in enumerate(zip(given, kept, strict=False)):
                compare(value, inner, (*at, index))
        elif isinstance(given, bool) and type(kept) in (int, float):
            found.append(document.error("must be a number", at, value=given, fix="write a number, such as 1"))
        elif isinstance(kept, bool) and not isinstance(given, bool):
            found.append(document.error("must be true or false", at, value=given, fix="write true or false"))
        elif isinstance(given, str) and type(kept) in (int, float) and not given.rstrip().endswith("%"):
            found.append(document.error("must be a number, not text", at, value=given, fix="remove the quotes"))

    compare(document.data, held, ())
    return found


def _attribute(model: Any, key: str) -> str:
    fields = type(model).model_fields if isinstance(model, BaseModel) else {}
    return next((name for name, field in fields.items() if field.alias == key), key)


class StudyErrors(StudyError):
    """All that is wrong with a study and the files it names; `problems` are listed in its text."""

    def __init__(self, problems: Sequence[StressError]) -> None:
        listing = "\n".join(str(problem) for problem in problems)
        super().__init__(f"{len(problems)} errors\n{listing}")
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        return (StudyErrors, (self.problems,))


def raise_all(problems: Sequence[StressError]) -> None:
    """Raise nothing, the one problem, or one error that lists and counts them all."""
    flat = [inner for problem in problems for inner in getattr(problem, "problems", (problem,))]
    if flat:
        raise flat[0] if len(flat) == 1 else StudyErrors(flat)


def _refusal(document: Document, model: type[BaseModel], detail: ErrorDetails) -> StudyError:
    kind, context = detail["type"], detail.get("ctx", {})
    location, value = _in_file(document.data, (*detail["loc"], *context.get("at", ())))
    if kind == "rule_broken":
        return document.error(context["rule"], location, value=value, fix=context["fix"])
    if kind == "extra_forbidden":
        known = _fields_at(model, detail["loc"][:-1])
        fix = did_you_mean(str(detail["loc"][-1]), known) if known else "remove it"
        return document.error("unknown key", location, value=value, fix=fix)
    if kind == "missing":
        missing = str(detail["loc"][-1])
        field = _fields_at(model, detail["loc"][:-1]).get(missing)
        fix = f"add `{missing}: …`" + (f" ({field})" if field else "")
        return document.error("required, but not given", (*location, missing), fix=fix)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        tags = [name.strip("' ") for name in str(context.get("expected_tags", "")).split(",")]
        if kind == "union_tag_not_found":
            return document.error(f"needs the key `{key}`", location, value=value, fix=f"add `{key}: …` with its name")
        return document.error(
            f"unknown {key}", (*location, key), value=context["tag"], fix=did_you_mean(context["tag"], tags)
        )
    rule = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    enclosing = (detail["loc"][: len(detail["loc"]) - up] for up in range(len(detail["loc"])))
    meaning = next(filter(None, (_fields_at(model, loc[:-1]).get(str(loc[-1])) for loc in enclosing)), None)
    fix = f"correct it; it means: {meaning}" if meaning else "correct it, or leave the key out for its default"
    return document.error(rule, location, value=value, fix=fix)


def _in_file(data: Any, loc: Iterable[str | int]) -> tuple[Location, Any]:
    """Return the part of pydantic's location that the file holds (union tags dropped), and its value."""
    location: list[str | int] = []
    for part in loc:
        inside = (
            part in data if isinstance(data, Mapping) else isinstance(data, list | tuple) and part in range(len(data))
        )
        if inside:
            data = data[part]
            location.append(part)
    return tuple(location), None if isinstance(data, (Mapping, BaseModel)) else data


def _fields_at(model: type[BaseModel], loc: Iterable[str | int]) -> dict[str, str]:
    """Return the fields (by the name a file uses) with their meaning, of the models at a location."""
    models = [model]
    for part in loc:
        below = [m for found in models for name, m in _children(found) if name == part]
        tagged = [m for m in models if _tagged(m, part)]
        models = below or tagged or models
    return {
        field.alias or name: field.description or "" for found in models for name, field in found.model_fields.items()
    }


def _children(model: type[BaseModel]) -> Iterable[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for child in models_in((field.annotation, *field.metadata)):
            yield field.alias or name, child


def _tagged(model: type[BaseModel], tag: str | int) -> bool:
    choices = [typing.get_args(field.annotation) for field in model.model_fields.values()]
    return model.__name__ == tag or any(options == (tag,) for options in choices)


def models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """Yield every model named anywhere inside an annotation or its metadata."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif hasattr(annotation, "models"):
        yield from annotation.models()
    else:
        for inner in annotation if isinstance(annotation, tuple) else typing.get_args(annotation):
            yield from models_in(inner)
