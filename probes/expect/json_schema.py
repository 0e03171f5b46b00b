"""JSON Schema for what a model writes: the keywords of draft 2020-12 that say what a value must be, read with checks.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from probes.expect.conditions import json_type, same
from probes.expect.patterns import Pattern, shown
from probes.text import clipped, did_you_mean

_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "format", "deprecated"}
    | {"readOnly", "writeOnly", "propertyOrdering"}
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_WHOLE = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_WRITTEN: Mapping[str, Any] = {  # the types in which keywords are written
    **dict.fromkeys(("properties", "$defs", "definitions"), dict),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems", "required", "enum"), list),
    **dict.fromkeys(_NUMERIC, int | float),
    **dict.fromkeys(_WHOLE, int),
    "uniqueItems": bool,
}
_DEEPEST = 60  # levels of a schema and of what it is compared with
_ELEMENTS = 1000  # of an array that are compared
Fault = tuple[str, str]  # the JSONPath of a value, and what is wrong with it


def judged_schema(schema: Any, path: str = "", depth: int = 0) -> Any:
    """The schema. Raises ValueError for a keyword that isn't known here: what it says would not be judged."""
    where = f" at {path}" if path else ""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise ValueError(f"a schema{where} is an object such as {{type: object}}, at most {_DEEPEST} levels deep")
    for word, value in schema.items():
        if fault := _wrong_keyword(word, value):
            raise ValueError(f"{clipped(str(word), 40)}{where} {fault}")
        inner: dict[Any, Any] = {}
        if word in ("properties", "$defs", "definitions"):
            inner = value
        elif word in ("anyOf", "oneOf", "allOf", "prefixItems"):
            inner = dict(enumerate(value))
        elif word in ("items", "not", "additionalProperties"):
            inner = {"": value}
        for name, each in inner.items():
            judged_schema(each, f"{path}/{word}{f'/{name}' if name != '' else ''}", depth + 1)
    return schema


def _wrong_keyword(word: str, value: Any) -> str:
    """What is wrong with a keyword and its value by itself; "" for nothing. Raises ValueError for a pattern that RE2 can't read."""
    if word not in _KEYWORDS.keys() | _ANNOTATIONS | {"$ref"}:
        return f"is no keyword that is judged here{did_you_mean(word, _KEYWORDS)}"
    if (kind := _WRITTEN.get(word)) and (not isinstance(value, kind) or (kind is not bool and isinstance(value, bool))):
        return "takes another type of value"
    if word == "type" and not {*map(str, value if isinstance(value, list) else [value])} <= _TYPES:
        return f"is one of {', '.join(sorted(_TYPES))}"
    if word == "$ref" and not (isinstance(value, str) and re.fullmatch(r"#(/(\$defs|definitions)/[^/]+)?", value)):
        return "names a schema of the same file, such as #/$defs/day"
    if word == "pattern":
        Pattern.parse(value)
    return "is above 0" if word == "multipleOf" and value <= 0 else ""


def schema_faults(schema: Any, value: Any) -> Iterator[str]:
    """Everything in which a value differs from a schema: `$.days is "3" (string), expected integer`."""
    for path, fault in _faults(schema, value, "$", schema, 0):
        yield f"{path} {fault}"


def _faults(schema: Any, value: Any, path: str, root: Any, depth: int) -> Iterator[Fault]:
    if depth > _DEEPEST:
        yield path, f"is nested more than {_DEEPEST} levels deep"
        return
    if isinstance(schema, bool):
        if not schema:
            yield path, f"is {shown(value)}, expected none"
        return
    if reference := schema.get("$ref"):
        *_, name = reference.split("/")
        of = root if reference == "#" else (root.get("$defs") or {}).get(name, (root.get("definitions") or {}).get(name))
        if of is None:
            yield path, f"can't be judged: the schema has no {reference}"
        else:
            yield from _faults(of, value, path, root, depth + 1)
    for word, wanted in schema.items():
        if (judge := _KEYWORDS.get(word)) is not None:
            yield from judge(wanted, value, schema, lambda inner, each, at: _faults(inner, each, f"{path}{at}", root, depth + 1), path)


Below = Callable[[Any, Any, str], Iterator[Fault]]


def _type(wanted: Any, value: Any, _: Any, __: Below, path: str) -> Iterator[Fault]:
    names, found = wanted if isinstance(wanted, list) else [wanted], json_type(value)
    fits = {found} | ({"number"} if found == "integer" else set()) | ({"integer"} if found == "number" and value.is_integer() else set())
    if not fits & set(names):
        yield path, f"is {shown(value)} ({found}), expected {' or '.join(names)}"


def _properties(wanted: Any, value: Any, _: Any, below: Below, __: str) -> Iterator[Fault]:
    for name, schema in wanted.items() if isinstance(value, dict) else ():
        if name in value:
            yield from below(schema, value[name], f".{name}")


def _required(wanted: Any, value: Any, _: Any, __: Below, path: str) -> Iterator[Fault]:
    for name in wanted if isinstance(value, dict) else ():
        if name not in value:
            yield f"{path}.{name}", "is absent, expected a value"


def _others(wanted: Any, value: Any, schema: Mapping[str, Any], below: Below, path: str) -> Iterator[Fault]:
    for name in value if isinstance(value, dict) else ():
        if name not in schema.get("properties", {}):
            if wanted is False:
                yield f"{path}.{name}", "is not in the schema, which allows no further members"
            else:
                yield from below(wanted, value[name], f".{name}")


def _items(wanted: Any, value: Any, schema: Mapping[str, Any], below: Below, _: str) -> Iterator[Fault]:
    first = len(schema.get("prefixItems", ()))
    for index, element in enumerate(value[first:_ELEMENTS] if isinstance(value, list) else (), first):
        yield from below(wanted, element, f"[{index}]")


def _prefix(wanted: Any, value: Any, _: Any, below: Below, __: str) -> Iterator[Fault]:
    for index, (schema, element) in enumerate(zip(wanted, value if isinstance(value, list) else (), strict=False)):
        yield from below(schema, element, f"[{index}]")


def _any_of(wanted: Any, value: Any, _: Any, below: Below, path: str) -> Iterator[Fault]:
    faults = [next(below(schema, value, ""), None) for schema in wanted]
    if all(faults):
        yield path, f"is {shown(value)}, which fits none of {len(wanted)} schemas"


def _one_of(wanted: Any, value: Any, _: Any, below: Below, path: str) -> Iterator[Fault]:
    fitting = sum(next(below(schema, value, ""), None) is None for schema in wanted)
    if fitting != 1:
        yield path, f"is {shown(value)}, which fits {fitting} of {len(wanted)} schemas, expected exactly one"


def _all_of(wanted: Any, value: Any, _: Any, below: Below, __: str) -> Iterator[Fault]:
    for schema in wanted:
        yield from below(schema, value, "")


def _not(wanted: Any, value: Any, _: Any, below: Below, path: str) -> Iterator[Fault]:
    if next(below(wanted, value, ""), None) is None:
        yield path, f"is {shown(value)}, which the schema excludes"


def _unique(wanted: Any, value: Any, _: Any, __: Below, path: str) -> Iterator[Fault]:
    elements = value[:_ELEMENTS] if wanted and isinstance(value, list) else []
    if any(same(one, other) for at, one in enumerate(elements[:100]) for other in elements[at + 1 : 100]):
        yield path, f"is {shown(value)}, expected each element once"


def _plain(kinds: tuple[type, ...], holds: Callable[[Any, Any], bool], words: str) -> Callable[..., Iterator[Fault]]:
    """A keyword about values of these types alone; `words` say what was expected."""

    def judge(wanted: Any, value: Any, _: Any, __: Below, path: str) -> Iterator[Fault]:
        fits = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        if fits and not holds(value, wanted):
            yield path, f"is {shown(value)}, expected {words.format(wanted if isinstance(wanted, str) else shown(wanted))}"

    return judge


_NUMBER, _ANY = (int, float), (object, bool)
_KEYWORDS: Mapping[str, Callable[..., Iterator[Fault]]] = {
    "type": _type,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _others,
    "items": _items,
    "prefixItems": _prefix,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "uniqueItems": _unique,
    "enum": _plain(_ANY, lambda value, wanted: any(same(each, value) for each in wanted), "one of {}"),
    "const": _plain(_ANY, same, "{}"),
    "minimum": _plain(_NUMBER, lambda value, wanted: value >= wanted, "at least {}"),
    "maximum": _plain(_NUMBER, lambda value, wanted: value <= wanted, "at most {}"),
    "exclusiveMinimum": _plain(_NUMBER, lambda value, wanted: value > wanted, "above {}"),
    "exclusiveMaximum": _plain(_NUMBER, lambda value, wanted: value < wanted, "below {}"),
    "multipleOf": _plain(_NUMBER, lambda value, wanted: not value % wanted, "a multiple of {}"),
    "minLength": _plain((str,), lambda value, wanted: len(value) >= wanted, "at least {} characters"),
    "maxLength": _plain((str,), lambda value, wanted: len(value) <= wanted, "at most {} characters"),
    "pattern": _plain((str,), lambda value, wanted: Pattern.parse(wanted).search(value) is not None, "a text that matches {}"),
    "minItems": _plain((list,), lambda value, wanted: len(value) >= wanted, "at least {} elements"),
    "maxItems": _plain((list,), lambda value, wanted: len(value) <= wanted, "at most {} elements"),
    "minProperties": _plain((dict,), lambda value, wanted: len(value) >= wanted, "at least {} members"),
    "maxProperties": _plain((dict,), lambda value, wanted: len(value) <= wanted, "at most {} members"),
}
