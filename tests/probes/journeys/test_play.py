from __future__ import annotations

import json
import random
import sys
from typing import Any

import pytest

from probes.core import Failed, Reason
from probes.expect.generated import Values
from probes.http.message import Response
from probes.journeys.play import Play
from probes.journeys.steps import Step


def played(play: Play, *bodies: Any, seconds: float = 0.1) -> list[tuple[str, str]]:
    """Plays the steps against these answers, and gives the requests that came out."""
    sent, moves = [], play.steps()
    sending = next(moves)
    for body in bodies:
        sent.append((sending.request.method, sending.request.url))
        try:
            sending = moves.send(Response(200, (("x-id", "a;b=7"),), json.dumps(body).encode(), seconds, "http://x.test"))
        except StopIteration:
            break
    return sent


def play(*steps: dict[str, Any], concealed: list[str] | None = None) -> Play:
    """A play of these steps at http://x.test."""
    kept: list[str] = [] if concealed is None else concealed
    values = Values(1_790_000_000.0, random.Random(7))  # noqa: S311 - the same uuids in every run of the test
    models = [Step.model_validate(step) for step in steps]
    return Play(models, locate=lambda path: f"http://x.test{path}", values=values, conceal=kept.append)


def test_the_interpreter_does_no_input_or_output() -> None:
    """Gevent and asyncio drive the same interpreter: neither asyncio nor httpx is imported by it or what it stands on."""
    names = """
        journeys.play journeys.steps journeys.capture journeys.bodies expect.template expect.generated
        expect.assertions expect.conditions expect.status expect.patterns http.message
    """
    for name in names.split():
        held = vars(sys.modules[f"probes.{name}"]).values()
        assert not [each for each in held if getattr(each, "__name__", "") in ("asyncio", "httpx", "time", "socket")]


def test_values_go_into_later_steps() -> None:
    """What one answer gave is sent by a later step: in path, query, header, form and JSON, with its type."""
    steps = play(
        {"name": "a", "get": "/a", "capture": {"id": "$.id", "n": "$.n", "part": {"header": "X-Id", "regex": "b=([0-9]+)"}}},
        {
            "name": "b",
            "post": "/b/{{id}}?x={{ n }}",
            "query": {"q": "{{id}}"},
            "headers": {"X-N": "{{part}}"},
            "json": {"n": "{{n}}", "all": ["{{id}}-{{n}}"]},
        },
    )
    moves = steps.steps()
    next(moves)
    second = moves.send(Response(200, (("x-id", "a;b=7"),), b'{"id": "a/b c", "n": 5}', 0.2, "http://x.test/a"))

    assert second.request.url == "http://x.test/b/a%2Fb%20c?x=5&q=a%2Fb+c"
    assert second.request.headers == {"Content-Type": "application/json", "X-N": "7"}
    assert json.loads(second.request.body or b"") == {"n": 5, "all": ["a/b c-5"]}
    assert steps.seconds == {"a": 0.2}


def test_captured_values_are_concealed() -> None:
    """A captured value is a secret unless the step says that it is none."""
    concealed: list[str] = []
    played(
        play(
            {"name": "a", "get": "/a", "capture": {"t": "$.t", "open": {"json": "$.o", "secret": False}}},
            concealed=concealed,
        ),
        {"t": "hidden", "o": "shown"},
    )

    assert concealed == ["hidden"]


def test_a_failing_step_is_named() -> None:
    """The message of a failure begins with the step, also for what went wrong while it was sent."""
    with pytest.raises(Failed, match=r"^b: \$\.x is 1, expected 2$"):
        played(play({"name": "a", "get": "/"}, {"name": "b", "get": "/", "expect": {"json": {"$.x": 2}}}), {}, {"x": 1})
    moves = play({"name": "a", "get": "/"}).steps()
    next(moves)
    with pytest.raises(Failed, match=r"^a: cut off") as failed:
        moves.throw(Failed(Reason.TRUNCATED, "cut off"))
    assert failed.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        ("$.x", r"a: \$\.x is absent; nothing to capture as v"),
        ("$.none", r"a: \$\.none is null; nothing to capture as v"),
        ({"header": "X-None"}, "a: header X-None is absent; nothing to capture as v"),
        ({"regex": "z(.)"}, "a: nothing in the body matches z"),
    ],
)
def test_nothing_to_capture(capture: Any, message: str) -> None:
    """An answer without the value that a later step needs is a breach of schema at the step that should have given it."""
    with pytest.raises(Failed, match=message) as failed:
        played(play({"name": "a", "get": "/", "capture": {"v": capture}}), {"none": None})
    assert failed.value.reason is Reason.SCHEMA


def test_a_captured_line_break_is_never_sent() -> None:
    """A value from a foreign answer can't add a header to what we send."""
    steps = play({"name": "a", "get": "/", "capture": {"v": "$.v"}}, {"name": "b", "get": "/", "headers": {"X-V": "{{v}}"}})
    with pytest.raises(Failed, match=r"^b: header X-V can't be sent"):
        played(steps, {"v": "x\r\nX-Evil: 1"}, {})
