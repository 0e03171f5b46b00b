from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it comes with check-jsonschema, without stubs
import pytest

from probes import discover
from runner.plan.nodes import Items, Keys, Node
from runner.plan.yaml import read
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
