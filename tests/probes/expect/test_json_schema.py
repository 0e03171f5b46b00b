from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.expect.json_schema import judged_schema, schema_faults

jsonschema: Any = pytest.importorskip("jsonschema", reason="it comes with the tools for linting")
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5).map(lambda n: round(n, 1)) | st.text("ab", max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_TYPES = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
_LEAVES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries({"type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True)}),
    st.fixed_dictionaries({}, optional={"minimum": st.integers(-5, 5), "exclusiveMaximum": st.integers(-5, 5), "multipleOf": st.just(2)}),
    st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(0, 3), "pattern": st.just("^a")}),
    st.fixed_dictionaries({}, optional={"minItems": st.integers(0, 3), "uniqueItems": st.booleans(), "maxProperties": st.integers(0, 2)}),
    st.fixed_dictionaries({}, optional={"enum": st.lists(_VALUES, min_size=1, max_size=3), "required": st.just(["a"])}),
    st.fixed_dictionaries({"const": _VALUES}),
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2)}, optional={"additionalProperties": inner}
        ),
        st.fixed_dictionaries({"items": inner}, optional={"prefixItems": st.lists(inner, min_size=1, max_size=2)}),
        st.sampled_from(["anyOf", "allOf", "oneOf"]).flatmap(
            lambda word: st.fixed_dictionaries({word: st.lists(inner, min_size=1, max_size=3)})
        ),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)


@given(_SCHEMAS, _VALUES)
@settings(max_examples=100, deadline=None)
def test_it_agrees_with_the_reference(schema: Any, value: Any) -> None:
    """A value has a fault exactly where the reference implementation finds one."""
    judged_schema(schema)
    assert (next(schema_faults(schema, value), None) is None) is jsonschema.Draft202012Validator(schema).is_valid(value)


@given(st.recursive(_VALUES, lambda inner: st.dictionaries(st.sampled_from(["type", "items", "anyOf", "$ref", "enum", "pattern"]), inner)))
@settings(max_examples=100, deadline=None)
def test_any_schema_is_read_or_refused(schema: Any) -> None:
    """Whatever is written as a schema is refused with a sentence, or judges any value without an error of ours."""
    try:
        judged_schema(schema)
    except ValueError:
        return
    for value in (None, 1, "a", [1, "a"], {"a": [1]}):
        list(schema_faults(schema, value))


def test_a_schema_that_refers_to_itself() -> None:
    """A recursive schema is judged as deep as the value goes; one that never gets deeper ends."""
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["id"]}
    assert list(schema_faults(judged_schema(tree), {"id": 1, "next": {"id": 2, "next": {}}})) == [
        "$.next.next.id is absent, expected a value"
    ]
    assert "levels deep" in next(schema_faults(judged_schema({"$ref": "#"}), 1))
    assert "has no #/$defs/y" in next(schema_faults(judged_schema({"$ref": "#/$defs/y"}), 1))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"typ": "object"}, "typ is no keyword that is judged here; did you mean type?"),
        ({"properties": {"a": {"if": {}}}}, "if at /properties/a is no keyword"),
        ({"type": "date"}, "type is one of array, boolean"),
        ({"pattern": "(?=a)"}, "RE2 can't read"),
        ({"required": "a"}, "required takes another type of value"),
        ({"minLength": True}, "minLength takes another type of value"),
        ({"multipleOf": 0}, "multipleOf is above 0"),
        ({"$ref": "https://example.com/schema"}, "names a schema of the same file"),
        ([], "is an object such as"),
    ],
)
def test_what_cannot_be_judged_is_refused(schema: Any, message: str) -> None:
    """A keyword that says something that would not be judged is an error when checks.yaml is read."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below
        judged_schema(schema)
    assert message in str(error.value)
    json.dumps(schema)
