"""Models as they are sold: Anthropic's messages, OpenAI's responses, Vertex AI, thoughts, JSON, refusals and a second attempt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from probes.core import Failed, Reason
from probes.kinds.ai import Ai
from probes.wire.wire import Wire
from tests.probes.test_ai import GEMINI, OPENAI, PROMPT, WHOLE, WORST, ai, failure, stream
from tests.support.clock import RealClock
from tests.support.context import LedgerInMemory, make_context
from tests.support.web import serving

MESSAGES, RESPONSES = "POST /v1/messages", "POST /v1/responses"
VERTEX = "POST /v1/projects/p/locations/eu/publishers/google/models/{call:path}"


@pytest.fixture(name="wire")
async def _wire() -> Any:
    wire = Wire()
    yield wire
    await wire.aclose()


def message(*blocks: Mapping[str, Any], stop: str = "end_turn", spent: int = 6) -> dict[str, Any]:
    """A whole message of Anthropic's form."""
    usage = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": spent}
    return {"type": "message", "role": "assistant", "model": "m-1", "content": list(blocks), "stop_reason": stop, "usage": usage}


def events_of(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same message as Anthropic streams it: the prompt's count first, the reply's at the end."""
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        events.append({"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}})
        delta = {"type": f"{kind}_delta", kind: block.get(kind, "")} if kind in ("text", "thinking") else {"type": "input_json_delta"}
        events += [{"type": "content_block_delta", "index": index, "delta": delta}, {"type": "content_block_stop", "index": index}]
    used = {"output_tokens": whole["usage"]["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"]}, "usage": used}, {"type": "message_stop"}]


def text(words: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": words}


def whole(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Callable[[Request], Any]:
    """A handler that responds with this JSON."""

    async def handler(_: Request) -> Response:
        return JSONResponse(body, status, headers)

    return handler


def response(*content: Mapping[str, Any], status: str = "completed", reason: str = "", thoughts: int = 0) -> dict[str, Any]:
    """A whole response of OpenAI's newer form."""
    output: list[dict[str, Any]] = [{"type": "reasoning", "summary": []}] if thoughts else []
    if content:
        output.append({"type": "message", "role": "assistant", "content": list(content)})
    usage = {"input_tokens": 9, "output_tokens": 4 + thoughts, "output_tokens_details": {"reasoning_tokens": thoughts}}
    details = {"reason": reason} if reason else None
    return {
        "object": "response",
        "status": status,
        "model": "m-1",
        "error": None,
        "incomplete_details": details,
        "output": output,
        "usage": usage,
    }


BRIDGE = {"type": "output_text", "text": "Bridge"}


def stream_of(final: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same response as it is streamed."""
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**final, "status": "in_progress", "output": []}}]
    for item in final["output"]:
        for part in item.get("content", ()):
            kind = "output_text" if part["type"] == "output_text" else "refusal"
            events.append({"type": f"response.{kind}.delta", "delta": part.get("text") or part.get("refusal")})
        if item["type"] == "reasoning":
            events.append({"type": "response.reasoning_summary_text.delta", "delta": "Hm."})
    return [*events, {"type": f"response.{final['status']}", "response": final}]


# -- each form, streamed and whole


@pytest.mark.parametrize("streamed", [True, False])
async def test_anthropic(wire: Wire, streamed: bool) -> None:  # noqa: FBT001 - a row
    """Anthropic's form: its path, its headers, its body; usage of both reports, the cache's tokens among the prompt's."""
    reply = message(text("Bridge"))
    ctx = make_context(wire)
    handler = stream(events_of(reply), end=False) if streamed else whole(reply)
    async with serving({MESSAGES: handler}) as web:
        result = await ai(web.url, "anthropic", system="Be short.", stream=streamed, expect={"text": "bridge"}).run(ctx)
    headers, body = web.requests[0][0], json.loads(web.requests[0][1])
    assert result.message.startswith('"Bridge" in ')
    assert (headers["x-api-key"], headers["anthropic-version"], "authorization" in headers) == ("key-123456", "2023-06-01", False)
    sent = {"model": "m-1", "max_tokens": 20, "messages": [{"role": "user", "content": PROMPT}], "system": "Be short."}
    assert body == sent | ({"stream": True} if streamed else {})
    assert (ctx.facts["prompt_tokens"], ctx.facts["answer_tokens"], ctx.facts["tokens"]) == (10, 6, 16)
    assert (ctx.facts["finish"], ctx.facts["model"]) == ("end_turn", "m-1")


@pytest.mark.parametrize("streamed", [True, False])
async def test_openais_responses(wire: Wire, streamed: bool) -> None:  # noqa: FBT001 - a row
    """The responses form: its path and body, nothing stored there, and usage with the thoughts."""
    ctx = make_context(wire)
    reply = response(BRIDGE, thoughts=50)
    handler = stream(stream_of(reply), end=False) if streamed else whole(reply)
    async with serving({RESPONSES: handler}) as web:
        probe = ai(web.url, "openai-responses", stream=streamed, thinking={"effort": "low"}, expect={"text": "bridge"})
        result = await probe.run(ctx)
    assert result.message.startswith('"Bridge" in ')
    body = json.loads(web.requests[0][1])
    sent = {"model": "m-1", "input": PROMPT, "max_output_tokens": 20, "store": False, "reasoning": {"effort": "low"}}
    assert body == sent | ({"stream": True} if streamed else {})
    assert (ctx.facts["tokens"], ctx.facts["thought_tokens"], ctx.facts["finish"]) == (63, 50, "completed")


async def test_vertex(wire: Wire) -> None:
    """Vertex AI: the project and the region in the path, the key as a bearer token, the rest as Gemini's."""
    candidate = {"content": {"parts": [{"text": "Bridge"}]}, "finishReason": "STOP"}
    async with serving({VERTEX: stream([{"candidates": [candidate]}], end=False)}) as web:
        await ai(web.url, "vertex", project="p", region="eu", expect={"text": "bridge"}).run(make_context(wire))
    assert web.asked == [("POST", "/v1/projects/p/locations/eu/publishers/google/models/m-1:streamGenerateContent?alt=sse")]
    assert web.requests[0][0]["authorization"] == "Bearer key-123456"


# -- thoughts


@pytest.mark.parametrize(
    ("api", "thinking", "more", "sent"),
    [
        ("openai", {"effort": "low"}, {}, {"reasoning_effort": "low"}),
        ("gemini", {"budget": 0}, {}, {"generationConfig": {"maxOutputTokens": 20, "thinkingConfig": {"thinkingBudget": 0}}}),
        (
            "gemini",
            {"effort": "low"},
            {},
            {"generationConfig": {"maxOutputTokens": 20, "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}},
        ),
        ("anthropic", {"budget": 1024}, {"max_tokens": 2048}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("anthropic", {"effort": "low"}, {}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("anthropic", {"budget": 0}, {}, {"thinking": {"type": "disabled"}}),
    ],
)
async def test_how_thinking_is_asked_for(wire: Wire, api: str, thinking: Any, more: Any, sent: Any) -> None:
    """S8: effort and budget are written as each service takes them."""
    routes = {OPENAI: whole({}, 400), GEMINI: whole({}, 400), MESSAGES: whole({}, 400)}
    async with serving(routes) as web:
        await failure(ai(web.url, api, thinking=thinking, stream=False, **more), make_context(wire))
    body = json.loads(web.requests[0][1])
    assert {name: body[name] for name in sent} == sent


async def test_extra_members_of_the_body(wire: Wire) -> None:
    """S8: members are merged into the body, and null takes one away: a service that refuses stream_options can be streamed."""
    async with serving({OPENAI: stream(WHOLE), GEMINI: whole({}, 400)}) as web:
        await ai(web.url, extra={"stream_options": None, "top_p": 0.5, "chat_template_kwargs": {"a": 1}}).run(make_context(wire))
        await failure(ai(web.url, "gemini", extra={"generationConfig": {"topK": 3}}), make_context(wire))
    first, second = (json.loads(request[1]) for request in web.requests)
    assert "stream_options" not in first
    assert (first["top_p"], first["chat_template_kwargs"]) == (0.5, {"a": 1})
    assert second["generationConfig"] == {"maxOutputTokens": 20, "topK": 3}


@pytest.mark.parametrize(
    ("api", "settings", "message"),
    [
        ("openai", {"extra": {"max_tokens": 9000}}, "max_tokens is no extra member"),
        ("gemini", {"extra": {"generationConfig": {"maxOutputTokens": 9}}}, "maxOutputTokens is no extra member"),
        ("openai", {"extra": {"tools": []}}, "tools is no extra member"),
        ("openai", {"thinking": {"budget": 5}}, "takes no budget of thoughts; write thinking"),
        ("openai-responses", {"thinking": {"budget": 5}}, "takes no budget of thoughts"),
        ("openai", {"thinking": {}}, "write effort or budget"),
        ("anthropic", {"thinking": {"budget": 100}}, "1024 tokens at least"),
        ("anthropic", {"thinking": {"budget": 1024}}, "write max_tokens above 1024"),
        ("anthropic", {"thinking": {"effort": "low"}, "temperature": 0.5}, "takes no temperature"),
        ("vertex", {}, "vertex needs project and region"),
        ("gemini", {"project": "p"}, "are of api: vertex"),
        ("openai", {"json_schema": {"typ": "object"}}, "typ is no keyword that is judged here; did you mean type?"),
        ("openai", {"stream": False, "expect": {"first_thought": "1s"}}, "are measured in a stream"),
    ],
)
def test_what_cannot_be_asked_is_refused(api: str, settings: Any, message: str) -> None:
    """What a service can't take, or what the budget couldn't bound, is an error at load that says what to write."""
    with pytest.raises(ValidationError, match=message):
        ai("http://h", api, **settings)


async def test_first_thought_and_first_word(wire: Wire) -> None:
    """S7: the first thought and the first word are two measures, and the pace counts no thoughts, whoever doesn't count them apart."""
    reply = message({"type": "thinking", "thinking": "Hm."}, text("Bri"), text("dge"), spent=500)
    ctx = make_context(wire)
    async with serving({MESSAGES: stream(events_of(reply), end=False, pause=0.005)}) as web:
        await ai(web.url, "anthropic", expect={"first_thought": "4s", "first_token": "4s"}).run(ctx)
    assert 0 < ctx.facts["first_thought"] < ctx.facts["first_token"]
    assert ctx.facts["tokens_per_second"] < 300, "500 tokens were mostly thoughts"


async def test_a_first_thought_that_never_came(wire: Wire) -> None:
    """Who bounds the first thought of a model that shows none is told so."""
    async with serving({OPENAI: stream(WHOLE)}) as web:
        reason, told = await failure(ai(web.url, expect={"first_thought": "1s"}), make_context(wire))
    assert (reason, told.partition(",")[0]) == (Reason.BODY, "no thought came")


# -- what is no reply

OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
WRONG_KEY = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
UNPAID = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
DENIED = [{"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}]
BROKEN = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "x", "message": "Overloaded"}}}

FILTERED = response({"type": "output_text", "text": "Br"}, status="incomplete", reason="content_filter")


@pytest.mark.parametrize(
    ("api", "reply", "told"),
    [
        ("anthropic", message(stop="refusal"), "the model refused to reply and ended by refusal"),
        ("anthropic", message(text("I won't"), stop="refusal"), 'the model refused to reply: "I won\'t" and ended by refusal'),
        ("anthropic", message({"type": "thinking", "thinking": "Hm"}, stop="max_tokens"), "only thoughts and ended by max_tokens; raise"),
        ("anthropic", message({"type": "tool_use", "name": "x"}, stop="tool_use"), "only a call of a tool and ended by tool_use"),
        ("anthropic", message(text("Bri"), stop="max_tokens"), "the reply ended by max_tokens, expected stop"),
        ("anthropic", message(), "the reply has no text and ended by end_turn"),
        ("openai-responses", response({"type": "refusal", "refusal": "No."}), 'the model refused to reply: "No." and ended by completed'),
        ("openai-responses", response(status="incomplete", reason="max_output_tokens", thoughts=16), "only thoughts (16 of 20 tokens)"),
        ("openai-responses", FILTERED, "the reply ended by content_filter, expected stop"),
        ("openai-responses", response(status="incomplete", reason="content_filter"), "the service's filter blocked the reply"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_what_is_no_reply(wire: Wire, api: str, reply: Any, told: str, streamed: bool) -> None:  # noqa: FBT001 - a row
    """S1: a refusal, a block, thoughts alone and half a reply are told as what they are, streamed and not, and what they used counts."""
    ledger = LedgerInMemory(RealClock())
    events = events_of(reply) if api == "anthropic" else stream_of(reply)
    handler = stream(events, end=False) if streamed else whole(reply)
    async with serving({MESSAGES: handler, RESPONSES: handler}) as web:
        probe = ai(web.url, api, stream=streamed, budget={"tokens": "5000/1d"})
        reason, said = await failure(probe, make_context(wire, ledger=ledger))
    assert (reason, told in said) == (Reason.BODY, True), said
    spent = 16 if api == "anthropic" else 13 + reply["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert [amount for *_, amount in ledger.reservations] == [spent]


async def test_a_refusal_may_be_what_is_wanted(wire: Wire) -> None:
    """A check of the guard rails expects the refusal by its finish."""
    async with serving({MESSAGES: whole(message(stop="refusal"))}) as web:
        await ai(web.url, "anthropic", stream=False, expect={"finish": "refusal"}).run(make_context(wire))


@pytest.mark.parametrize(
    ("api", "body", "status", "reason", "told"),
    [
        ("anthropic", OVERLOADED, 529, Reason.STATUS, "Overloaded"),
        ("anthropic", WRONG_KEY, 401, Reason.AUTH, "x-api-key"),
        ("openai-responses", UNPAID, 429, Reason.THROTTLED, "your quota"),
        ("vertex", DENIED, 403, Reason.AUTH, "Permission denied"),
    ],
)
async def test_errors_in_the_vendors_own_words(wire: Wire, api: str, body: Any, status: int, reason: Reason, told: str) -> None:
    """The body of a refusal is in the message, and the key isn't."""
    more = {"project": "p", "region": "eu"} if api == "vertex" else {}
    handler = whole(body, status)
    async with serving({MESSAGES: handler, RESPONSES: handler, VERTEX: handler}) as web:
        seen, said = await failure(ai(web.url, api, **more), make_context(wire))
    assert (seen, told in said, "key-123456" in said) == (reason, True, False), said


@pytest.mark.parametrize(
    ("api", "event"),
    [
        ("anthropic", OVERLOADED),
        ("openai-responses", {"type": "error", "code": "server_error", "message": "Overloaded"}),
        ("openai-responses", BROKEN),
    ],
)
async def test_an_error_within_a_stream(wire: Wire, api: str, event: Any) -> None:
    """An error behind status 200 fails in the vendor's words."""
    handler = stream([event], end=False)
    async with serving({MESSAGES: handler, RESPONSES: handler}) as web:
        reason, said = await failure(ai(web.url, api), make_context(wire))
    assert (reason, "Overloaded" in said) == (Reason.STATUS, True), said


# -- JSON

TRIP = {
    "type": "object",
    "required": ["days"],
    "properties": {"days": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ('{"days": 3}', ""),
        ('{"days": "3"}', '$.days is "3" (string), expected integer'),
        ('{"days": 0}', "$.days is 0, expected at least 1"),
        ("{}", "$.days is absent, expected a value"),
        ('{"days": 1, "x": 1}', "$.x is not in the schema"),
        ("Sure! {}", "the reply is not JSON, as json_schema wants it"),
    ],
)
async def test_a_reply_in_json(wire: Wire, words: str, fault: str) -> None:
    """A reply is compared with a JSON Schema; what differs is told with its path, as `schema`."""
    async with serving({MESSAGES: whole(message(text(words)))}) as web:
        probe = ai(web.url, "anthropic", stream=False, expect={"json_schema": TRIP})
        if not fault:
            await probe.run(make_context(wire))
            return
        reason, said = await failure(probe, make_context(wire))
    assert (reason, said.startswith(fault)) == (Reason.SCHEMA, True), said


@pytest.mark.parametrize("api", ["openai", "openai-responses", "gemini", "anthropic"])
async def test_the_service_is_asked_to_keep_to_a_schema(wire: Wire, api: str) -> None:
    """json_schema is sent in each service's form, and judges the reply as well."""
    handler = whole({}, 400)
    async with serving({OPENAI: handler, RESPONSES: handler, GEMINI: handler, MESSAGES: handler}) as web:
        await failure(ai(web.url, api, json_schema=TRIP, stream=False), make_context(wire))
    body = json.loads(web.requests[0][1])
    where = {
        "openai": ("response_format", "json_schema", "schema"),
        "openai-responses": ("text", "format", "schema"),
        "gemini": ("generationConfig", "responseJsonSchema"),
        "anthropic": ("output_config", "format", "schema"),
    }[api]
    for name in where:
        body = body[name]
    assert body == TRIP


async def test_what_is_sent_is_judged_too(wire: Wire) -> None:
    """A service that ignores the schema is found out."""
    async with serving({MESSAGES: whole(message(text("3 days")))}) as web:
        reason, _ = await failure(ai(web.url, "anthropic", stream=False, json_schema=TRIP), make_context(wire))
    assert reason is Reason.SCHEMA


# -- a second attempt


def once_overloaded(status: int, headers: Mapping[str, str], then: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A handler that refuses the first request."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        if len(seen) == 1:
            return JSONResponse({"error": {"message": "The model is overloaded"}}, status, headers)
        answer: Response = await then(request)
        return answer

    return handler


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "0"}), (503, {"retry-after-ms": "1"}), (529, {"Retry-After": "0"})])
async def test_a_second_attempt_is_told(wire: Wire, status: int, headers: dict[str, str]) -> None:
    """Where the check says so, an overloaded service is asked once more; the message says it, and the budget counts both."""
    ctx, ledger = make_context(wire), LedgerInMemory(RealClock())
    ctx.ledger = ledger
    async with serving({OPENAI: once_overloaded(status, headers, stream(WHOLE))}) as web:
        result = await ai(web.url, retry_overload=True, budget={"tokens": "5000/1d"}).run(ctx)
    assert result.message.endswith(f"; at the second attempt, after {status}: The model is overloaded")
    assert (ctx.facts["retries"], len(web.requests)) == (1, 2)
    amounts = [amount for *_, amount in ledger.reservations]
    assert amounts == [WORST if status == 503 else 0, 11], "what a 503 has used nobody knows: its reservation stays"


@pytest.mark.parametrize(
    ("more", "status", "headers"),
    [
        ({}, 503, {"Retry-After": "0"}),
        ({"retry_overload": True}, 429, {}),
        ({"retry_overload": True}, 503, {"Retry-After": "3600"}),
        ({"retry_overload": True}, 500, {"Retry-After": "0"}),
    ],
)
async def test_no_second_attempt(wire: Wire, more: Any, status: int, headers: dict[str, str]) -> None:
    """None unless the check says so; none for a bill that isn't paid, beyond the deadline, or for what is no overload."""
    async with serving({OPENAI: once_overloaded(status, headers, stream(WHOLE))}) as web:
        await failure(ai(web.url, **more), make_context(wire))
    assert len(web.requests) == 1


async def test_a_second_attempt_that_fails_too(wire: Wire) -> None:
    """Both refusals are told; a third attempt is never made."""
    refused = whole({"error": {"message": "Still overloaded"}}, 503)
    async with serving({OPENAI: once_overloaded(503, {"Retry-After": "0"}, refused)}) as web:
        reason, said = await failure(ai(web.url, retry_overload=True), make_context(wire))
    assert (reason, len(web.requests)) == (Reason.STATUS, 2)
    assert said.endswith("Still overloaded; it was the second attempt, after 503: The model is overloaded")


async def test_the_budget_may_refuse_a_second_attempt(wire: Wire) -> None:
    """A second attempt is reserved like the first: the budget is never exceeded, and the message says that it was the reason."""
    async with serving({OPENAI: once_overloaded(503, {"Retry-After": "0"}, stream(WHOLE))}) as web:
        probe = ai(web.url, retry_overload=True, budget={"tokens": "100/1d"})
        with pytest.raises(Failed, match="the budget allows no second attempt"):
            await probe.run(make_context(wire, ledger=LedgerInMemory(RealClock())))
    assert len(web.requests) == 1


def test_each_api_has_an_address_of_its_own() -> None:
    """Below a target the check needs no path."""
    target = {"name": "m", "url": "http://h", "allow": ["POST /*"]}
    paths = {
        api: Ai.model_validate({"target": target, "api": api, "model": "m", "prompt": "x"}).location()
        for api in ("openai", "openai-responses", "anthropic")
    }
    assert paths == {
        "openai": "http://h/v1/chat/completions",
        "openai-responses": "http://h/v1/responses",
        "anthropic": "http://h/v1/messages",
    }
