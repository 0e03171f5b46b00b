"""`{{token}}`: what a journey captured, put into what it sends next. Pure text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from probes.core import Failed, Reason

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_OPENING = re.compile(r"\{\{.{0,20}")


def variables(value: Any) -> Iterator[str]:
    """The names of all variables in a text, a secret, or the texts inside lists and mappings.

    Raises ValueError for a `{{` that begins no variable.
    """
    if isinstance(value, SecretStr):
        yield from variables(value.get_secret_value())
    elif isinstance(value, str):
        yield from _VARIABLE.findall(value)
        if stray := _OPENING.search(_VARIABLE.sub("", value)):
            raise ValueError(f"{stray.group()} is no variable; write a name, such as {{{{token}}}}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from variables(key)
            yield from variables(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from variables(inner)


def fill(text: str, values: Mapping[str, Any]) -> str:
    """The text with its variables filled in."""
    return _VARIABLE.sub(lambda found: as_text(values[found[1]]), text)


def fill_path(path: str, values: Mapping[str, Any]) -> str:
    """A path with its variables filled in, each escaped inside its segment: a value can't change where the path leads.

    Raises Failed(schema) for a value that would: none at all, `.` or `..`.
    """
    return _VARIABLE.sub(lambda found: _segment(found[1], as_text(values[found[1]])), path)


def _segment(name: str, text: str) -> str:
    if text.strip(".") == "":
        raise Failed(Reason.SCHEMA, f"{text!r} as {{{{{name}}}}} is not allowed in a path")
    return quote(text, safe="")


def fill_json(value: Any, values: Mapping[str, Any]) -> Any:
    """A JSON value with the variables in its texts filled in; a text that is one variable becomes the value, type and all."""
    if isinstance(value, str):
        whole = _VARIABLE.fullmatch(value)
        return values[whole[1]] if whole else fill(value, values)
    if isinstance(value, list):
        return [fill_json(each, values) for each in value]
    if isinstance(value, dict):
        return {fill(key, values): fill_json(each, values) for key, each in value.items()}
    return value


def as_text(value: Any) -> str:
    """A captured JSON value as a text: true and 5, not True and 5.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
