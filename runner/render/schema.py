"""The JSON Schema of checks.yaml, made from the models that read it: with it an editor completes and checks the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from probes.fields import UNITS
from probes.journeys.login import Login
from probes.probe import Probe
from probes.target import Target
from runner.config.maintenance import WindowKeys
from runner.config.sections import CheckKeys, CoordinateKeys, Defaults, GateKeys, General, GrafanaKeys, LoadKeys, ServerKeys, SloKeys

Schema = dict[str, Any]

_REF = "#/$defs/{model}"
_NAMES = {"pattern": "^[a-z0-9][a-z0-9-]*$", "maxLength": 63}
_PLACEHOLDER: Schema = {"type": "string", "pattern": r"\$\{", "description": "${NAME}, ${NAME:-default} or ${file:/path}"}
_ANY_TEXT = frozenset({"type", "description", "default", "title", "examples"})  # a text that any ${...} fits without being said
_NOISE = ("title", "writeOnly", "x-hidden")
_SECTIONS: tuple[type[BaseModel], ...] = (
    General,
    Defaults,
    ServerKeys,
    GateKeys,
    GrafanaKeys,
    CoordinateKeys,
    LoadKeys,
    WindowKeys,
    SloKeys,
    CheckKeys,
    Target,
    Login,
)


def schema(kinds: Mapping[str, type[Probe]] | None = None) -> str:
    """The schema as JSON text, the same for the same models. `kinds` are those of probes.discover() unless others are given."""
    if kinds is None:
        from probes import discover  # noqa: PLC0415 - imports every kind and its libraries: only where no kinds are given

        kinds = discover()
    models = [*kinds.values(), *_SECTIONS]
    refs, made = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    found: Schema = {name: _tidy(one) for name, one in made["$defs"].items()} | {"placeholder": _PLACEHOLDER}
    named = {model: refs[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
    for one in (found[named[Target]], found[named[Login]]):  # its name is the key that it stands under, not the user's to write
        del one["properties"]["name"]
        one["required"].remove("name")
    for kind, model in kinds.items():
        _make_check(found[named[model]], kind, found[named[CheckKeys]]["properties"])
    branches = [
        {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": _ref(named[kinds[kind]])} for kind in sorted(kinds)
    ]
    check = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": sorted(kinds)}}, "allOf": branches}
    checks = _by_name(check, "The checks: what to request, and how often.")
    sections = {
        "defaults": _ref(named[Defaults]),
        "targets": _by_name(_ref(named[Target]), "The services to check: their addresses and rules."),
        "logins": _by_name(_ref(named[Login]), "Sessions that the checks of a target share: how they are made and given back."),
        "slos": _by_name(_ref(named[SloKeys]), "Service level objectives; each check has its own error budget for each of them."),
        "checks": checks | {"minProperties": 1},
        "server": _ref(named[ServerKeys]),
        "load": _ref(named[LoadKeys]),
        "gate": _ref(named[GateKeys]),
        "grafana": _ref(named[GrafanaKeys]),
        "maintenance": {
            "type": "array",
            "items": _ref(named[WindowKeys]),
            "description": "Planned windows in which no failure counts for an SLO or calls anybody.",
        },
        "coordinate": {
            "anyOf": [{"type": "string"}, _ref(named[CoordinateKeys])],
            "description": "The Redis by which runners share the checks.",
        },
    }
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "checks.yaml of Outrider",
        "type": "object",
        "properties": found[named[General]]["properties"] | sections,
        "patternProperties": {"^x-": {"description": "Ignored: a place for YAML anchors."}},
        "additionalProperties": False,
        "required": ["version"],
        "anyOf": [{"required": [key]} for key in ("checks", "include", "targets", "logins", "slos")],
    }
    whole |= {"$defs": {name: found[name] for name in sorted(_used(whole, found))}}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _used(one: Any, definitions: Schema) -> set[str]:
    """The names of the definitions that a schema leads to."""
    names: set[str] = set()
    stack = [one]
    while stack:
        here = stack.pop()
        if isinstance(here, list):
            stack.extend(here)
        elif isinstance(here, dict):
            stack.extend(here.values())
            name = str(here.get("$ref", "")).rpartition("/")[2]
            if name and name not in names:
                names.add(name)
                stack.append(definitions[name])
    return names


def _ref(name: str) -> Schema:
    return {"$ref": _REF.format(model=name)}


def _by_name(entry: Schema, description: str) -> Schema:
    return {"type": "object", "description": description, "propertyNames": _NAMES, "additionalProperties": entry}


def _make_check(one: Schema, kind: str, common: Mapping[str, Any]) -> None:
    """Adds the keys that every check has to a kind's own, and keeps the first line of its documentation."""
    one["description"] = one.get("description", "").partition("\n")[0]
    one["properties"] = (
        {"kind": {"const": kind}} | one.get("properties", {}) | {key: value for key, value in common.items() if key != "kind"}
    )
    one["required"] = ["kind", *one.get("required", [])]


def _tidy(one: Any) -> Any:
    """A schema as a person writes the file: units instead of seconds, no null, and ${...} wherever a single value goes."""
    if isinstance(one, list):
        return [_tidy(item) for item in one]
    if not isinstance(one, dict):
        return one
    kept = {key: value for key, value in one.items() if key not in _NOISE and not (key == "format" and value == "password")}
    kept = _without_null(kept)
    for key in ("properties", "patternProperties", "$defs"):
        if key in kept:
            kept[key] = {name: _tidy(inner) for name, inner in kept[key].items()}
    for key in ("items", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems", "propertyNames"):
        if key in kept:
            kept[key] = kept[key] if key == "propertyNames" else _tidy(kept[key])
    return _with_placeholder(_with_written_default(kept))


def _without_null(one: Schema) -> Schema:
    """A key without a value is an error, so null is no choice."""
    match one.get("type"):
        case [kind, "null"]:
            one["type"] = kind
    branches = one.get("anyOf")
    if not branches or {"type": "null"} not in branches:
        return one
    rest = [branch for branch in branches if branch != {"type": "null"}]
    outer = {key: value for key, value in one.items() if key != "anyOf"}
    if len(rest) > 1:
        return {"anyOf": rest} | outer
    return {key: value for key, value in rest[0].items() if key not in outer and key not in _NOISE and value != "password"} | outer


def _with_written_default(one: Schema) -> Schema:
    """Defaults as the file holds them, with the field's unit; those that nobody would write are left out."""
    default = one.get("default")
    kept = {key: value for key, value in one.items() if key not in {"default", UNITS}}
    if one.get("type") == "string" and isinstance(default, int | float):
        return kept | {"default": _written(default, one[UNITS])} if UNITS in one else kept
    return kept | {"default": default} if isinstance(default, bool | int | str) and default != "" else kept


def _written(number: float, units: Mapping[str, float | Decimal]) -> str:
    """In the largest unit that leaves no fraction, else in the smallest."""
    exact = Decimal(str(number))
    falling = sorted(units, key=lambda unit: units[unit], reverse=True)
    unit = next((unit for unit in falling if exact and not exact % Decimal(str(units[unit]))), falling[-1])
    return f"{(exact / Decimal(str(units[unit]))).normalize():f}{unit}"


def _with_placeholder(one: Schema) -> Schema:
    """Lets ${...} stand where a number, a boolean, a choice or a text of a certain form goes."""
    single = one.get("type") in ("string", "integer", "number", "boolean") or "const" in one or "enum" in one
    if not single or (one.get("type") == "string" and one.keys() <= _ANY_TEXT):
        return one
    outer = {key: one[key] for key in ("description", "default") if key in one}
    inner = {key: value for key, value in one.items() if key not in outer}
    return {"anyOf": [inner, {"$ref": "#/$defs/placeholder"}]} | outer
