from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]  # it comes with check-jsonschema, without stubs
import pytest
from pydantic import WithJsonSchema

from probes import discover
from probes.core import Result
from probes.fields import Duration, Size
from probes.kinds.booking import BookingSearch
from probes.probe import Context, Probe
from runner.config.document import read
from runner.config.nodes import Items, Keys, Node
from runner.render.schema import schema

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft7Validator(json.loads(schema()))


def plain(node: Node) -> Any:
    """Takes the places away."""
    if isinstance(node, Keys):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value


def complaints(data: Any) -> list[str]:
    """Says what the schema finds wrong."""
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in VALIDATOR.iter_errors(data)]


def test_the_schema_is_one() -> None:
    """It is a valid JSON Schema of draft 7, which editors know best."""
    jsonschema.Draft7Validator.check_schema(json.loads(schema()))


def test_the_committed_schema_is_that_of_the_models() -> None:
    """checks.schema.json is what `outrider render` writes: a model that changed without it is seen."""
    assert (ROOT / "checks.schema.json").read_text() == schema()


def test_the_committed_checks_hold_to_the_schema() -> None:
    """The Road Trip Storyteller's checks.yaml pleases the editor that checks it with the schema."""
    assert complaints(plain(read(ROOT / "checks.yaml"))) == []


class Unsaid(Probe):
    """A kind with a number that is written as a text, and doesn't say with which units."""

    weight: Annotated[float, WithJsonSchema({"type": "string"})] = 40.0
    size: Size = 1_500_000
    small: Size = 1_234_567
    pause: Duration = 5400.0
    blink: Duration = 0.0205

    def address(self) -> str:
        """Nowhere."""
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        """Passes."""
        return Result.passed(ctx.check)


def defaults(one: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every key of a schema that has a default: its name, itself, the default."""
    if isinstance(one, dict):
        named = one["properties"].items() if isinstance(one.get("properties"), dict) else ()
        yield from ((name, inner, inner["default"]) for name, inner in named if "default" in inner)
        for inner in one.values():
            yield from defaults(inner)


def test_a_default_is_written_as_the_file_holds_it() -> None:
    """Each fits the very key that it is the default of, and a number with a unit carries the field's own."""
    whole = json.loads(schema())
    found = list(defaults(whole))
    assert found
    for _, one, default in found:
        jsonschema.Draft7Validator(one | {"$defs": whole["$defs"]}).validate(default)
    assert BookingSearch(near="37.8,-122.4", radius="40km") == BookingSearch(near="37.8,-122.4")  # type: ignore[arg-type]  # as the file has it
    assert {(name, default) for name, _, default in found} >= {
        ("radius", "40km"),
        ("body_cap", "1MiB"),
        ("lockout", "30m"),
        ("every", "200ms"),
    }


def test_a_unit_is_the_fields_own() -> None:
    """The largest that leaves no fraction; where a field doesn't say its units nobody guesses one."""
    told = {name: default for name, _, default in defaults(json.loads(schema({"unsaid": Unsaid}))["$defs"]["Unsaid"])}
    assert {key: told.get(key) for key in ("weight", "size", "small", "pause", "blink")} == {
        "weight": None,
        "size": "1500kB",
        "small": "1234567B",
        "pause": "90m",
        "blink": "20.5ms",
    }


@pytest.mark.parametrize("kind", sorted(discover()))
def test_every_kind_s_examples_hold_to_the_schema(kind: str) -> None:
    """What a kind shows as an example may be written; a target's name stands for the target."""
    examples = [dict(example) for example in discover()[kind].examples]
    for example in examples:
        if "target" in example:
            example["target"] = "api"
    assert examples
    assert [complaints({"version": 1, "checks": {"it": {"kind": kind, **example}}}) for example in examples] == [[]] * len(examples)


def with_check(**keys: Any) -> Any:
    """Makes a file of one check."""
    return {"version": 1, "checks": {"api": {"kind": "tcp", "host": "localhost", "port": 1, **keys}}}


@pytest.mark.parametrize(
    "data",
    [
        with_check(port="${PORT:-80}", enabled="${ON:-true}", interval="${EVERY}", alert="${ALERT:-page}"),
        with_check(tags=["smoke", "${TAG}"], cron="0 3 * * SUN", zone="Europe/Berlin"),
        {"x-anything": [1], "targets": {"api": {"url": "${URL}", "limit": "${LIMIT}", "allow": ["POST /x"]}}, **with_check()},
    ],
)
def test_placeholders_may_stand_for_every_single_value(data: Any) -> None:
    """${...} is no mistake where a number, a boolean, a choice or a duration goes."""
    assert complaints(data) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"version": 2, "checks": {"api": {"kind": "tcp", "host": "localhost", "port": 1}}},
        {"version": 1, "checks": {}},
        {"version": 1, "checks": {"api": {"host": "localhost", "port": 1}}},
        {"version": 1, "checks": {"API": {"kind": "tcp", "host": "localhost", "port": 1}}},
        {"version": 1, "checks": {"api": {"kind": "tpc", "host": "localhost", "port": 1}}},
        {"maintenance": {}, **with_check()},
        with_check(timeout=5),
        with_check(timeuot="5s"),
        with_check(port="eighty"),
        with_check(port=None),
        with_check(alert="everybody"),
        {"targets": {"api": {"url": "https://example.com", "name": "api"}}, **with_check()},
    ],
)
def test_mistakes_are_seen_in_the_editor(data: Any) -> None:
    """Unknown keys, kinds and names, forgotten units and missing keys are marked while they are written."""
    assert complaints(data)
