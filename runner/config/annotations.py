"""Walks the annotations of a model: which keys a place knows, and what may stand for a value that isn't there."""

from __future__ import annotations

import types
from collections.abc import Collection
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from runner.config.errors import Path


def known_keys(model: Any, path: Path) -> Collection[str]:
    """The keys that a place inside a model knows: for did-you-mean. Empty where any key goes."""
    for part in path:
        model = inside(model, part)
    return {field.alias or name for one in _models(model) for name, field in one.model_fields.items()}


def inside(annotation: Any, part: str | int) -> Any:
    """The annotation of what stands at the key or index `part` inside `annotation`: a field, a type, or None where nothing is known."""
    for model in _models(annotation):
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                return field
    for branch in _branches(annotation):
        arguments = get_args(branch)
        if isinstance(part, int) and arguments and get_origin(branch) in (list, tuple, set, frozenset):
            return arguments[0]
        if isinstance(part, str) and len(arguments) == 2:  # noqa: PLR2004 - a mapping's key and value
            return arguments[1]
    return None


def example(annotation: Any) -> str | None:
    """A text that this annotation takes: its own example, or one of its type; None where any text may do."""
    arguments = get_args(annotation)
    if isinstance(annotation, FieldInfo) or get_origin(annotation) is Annotated:
        inner, metadata = (
            (annotation.annotation, annotation.metadata) if isinstance(annotation, FieldInfo) else (arguments[0], arguments[1:])
        )
        schemas = [one.json_schema or {} for one in metadata if isinstance(one, WithJsonSchema)]
        written = [*(getattr(annotation, "examples", None) or ()), *(text for schema in schemas for text in schema.get("examples", ()))]
        return str(written[0]) if written else example(inner)
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for one in arguments if (found := example(one)) is not None), None)
    if get_origin(annotation) is Literal:
        return str(arguments[0])
    return _example_of_type(annotation) if isinstance(annotation, type) else None


def _example_of_type(kind: type) -> str | None:
    if issubclass(kind, Enum):
        return str(next(iter(kind)).value)
    if issubclass(kind, bool):
        return "true"
    return "1" if issubclass(kind, int | float | Decimal) else getattr(kind, "EXAMPLE", None)


def _branches(annotation: Any) -> list[Any]:
    if isinstance(annotation, FieldInfo):
        return _branches(annotation.annotation)
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for one in get_args(annotation) for inner in _branches(one)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [one for one in _branches(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
