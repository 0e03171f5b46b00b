"""`{{token}}`: values that a journey captured or generates, put into its requests and expectations. Pure.

`{{uuid}}`, `{{uuid order}}`, `{{now}}`, `{{in 7d}}` and `{{ago 1h date}}` are generated, once a run: see probes.expect.generated.
`{{'{{'}}` is a literal `{{`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from probes.core import Failed, Reason
from probes.fields import TextSetting

FORMS = ("date", "time", "unix", "unix_ms")  # of a generated moment, beside ISO 8601
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_MOMENT = r"(?:now|(?:in|ago) (?:[0-9]+(?:ms|s|m|h|d|w))+)"
_LITERAL = "'{{'"
_VARIABLE = re.compile(rf"\{{\{{\s*(uuid {_NAME}|{_MOMENT}(?: (?:{'|'.join(FORMS)}))?|{_NAME}|{_LITERAL})\s*\}}\}}")
TOTP = "totp"  # the one-time password of the moment, where there is a secret for it
_MADE = re.compile(rf"{TOTP}|uuid(?: {_NAME})?|{_MOMENT}(?: (?:{'|'.join(FORMS)}))?")
_OPENING = re.compile(r"\{\{.{0,20}")


def is_generated(name: str) -> bool:
    """Whether a variable has a value without any step that captures it. A step may capture one by the same name all the same."""
    return _MADE.fullmatch(name) is not None


def _named(text: str) -> Iterator[str]:
    return (name for name in _VARIABLE.findall(text) if name != _LITERAL)


def variables(value: Any) -> Iterator[str]:
    """The names of all variables in a text, a secret, or the texts inside lists and mappings.

    Raises ValueError for a `{{` that begins no variable.
    """
    if isinstance(value, SecretStr):
        yield from variables(value.get_secret_value())
    elif isinstance(value, str):
        yield from _named(value)
        if stray := _OPENING.search(_VARIABLE.sub("", value)):
            raise ValueError(f"{stray.group()} is no variable; write a name, such as {{{{token}}}}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from variables(key)
            yield from variables(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from variables(inner)


def expected_variables(value: Any) -> Iterator[str]:
    """The names of the variables in expectations, where a `{{` that begins no variable is a text like any other.

    Raises ValueError for a variable in a regular expression or a JSONPath: those are compiled as the configuration is read.
    """
    if isinstance(value, str | SecretStr):
        yield from _named(value if isinstance(value, str) else value.get_secret_value())
    elif isinstance(value, TextSetting):
        if found := _VARIABLE.search(value.text):
            raise ValueError(f"{found[0]} can't be filled in within {value.text}; write it into text, or into the value that is expected")
    elif isinstance(value, BaseModel):
        for name in value.model_fields_set:
            yield from expected_variables(getattr(value, name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from expected_variables(key)
            yield from expected_variables(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from expected_variables(inner)


def refuse_variables(value: Any) -> Any:
    """The value, where nothing fills in variables. Raises ValueError for one."""
    if name := next(expected_variables(value), None):
        raise ValueError(f"{{{{{name}}}}} is a value that a step of a journey captures; nothing fills it in here")
    return value


def fill(text: str, values: Mapping[str, Any]) -> str:
    """The text with its variables filled in."""
    return _VARIABLE.sub(lambda found: "{{" if found[1] == _LITERAL else as_text(values[found[1]]), text)


def fill_path(path: str, values: Mapping[str, Any]) -> str:
    """A path with its variables filled in, each escaped, so that a value can't add or remove a segment.

    Raises Failed(schema) for an empty value, `.` and `..`.
    """

    def segment(variable: re.Match[str]) -> str:
        if variable[1] == _LITERAL:
            return "%7B%7B"
        text = as_text(values[variable[1]])
        if text.strip(".") == "":
            raise Failed(Reason.SCHEMA, f"{text!r} as {{{{{variable[1]}}}}} is not allowed in a path")
        return quote(text, safe="")

    return _VARIABLE.sub(segment, path)


def fill_json(value: Any, values: Mapping[str, Any]) -> Any:
    """A JSON value with the variables in its texts filled in; a text that is one variable becomes the value itself, with its type."""
    if isinstance(value, str):
        whole = _VARIABLE.fullmatch(value)
        return values[whole[1]] if whole and whole[1] != _LITERAL else fill(value, values)
    if isinstance(value, list):
        return [fill_json(each, values) for each in value]
    if isinstance(value, dict):
        return {fill(key, values): fill_json(each, values) for key, each in value.items()}
    return value


def whole_variable(text: str) -> str:
    """The name of the variable that a text consists of; "" for any other text."""
    found = _VARIABLE.fullmatch(text)
    return found[1] if found and found[1] != _LITERAL else ""


def as_text(value: Any) -> str:
    """A captured JSON value as a text: true and 5, not True and 5.0; arrays and objects as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
