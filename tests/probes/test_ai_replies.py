"""What is a reply and what is none: each form of each API, streamed and in one piece alike."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Observation
from probes.core import Failed, Reason, Verdict
from probes.kinds.ai import Ai
from probes.kinds.ai.chat import ChatApi
from probes.kinds.ai.events import MOST_LINES, EventReader
from probes.kinds.ai.gemini import Gemini
from probes.kinds.ai.openai import OpenAI
from probes.kinds.ai.transcript import Transcript
from tests.support import servers
from tests.support.asking import answer
from tests.support.engine import Observer

EXPECTATIONS: tuple[dict[str, Any], ...] = ({}, {"not_text": "sorry", "first_token": "5s", "tokens_per_second": 0.001, "gap": "5s"})
DONE = "[DONE]"
STREAM = b"Content-Type: text/event-stream"


def ai(url: str, api: str, *, stream: bool, **expect: Any) -> Ai:
    """A check of a model at an address of its own."""
    return Ai.model_validate({"url": url, "api": api, "model": "m", "prompt": "x", "stream": stream, "expect": expect})


def events(*values: Any) -> bytes:
    """A whole response of server-sent events."""
    body = "".join(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n" for value in values).encode()
    return answer(body, STREAM)


def delta(finish: str | None = None, **message: Any) -> dict[str, Any]:
    """An event of OpenAI's form."""
    return {"choices": [{"index": 0, "delta": message, "finish_reason": finish}]}


def whole(finish: str | None, **message: Any) -> dict[str, Any]:
    """The same as a response in one piece."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


def candidate(finish: str = "", *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Gemini's form, of an event and of a whole response."""
    return {"candidates": [{"content": {"parts": list(parts)}, **({"finishReason": finish} if finish else {})}], **more}


def usage(tokens: int, thoughts: int) -> dict[str, Any]:
    """OpenAI's count of tokens."""
    return {"prompt_tokens": 5, "completion_tokens": tokens, "completion_tokens_details": {"reasoning_tokens": thoughts}}


CALL = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
ROLE = delta(role="assistant", content="")
# name: the events of a stream, the whole response (None: it has no such form), what the message says
OPENAI: dict[str, tuple[Sequence[Any], Any, str]] = {
    "no choice": ([DONE], {"choices": []}, ""),
    "empty": ([ROLE, delta("stop"), DONE], whole("stop", content=""), "the reply has no text and ended by stop"),
    "null": ([ROLE, delta("stop", content=None), DONE], whole("stop", content=None), "the reply has no text and ended by stop"),
    "blanks": ([delta(content=" \n"), delta("stop"), DONE], whole("stop", content=" \n\t"), "the reply has no text"),
    "invisible": ([delta("stop", content="\u200b\ufeff"), DONE], whole("stop", content="\u200b"), "the reply has no text"),
    "blocked": ([ROLE, delta("content_filter"), DONE], whole("content_filter", content=None), "ended by content_filter"),
    "tool": (
        [delta(tool_calls=CALL), delta("tool_calls"), DONE],
        whole("tool_calls", content=None, tool_calls=CALL),
        "only a call of a tool",
    ),
    "thoughts": (
        [delta(reasoning_content="hm"), {**delta("length"), "usage": usage(20, 20)}, DONE],
        {**whole("length", content="", reasoning_content="hm"), "usage": usage(20, 20)},
        "the reply has no text, only thoughts (20 of 20 tokens) and ended by length; raise max_tokens",
    ),
    "thoughts uncounted": (
        [delta(reasoning="hm"), delta("length"), DONE],
        whole("length", content=None, reasoning="hm"),
        "only thoughts and",
    ),
    "think tags": (
        [delta(content="<thi"), delta(content="nk>bridge?"), delta("stop"), DONE],
        whole("stop", content="<think>bridge?"),
        "the reply has no text, only thoughts",
    ),
    "think tags closed": (
        [delta(content="<think>a</thi"), delta("stop", content="nk>\n"), DONE],
        whole("stop", content=" <think>a</think> "),
        "thoughts",
    ),
    "refusal": (
        [delta(refusal="I can't "), delta("stop", refusal="do that"), DONE],
        whole("stop", content=None, refusal="I can't do that"),
        'the model refused to reply: "I can\'t do that"',
    ),
    "refusal part": (
        [delta("stop", content=[{"type": "refusal", "refusal": "no"}]), DONE],
        whole("stop", content=[{"type": "refusal", "refusal": "no"}]),
        'the model refused to reply: "no"',
    ),
    "error of vLLM": (
        [{"object": "error", "message": "EngineCore died", "code": 500}, DONE],
        {"object": "error", "message": "EngineCore died"},
        "EngineCore died",
    ),
    "error after a text": (
        [delta(content="Bri"), {"error": {"message": "died"}}, DONE],
        {**whole("stop", content="Bri"), "error": {"message": "died"}},
        "died",
    ),
    "error without words": ([delta(content="Bri"), {"error": {"code": 500}}, DONE], {"error": {"code": 500}}, "reports an error 500"),
    "error in the choice": (
        [{"choices": [{"delta": {"content": "Bri"}, "finish_reason": "error", "error": {"code": 502, "message": "upstream"}}]}, DONE],
        {"choices": [{"message": {"content": "Bri"}, "finish_reason": "error", "error": {"code": 502, "message": "upstream"}}]},
        'an error 502: "upstream"',
    ),
    "half by length": (
        [delta(content="Bri"), delta("length"), DONE],
        whole("length", content="Bri"),
        "ended by length, expected stop; write finish: length",
    ),
    "half by the filter": (
        [delta(content="Bri"), delta("content_filter"), DONE],
        whole("content_filter", content="Bri"),
        "ended by content_filter",
    ),
    "a word nobody knows": ([delta("whatever", content="Bri"), DONE], whole("whatever", content="Bri"), "ended by whatever, expected stop"),
}
GEMINI: dict[str, tuple[Sequence[Any], Any, str]] = {
    name: ([value], value, message)
    for name, value, message in (
        ("blocked prompt", {"promptFeedback": {"blockReason": "SAFETY"}}, "the service blocked the prompt: SAFETY"),
        ("safety", candidate("SAFETY"), "the service's filter blocked the reply and ended by SAFETY"),
        ("safety after a text", candidate("SAFETY", {"text": "Bri"}), "ended by SAFETY, expected stop"),
        ("empty", candidate("STOP"), "the reply has no text and ended by STOP"),
        ("blank", candidate("STOP", {"text": "\n"}), "the reply has no text"),
        (
            "thoughts",
            candidate("MAX_TOKENS", {"text": "hm", "thought": True}, usageMetadata={"promptTokenCount": 3, "thoughtsTokenCount": 19}),
            "only thoughts (19 of 19 tokens) and ended by MAX_TOKENS; raise max_tokens",
        ),
        (
            "thoughts unseen",
            candidate("MAX_TOKENS", usageMetadata={"promptTokenCount": 3, "thoughtsTokenCount": 19, "totalTokenCount": 22}),
            "only thoughts (19 of 19 tokens)",
        ),
        ("tool", candidate("STOP", {"functionCall": {"name": "f"}}), "only a call of a tool"),
        ("recitation", candidate("RECITATION", {"text": "Bri"}), "ended by RECITATION, expected stop; write finish: RECITATION"),
        ("half", candidate("MAX_TOKENS", {"text": "Bri"}), "ended by MAX_TOKENS, expected stop"),
        ("error", {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, 'an error 503: "overloaded"'),
        ("nothing", {}, ""),
    )
}
CASES = [(api, name, form) for api, forms in (("openai", OPENAI), ("gemini", GEMINI)) for name, form in forms.items()]


async def seen(runs: Observer, response: bytes, probe: dict[str, Any]) -> Observation:
    """What one response is judged to be."""
    async with servers.canned(response, then_close=True) as server:
        return await runs.observe(ai(server.url, probe.pop("api"), **probe), kind="ai")


@pytest.mark.parametrize(("api", "name", "form"), CASES, ids=[f"{api}: {name}" for api, name, _ in CASES])
async def test_no_reply_is_no_pass(runs: Observer, api: str, name: str, form: tuple[Sequence[Any], Any, str]) -> None:
    """S1: an empty, blocked, refused or broken reply fails, streamed and in one piece alike, whatever else is expected of it."""
    pieces, one, message = form
    for expect in EXPECTATIONS:
        streamed = await seen(runs, events(*pieces), {"api": api, "stream": True, **expect})
        assert streamed.verdict is Verdict.FAIL, name
        assert message in streamed.message
        assert streamed.reason in (Reason.BODY, Reason.STATUS, Reason.TRUNCATED)
    unstreamed = await seen(runs, answer(json.dumps(one).encode()), {"api": api, "stream": False, "not_text": "sorry"})
    assert unstreamed.verdict is Verdict.FAIL, name
    assert message in unstreamed.message or "has no complete reply" in unstreamed.message


@pytest.mark.parametrize(
    ("finish", "wanted", "verdict"),
    [
        ("length", "length", Verdict.PASS),
        ("length", ["stop", "LENGTH"], Verdict.PASS),
        ("stop", "length", Verdict.FAIL),
        ("stop", "STOP", Verdict.PASS),
        (None, "stop", Verdict.FAIL),
    ],
)
async def test_how_a_reply_may_end(runs: Observer, finish: str | None, wanted: Any, verdict: Verdict) -> None:
    """S1: `expect.finish` names the ends that are as expected; an end that the service doesn't tell is none of them."""
    observed = await seen(runs, events(delta(content="Bri"), delta(finish), DONE), {"api": "openai", "stream": True, "finish": wanted})

    assert observed.verdict is verdict, observed.message


async def test_finish_makes_no_reply_of_nothing(runs: Observer) -> None:
    """S1: an end that is as expected doesn't make a reply of no word."""
    observed = await seen(runs, events(ROLE, delta("length"), DONE), {"api": "openai", "stream": True, "finish": "length"})

    assert (observed.verdict, observed.reason) == (Verdict.FAIL, Reason.BODY)


@pytest.mark.parametrize("expect", [{"text": ""}, {"text": ["a", ""]}, {"not_text": ""}, {"regex": ""}, {"finish": ""}, {"finish": [""]}])
def test_an_empty_expectation_is_refused(expect: dict[str, Any]) -> None:
    """S1: an empty text is in every reply; it is refused as the configuration is read."""
    with pytest.raises(ValidationError) as error:
        ai("http://127.0.0.1:9/", "openai", stream=True, **expect)
    assert any(word in str(error.value) for word in ("an empty text is in everything", "at least 1 character"))


# S16: as strict as clients, and no stricter


@pytest.mark.parametrize(
    "raw",
    [
        events(delta(content="bridge"), delta("stop")),
        events(delta(content="bridge"), delta("stop"), {"choices": [], "usage": usage(2, 0)}),
        answer(f"data: {json.dumps(delta('stop', content='bridge'))}\n\ndata: [DONE]".encode(), STREAM),
        answer(f"data: {json.dumps(delta(content='bridge'))}\n\ndata: [DONE]\n".encode(), STREAM),
        events(delta(content=[{"type": "thinking", "thinking": []}]), delta("stop", content=[{"type": "text", "text": "bridge"}]), DONE),
        events(delta(content="<think>road?</think>\n\n"), delta("stop", content="bridge"), DONE),
        events("null", delta("stop", content="bridge"), DONE),
    ],
    ids=["no end marker", "usage, no end marker", "no line end", "no blank line", "content arrays", "thoughts in tags", "null"],
)
async def test_what_clients_take(runs: Observer, raw: bytes) -> None:
    """S16, S15c: a reply with its finish is whole without [DONE], the last event needs no blank line, and content may be an array."""
    observed = await seen(runs, raw, {"api": "openai", "stream": True, "text": "bridge", "regex": "^bridge$", "not_text": "road"})

    assert observed.verdict is Verdict.PASS, observed.message


@pytest.mark.parametrize("raw", [b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n"])
async def test_an_end_marker_ends_the_reply(runs: Observer, raw: bytes) -> None:
    """S16: after [DONE] the response is over, though the server keeps the connection open."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    body = f"data: {json.dumps(delta('stop', content='bridge'))}\n\n".encode()
    async with servers.canned(head + body + raw) as server:
        observed = await runs.observe(ai(server.url, "openai", stream=True, text="bridge"), kind="ai")

    assert observed.verdict is Verdict.PASS, observed.message


@pytest.mark.parametrize("last", [DONE, ""])
def test_the_silence_before_the_end_is_a_gap(last: str) -> None:
    """S16: the time from the last piece to the end of the reply is a gap, too."""
    transcript = Transcript(OpenAI())
    transcript.feed(f"data: {json.dumps(delta('stop', content='bridge'))}\n\n".encode(), 10.0)
    transcript.feed(f"data: {last}\n\n".encode() if last else b"", 12.2)
    transcript.close(12.2)

    assert transcript.longest_gap == pytest.approx(2.2)


# S15c: the service's own words for an error


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            {"message": "Rate limit reached", "code": "rate_limit_exceeded"},
            Reason.THROTTLED,
            'an error rate_limit_exceeded: "Rate limit reached"',
        ),
        ({"message": "Rate limit reached"}, Reason.STATUS, 'reports an error: "Rate limit reached"'),
        ({"message": "pay", "type": "insufficient_quota", "code": None}, Reason.THROTTLED, 'an error insufficient_quota: "pay"'),
        ({"message": "who", "code": "invalid_api_key"}, Reason.AUTH, 'an error invalid_api_key: "who"'),
        ({"message": "who", "type": "authentication_error"}, Reason.AUTH, "authentication_error"),
        ({"message": "no", "status": "PERMISSION_DENIED"}, Reason.AUTH, "PERMISSION_DENIED"),
        ({"message": "slow", "code": 429, "status": "RESOURCE_EXHAUSTED"}, Reason.THROTTLED, 'an error 429: "slow"'),
        ({"message": "slow", "code": "429"}, Reason.THROTTLED, "429"),
        ({"message": "full", "type": "overloaded_error"}, Reason.STATUS, "overloaded_error"),
        ("it broke", Reason.STATUS, 'reports an error: "it broke"'),
        (["odd"], Reason.STATUS, "reports an error"),
    ],
)
async def test_an_error_in_the_stream(runs: Observer, error: Any, reason: Reason, message: str) -> None:
    """S15c: an error inside a response 200 keeps its text and its code, and a code that is a word decides the reason as a number does."""
    observed = await seen(runs, events({"error": error}, DONE), {"api": "openai", "stream": True})

    assert (observed.verdict, observed.reason) == (Verdict.FAIL, reason)
    assert message in observed.message


@pytest.mark.parametrize(
    "data", ['{"message": "overloaded"}', '{"detail": "overloaded"}', "overloaded", '{"error": {"message": "overloaded"}}']
)
async def test_an_event_named_error(runs: Observer, data: str) -> None:
    """S15c: `event: error` is an error whatever its data's form, though a text had come before."""
    text = f"data: {json.dumps(delta(content='Bri'))}\n\nevent: error\ndata: {data}\n\ndata: [DONE]\n\n"
    observed = await seen(runs, answer(text.encode(), STREAM), {"api": "openai", "stream": True})

    assert (observed.verdict, observed.reason) == (Verdict.FAIL, Reason.STATUS)
    assert "overloaded" in observed.message


# S7: the pace of what is seen


@pytest.mark.parametrize(
    ("api", "counted"),
    [
        (OpenAI(), {"choices": [], "usage": usage(500, 497)}),
        (OpenAI(), {"choices": [], "usage": usage(3, 9)}),
        (OpenAI(), {"choices": []}),
        (Gemini(), {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 3, "thoughtsTokenCount": 600}}),
    ],
)
def test_thoughts_are_no_pace(api: ChatApi, counted: dict[str, Any]) -> None:
    """S7: tokens per second are those of the visible text: thoughts don't count."""
    transcript = Transcript(api)
    for text, moment in (("a", 10.0), ("b", 10.3), ("c", 10.6)):
        event = delta(content=text) if isinstance(api, OpenAI) else candidate("", {"text": text})
        transcript.feed(f"data: {json.dumps(event)}\n\n".encode(), moment)
    transcript.feed(f"data: {json.dumps(counted)}\n\n".encode(), 10.6)

    assert transcript.pace == pytest.approx(2 / 0.6)


# XM4: a stream of many lines


def test_a_stream_of_many_lines() -> None:
    """XM4: lines of a stream are counted, also empty ones and comments."""
    for line in (b"\n", b":\n", b"data:x\n\n", b"\r"):
        reader = EventReader()
        for _ in range(MOST_LINES // line.count(b"\n") if line != b"\r" else MOST_LINES):
            list(reader.feed(line))
        with pytest.raises(Failed) as failed:
            list(reader.feed(line))
        assert failed.value.reason is Reason.SIZE


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "thi", "nk>", "a", "b c", "</", " "]), max_size=12), st.integers(0, 9))
def test_thoughts_are_hidden_however_they_are_cut(words: list[str], at: int) -> None:
    """S16: a reply in pieces shows the same text as the reply in one piece, and none of its first thought."""
    text = "".join(words)
    cuts = sorted({0, min(at, len(text)), len(text) // 2, len(text)})
    one, cut = Transcript(OpenAI()), Transcript(OpenAI())
    one.read_whole(whole("stop", content=text))
    for start, end in pairwise(cuts):
        cut.feed(f"data: {json.dumps(delta(content=text[start:end]))}\n\n".encode(), 1.0)
    cut.close(1.0)

    assert cut.text == one.text
    assert cut.thought == one.thought == text.lstrip().startswith("<think>")
    assert one.text == re.sub(r"\A(\s*<think>.*?(</think>|\Z))*\s*", "", text)
