"""The form that an answer has to have, written as the answer itself: what is missing or of another type, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from probes.expect.conditions import json_type
from probes.expect.patterns import shown

# "string", or "string|integer" where both will do; {"name": shape} an object, "name?" a member that may be absent or null;
# [shape] an array of any length.
Shape = str | Mapping[str, Any] | list[Any]

_MARKS = frozenset({"mock", "is_mock", "mocked", "is_mocked", "mock_mode", "mock_data"})
_ELEMENTS = 100  # of an array that are looked at: a partner's long list may not hold up the loop


def breaches(shape: Shape, value: Any, path: str = "$") -> Iterator[str]:
    """What breaks the contract: `$.restaurants[0].id is 5 (integer), expected string`, in the shape's order."""
    if isinstance(shape, str):
        if not _is(shape, value):
            yield f"{path} is {shown(value)} ({json_type(value)}), expected {shape.replace('|', ' or ')}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path} is {shown(value)} ({json_type(value)}), expected array"
            return
        for index, element in enumerate(value[:_ELEMENTS]):
            yield from breaches(shape[0], element, f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield f"{path} is {shown(value)} ({json_type(value)}), expected object"
    else:
        yield from _members(shape, value, path)


def _members(shape: Mapping[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    for written, inner in shape.items():
        name = written.removesuffix("?")
        if value.get(name) is None and written != name:
            continue
        if name not in value:
            yield f"{path}.{name} is absent, expected {_named(inner)}"
        else:
            yield from breaches(inner, value[name], f"{path}.{name}")


def _is(shape: str, value: Any) -> bool:
    have = json_type(value)
    return have in (names := shape.split("|")) or (have == "integer" and "number" in names)


def _named(shape: Shape) -> str:
    return shape.replace("|", " or ") if isinstance(shape, str) else "array" if isinstance(shape, list) else "object"


def mock_mark(value: Any, path: str = "$", depth: int = 6) -> str:
    """Where an answer marks itself as made up: `$.mock is true`, `$.id is "MOCK123"`; "" where it doesn't."""
    if depth == 0:
        return ""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _MARKS and inner not in (False, None, 0, ""):
                return f"{path}.{name} is {shown(inner)}"
        return next((mark for name, inner in value.items() if (mark := mock_mark(inner, f"{path}.{name}", depth - 1))), "")
    if isinstance(value, list):
        return next((mark for i, inner in enumerate(value[:_ELEMENTS]) if (mark := mock_mark(inner, f"{path}[{i}]", depth - 1))), "")
    return f"{path} is {shown(value)}" if isinstance(value, str) and _made_up(value) else ""


def _made_up(text: str) -> bool:
    """MOCK123, mock_42, mock-mode: a code, not a word in a sentence or a restaurant called The Mockingbird."""
    return text[:4].lower() == "mock" and text[4:5] != "" and not text[4:5].isalpha() and " " not in text
