"""Says what pydantic found in the words of checks.yaml. Works from places and types: no value is ever repeated."""

from __future__ import annotations

import re
import types
from collections.abc import Collection
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from runner.config.errors import Path, did_you_mean
from runner.config.nodes import Items, Keys, Node, Scalar

EMPTY = "is empty; write a value, or remove the line"
_PLAIN = {
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "tuple_type": "must be a list, such as [one, two]",
    "list_type": "must be a list, such as [one, two]",
    "set_type": "must be a list, such as [one, two]",
    "frozen_set_type": "must be a list, such as [one, two]",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dataclass_type": "must be a mapping of keys to values",
    "path_type": "must be a path",
}
_TEXT = frozenset({"string_type", "string_sub_type", "path_type"})


def message(error: Any, node: Node) -> str:
    """One of `ValidationError.errors()` in our words, for the node that it is about (for an unknown or a missing key its mapping)."""
    kind, ctx = error["type"], error.get("ctx") or {}
    if isinstance(node, Scalar) and node.value is None and kind.endswith(("_type", "_parsing")):
        return EMPTY
    if kind in _TEXT:
        return _no_text(node)
    if kind in {"literal_error", "enum"}:
        return _one_of(str(ctx.get("expected", "")), node)
    if kind == "value_error":
        return str(ctx.get("error", "")).strip() or "doesn't fit"
    if kind == "string_pattern_mismatch":
        return f"doesn't have the form {ctx.get('pattern', '')}"
    return _PLAIN.get(kind) or _decapitalized(error["msg"])


def _no_text(node: Node) -> str:
    if isinstance(node, Items):
        return "must be a text, not a list"
    if isinstance(node, Keys):
        return "must be a text, not a mapping"
    what = "true or false" if isinstance(node.value, bool) else "a number"
    return f"is read as {what} and must be a text; put it in quotes"


def _one_of(expected: str, node: Node) -> str:
    words = expected.replace("'", "")
    if isinstance(node, Scalar) and node.plain and not isinstance(node.value, str) and f"'{node.text}'" in expected:
        return _no_text(node)
    known = re.findall(r"'([^']*)'", expected)
    return f"must be {words}" + (did_you_mean(node.text, known) if isinstance(node, Scalar) else "")


def _decapitalized(text: str) -> str:
    text = text.removeprefix("Value error, ").replace("Input should be", "must be").replace("Input should", "must")
    return text[:1].lower() + text[1:]


def known_keys(model: Any, path: Path) -> Collection[str]:
    """The keys that a model's place knows: for did-you-mean. Empty where any key goes."""
    for part in path:
        model = _inner(model, part)
        if model is None:
            return ()
    found = _models(model)
    return {field.alias or name for one in found for name, field in one.model_fields.items()}


def _inner(annotation: Any, part: str | int) -> Any:
    """The annotation of what stands at `part` inside `annotation`."""
    for one in _models(annotation):
        for name, field in one.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
    for branch in _branches(annotation):
        arguments = get_args(branch)
        if isinstance(part, int) and arguments and get_origin(branch) in (list, tuple, set, frozenset):
            return arguments[0]
        if isinstance(part, str) and len(arguments) == 2:  # noqa: PLR2004 - a mapping's key and value
            return arguments[1]
    return None


def _branches(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _branches(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for one in get_args(annotation) for inner in _branches(one)]
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [one for one in _branches(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
