"""The form that a response must have, written like the response itself. Finds what is missing or has another type, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from probes.expect.conditions import json_type
from probes.expect.patterns import shown

# "string", or "string|integer" where both are right; {"name": shape} is an object, "name?" a member that may be absent or null;
# [shape] is an array of any length.
Shape = str | Mapping[str, Any] | list[Any]

_MOCK_FIELDS = frozenset({"mock", "is_mock", "mocked", "is_mocked", "mock_mode", "mock_data"})
_ELEMENTS = 100  # elements of an array that are checked: a partner's long list must not block the loop


def breaches(shape: Shape, value: Any, path: str = "$") -> Iterator[str]:
    """Everything that breaks the contract, in the shape's order: `$.restaurants[0].id is 5 (integer), expected string`."""
    if isinstance(shape, str):
        names, found = shape.split("|"), json_type(value)
        if found not in names and not (found == "integer" and "number" in names):
            yield f"{path} is {shown(value)} ({found}), expected {' or '.join(names)}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path} is {shown(value)} ({json_type(value)}), expected array"
            return
        for index, element in enumerate(value[:_ELEMENTS]):
            yield from breaches(shape[0], element, f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield f"{path} is {shown(value)} ({json_type(value)}), expected object"
    else:
        for written, inner in shape.items():
            name = written.removesuffix("?")
            if value.get(name) is None and written != name:
                continue
            if name not in value:
                yield f"{path}.{name} is absent, expected {_type_name(inner)}"
            else:
                yield from breaches(inner, value[name], f"{path}.{name}")


def _type_name(shape: Shape) -> str:
    return shape.replace("|", " or ") if isinstance(shape, str) else "array" if isinstance(shape, list) else "object"


def find_mock(value: Any, path: str = "$", depth: int = 6) -> str:
    """Where a response says that it is generated: `$.mock is true`, `$.id is "MOCK123"`; "" where it doesn't."""
    if depth == 0:
        return ""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _MOCK_FIELDS and inner not in (False, None, 0, ""):
                return f"{path}.{name} is {shown(inner)}"
        return next((sign for name, inner in value.items() if (sign := find_mock(inner, f"{path}.{name}", depth - 1))), "")
    if isinstance(value, list):
        return next((sign for i, inner in enumerate(value[:_ELEMENTS]) if (sign := find_mock(inner, f"{path}[{i}]", depth - 1))), "")
    return f"{path} is {shown(value)}" if isinstance(value, str) and _is_mock_code(value) else ""


def _is_mock_code(text: str) -> bool:
    """MOCK123, mock_42, mock-mode: a code, not a word in a sentence or a restaurant called The Mockingbird."""
    return text[:4].lower() == "mock" and text[4:5] != "" and not text[4:5].isalpha() and " " not in text
