from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.expect.conditions import Condition, same
from probes.expect.json_path import JsonPath

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ({"equals": 1}, 1.0),
        ({"equals": None}, None),
        ({"not": "x"}, "y"),
        ({"in": ["a", "b"]}, "b"),
        ({"matches": "^b.*e$"}, "bridge"),
        ({"not_matches": "^x"}, "bridge"),
        ({"matches": "^b", "not_matches": "x$"}, "bridge"),
        ({"matches": "^b", "allow_missing": True}, "bridge"),
        ({"contains": "rid"}, "bridge"),
        ({"contains": 2}, [1, 2]),
        ({"contains": "a"}, {"a": 1}),
        ({"above": 1, "below": 3}, 2),
        ({"at_least": 2, "at_most": 2}, 2),
        ({"type": "integer"}, 2.0),
        ({"type": ["string", "null"]}, None),
        ({"type": "number"}, 2),
        ({"length": 2}, [1, 2]),
        ({"length": {"at_least": 1}}, "x"),
        ({"exists": True}, None),
        ("bare", "bare"),
        ([1, 2], [1, 2]),
    ],
)
def test_condition_holds(condition: Any, value: Any) -> None:
    """Each operator holds where it should."""
    assert list(Condition.model_validate(condition).faults(value)) == []


@pytest.mark.parametrize(
    ("condition", "value", "message"),
    [
        (True, 1, "1, expected true"),
        ({"equals": 0}, False, "false, expected 0"),
        ({"not": "x"}, "x", '"x", expected anything but "x"'),
        ({"not": [1.0]}, [float("nan")], "[NaN], expected anything but [1.0]"),  # S10e: nor does a list with one
        ({"not": [[5]]}, [[float("nan")]], "[[NaN]], expected anything but [[5]]"),
        ({"not": 5}, float("nan"), "NaN, expected anything but 5"),  # S10e: a NaN passes no comparison
        ({"in": ["a", "b"]}, "c", '"c", expected one of ["a", "b"]'),
        ({"matches": "^b"}, "a", '"a", expected a text that matches ^b'),
        ({"matches": "1"}, 1, "1, expected a text that matches 1"),
        ({"not_matches": "^b"}, "bridge", '"bridge", expected a text that doesn\'t match ^b'),
        ({"not_matches": "1"}, 2, "2, expected a text that doesn't match 1"),  # a value of another type proves nothing
        ({"not_matches": "^b", "allow_missing": True}, "b", '"b", expected a text that doesn\'t match ^b'),
        ({"contains": "z"}, ["a"], '["a"], expected it to contain "z"'),
        ({"above": 5}, "6", '"6", expected above 5'),
        ({"below": 0.1}, 0.1, "0.1, expected below 0.1"),
        ({"at_least": 1}, True, "true, expected at least 1"),
        ({"at_most": 3}, 4, "4, expected at most 3"),
        ({"type": "string"}, 4, '4 (integer), expected "string"'),
        ({"length": {"at_least": 3}}, [1], "[1] of length 1, expected a length of at least 3"),
        ({"exists": False}, "x", '"x", expected none'),
    ],
)
def test_condition_does_not_hold(condition: Any, value: Any, message: str) -> None:
    """Each operator that doesn't hold says what is there and what was expected."""
    assert [fault for _, fault in Condition.model_validate(condition).faults(value)] == [message]


@given(json_values)
@settings(max_examples=100)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    """Whatever JSON holds equals itself when read back, and a bare condition on it holds."""
    again = json.loads(json.dumps(value))

    assert same(value, again)
    assert list(Condition.model_validate({"equals": value}).faults(again)) == []


@given(json_values, json_values)
@settings(max_examples=100)
def test_any_condition_on_any_value_ends_in_words(wanted: Any, actual: Any) -> None:
    """No value of an answer can break a condition: there is a verdict, and it can be encoded."""
    condition = Condition.model_validate({"equals": wanted, "contains": wanted, "matches": "a", "above": 0, "length": 1})
    for _, message in condition.faults(actual):
        assert message.encode()


def test_jsonpath_functions() -> None:
    """match() takes the whole text, search() any part of it, and a pattern that is none selects nothing."""
    document = ["bridge", "fridge"]

    assert JsonPath.parse("$[?match(@, 'ridge')]").find(document) == []
    assert JsonPath.parse("$[?search(@, '^b')]").find(document) == ["bridge"]
    assert JsonPath.parse("$[?search(@, '(')]").find(document) == []


@given(st.text(alphabet="$.[]'\"*?@()!&|=<>,:019-ab\\ ~é", max_size=20), json_values)
@settings(max_examples=150)
def test_any_text_as_a_path(text: str, document: Any) -> None:
    """A text is a JSONPath or a ValueError, and a JSONPath reads any document, or says that it can't."""
    with suppress(ValueError):
        path = JsonPath.parse(f"${text}")
        assert isinstance(path.find(document), list)
        assert all(isinstance(name, str) for name in path.names)


def test_names_of_a_path() -> None:
    """A path knows the names along it."""
    assert JsonPath.parse("$.checks['data base'].status").names == ("checks", "data base", "status")
