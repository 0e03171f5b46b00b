"""What a body may be before anything reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from runner.web.bodies import body_within, json_object

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.recursive(SCALARS, st.lists, max_leaves=8), max_size=4))
def test_an_object_is_read(value: dict[str, object]) -> None:
    """Whatever JSON can say, as long as it is an object."""
    assert json_object(json.dumps(value).encode()) == value


NESTED = {
    "lists": b"[" * 60_000,
    "closed lists": b"[" * 900 + b"]" * 900,
    "lists in an object": b'{"a":' + b"[" * 500 + b"]" * 500 + b"}",
    "objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "many objects": b'{"a":' * 20_000,
    "a level too many": b'{"a":' * 33 + b"1" + b"}" * 33,
    "half a character": rb'{"a": "\ud800"}',
    "half a character in a key": rb'{"\ud800": 1}',
    "a number of 5,000 digits": b'{"a": ' + b"1" * 5000 + b"}",
    "no UTF-8": b'{"a": "\xff"}',
    "a list": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("body", NESTED.values(), ids=NESTED)
def test_what_would_break_code_is_refused(body: bytes) -> None:
    """m1: brackets without end, half a character, an endless number: a ValueError with a reason, and no RecursionError."""
    with pytest.raises(ValueError, match="the request"):
        json_object(body)


async def test_a_client_that_goes_away_breaks_nothing() -> None:
    """m1: a body that never comes whole is none, and no exception, which would be a line in the journal for each request."""
    came: list[Message] = [{"type": "http.request", "body": b'{"metadata', "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return came.pop(0)

    assert await body_within(Request({"type": "http", "method": "POST", "headers": []}, receive), 1000) is None


def test_a_deep_object_is_read() -> None:
    """32 levels are enough for every request."""
    assert json_object(b'{"a":' * 32 + b"1" + b"}" * 32)
