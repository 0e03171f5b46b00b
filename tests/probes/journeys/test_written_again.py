"""Settings that another process reads again: what a load is handed of a target and of a journey's steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from probes.fields import REVEALED, Duration, Rate
from probes.journeys.steps import Step
from probes.target import Target
from probes.wire.tls import Tls

TLS = {"ca": "/etc/ca.pem", "verify": False, "minimum": "1.3"}
STEP = {
    "name": "story",
    "post": "/stories/{{id}}",
    "query": {"near": "37.8"},
    "headers": {"X-Key": "hunter2-header"},
    "json": {"a": [1, 2.5, None, True], "password": "{{word}}"},
    "expect": {
        "status": [200, "2xx", "300-302"],
        "json": {"$.a": {"at_least": 1, "not": 3, "length": {"above": 0}}, "$.b": [1, 2], "$.c": None},
        "headers": {"x": {"matches": "^a"}, "y": "1"},
        "regex": "o+",
        "within": "333ms",
    },
    "capture": {"token": "$.x", "who": {"header": "X", "regex": "a(b)", "secret": False}},
    "always": True,
}
TARGET = {
    "name": "api",
    "url": "http://localhost/base",
    "headers": {"X-Key": "hunter2-header"},
    "limit": "0.50 USD/1d",
    "allow": ["POST /a/*"],
    "deny": ["GET /b"],
    "revision": {"json": "$.v"},
    "allow_addresses": ["169.254.1.1"],
    "load": True,
}


@pytest.mark.parametrize(("model", "data"), [(Step, STEP), (Target, TARGET), (Tls, TLS)])
def test_settings_are_written_as_they_are_read(model: type[BaseModel], data: dict[str, Any]) -> None:
    """As JSON with its secrets revealed, a model is what another process reads the same model from."""
    one = model.model_validate(data)
    written = one.model_dump_json(by_alias=True, exclude_unset=True, context=REVEALED)
    assert model.model_validate_json(written) == one
    assert model.model_validate(json.loads(written)) == one
    assert ("hunter2-header" in written) is ("headers" in data)


@pytest.mark.parametrize(("model", "data"), [(Step, STEP), (Target, TARGET)])
def test_a_secret_is_written_for_nobody_who_does_not_ask(model: type[BaseModel], data: dict[str, Any]) -> None:
    """Without being asked to reveal them, no dump of a model shows its secrets."""
    one = model.model_validate(data)
    assert "hunter2" not in one.model_dump_json() + str(one.model_dump()) + repr(one)


@given(st.floats(min_value=1e-6, max_value=3650 * 86400.0, allow_nan=False))
def test_a_duration_comes_back_to_the_last_digit(seconds: float) -> None:
    """Whatever it was worked out from: no digit is lost on the way."""
    adapter = TypeAdapter[float](Duration)
    assert adapter.validate_json(adapter.dump_json(seconds)) == seconds


@pytest.mark.parametrize("text", ["900/1h", "20/s", "0.50 USD/1d", "1.5/250ms"])
def test_a_rate_comes_back(text: str) -> None:
    """Its amount, its time and its currency."""
    assert Rate.parse(Rate.parse(text).written()) == Rate.parse(text)
