from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from probes.core import Failed, PolicyRefused, QuotaRefused, Reason, Result
from probes.kinds.ai import Ai
from probes.kinds.ai.chat import Usage
from probes.probe import Context
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.clock import FakeClock
from tests.support.context import LedgerInMemory, Permit, make_context
from tests.support.web import serving

PROMPT = "Reply with one word only: bridge"
WORST = 68  # tokens: 32 bytes of prompt, 16 around it, 20 of reply
OPENAI, GEMINI = "POST /v1/chat/completions", "POST /v1beta/models/{call:path}"


@pytest.fixture(name="wire")
async def _wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    await wire.aclose()


def ai(url: str, api: str = "openai", **more: Any) -> Ai:
    """A check of a model at a target that allows what is needed."""
    target = {"name": "model", "url": url, "allow": ["POST /*"]}
    return Ai.model_validate({"target": target, "api": api, "model": "m-1", "key": "key-123456", "prompt": PROMPT, **more})


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    """One event of OpenAI's form."""
    return {"model": "m-1-0613", "choices": [{"delta": {"content": text}, "finish_reason": finish}]}


def candidate(text: str, finish: str = "") -> dict[str, Any]:
    """One event of Gemini's form."""
    end = {"finishReason": finish} if finish else {}
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 2, "totalTokenCount": 10}
    return {"candidates": [{"content": {"parts": [{"text": text}]}, **end}], "usageMetadata": usage, "modelVersion": "m-1"}


USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
WHOLE = [delta("Bri"), delta("dge"), delta("", "stop"), USAGE]


def stream(events: Sequence[Any], *, end: bool = True, pause: float = 0.0, kind: str = "text/event-stream") -> Callable[[Request], Any]:
    """A handler that streams these events, with so many seconds before each."""

    async def pieces() -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        for event in [*events, *(["[DONE]"] if end else [])]:
            if pause:
                waited = loop.create_future()
                loop.call_later(pause, waited.set_result, None)
                await waited
            yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"

    async def handler(_: Request) -> Response:
        return StreamingResponse(pieces(), media_type=kind)

    return handler


async def failure(probe: Ai, ctx: Context) -> tuple[Reason, str]:
    """Reason and message of the failure that a run ends with."""
    with pytest.raises(Failed) as caught:
        await probe.run(ctx)
    return caught.value.reason, caught.value.message


# -- a good reply


async def test_openai_streamed(wire: Wire) -> None:
    """A streamed reply passes, with its pace, tokens and finish as facts, and the key in a header alone."""
    ctx = make_context(wire)
    async with serving({OPENAI: stream(WHOLE, pause=0.005)}) as web:
        result = await ai(web.url, system="Be short.", expect={"text": "bridge", "first_token": "3s", "gap": "2s", "within": "4s"}).run(ctx)

    sent = json.loads(web.requests[0][1])
    assert result == Result.passed(result.message)
    assert result.message.startswith('"Bridge" in ')
    assert sent["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": PROMPT}]
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("m-1", 20, True)
    assert sent["stream_options"] == {"include_usage": True}
    assert web.requests[0][0]["authorization"] == "Bearer key-123456"
    assert ctx.facts["first_token"] > 0.004
    assert ctx.facts["gap_max"] >= 0
    assert (ctx.facts["tokens"], ctx.facts["prompt_tokens"], ctx.facts["answer_tokens"]) == (11, 9, 2)
    assert (ctx.facts["finish"], ctx.facts["model"]) == ("stop", "m-1-0613")


@pytest.mark.alone
async def test_a_quick_stream_is_quick(wire: Wire) -> None:
    """The first token and the gaps of a stream with pauses of 5 ms: what we do with it ourselves adds next to nothing."""
    ctx = make_context(wire)
    async with serving({OPENAI: stream(WHOLE, pause=0.005)}) as web:
        await ai(web.url).run(ctx)

    assert 0.004 < ctx.facts["first_token"] < 1
    assert 0 <= ctx.facts["gap_max"] < 1


async def test_gemini_streamed(wire: Wire) -> None:
    """Gemini's form: its path with the model, its header for the key, its end mark and its counts."""
    ctx = make_context(wire)
    async with serving({GEMINI: stream([candidate("bri"), candidate("dge", "STOP")], end=False)}) as web:
        await ai(web.url, "gemini", model="tuned/m 1", expect={"text": "bridge"}).run(ctx)

    assert web.asked == [("POST", "/v1beta/models/tuned/m 1:streamGenerateContent?alt=sse")]  # the server has decoded it once
    assert web.requests[0][0]["x-goog-api-key"] == "key-123456"
    sent = json.loads(web.requests[0][1])
    assert sent == {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "generationConfig": {"maxOutputTokens": 20}}
    assert (ctx.facts["tokens"], ctx.facts["finish"]) == (10, "STOP")


@pytest.mark.parametrize(
    ("api", "route", "response"),
    [
        ("openai", OPENAI, {"choices": [{"message": {"content": "A bridge."}, "finish_reason": "stop"}], "usage": USAGE["usage"]}),
        ("gemini", GEMINI, candidate("A bridge.", "STOP")),
    ],
)
async def test_not_streamed(wire: Wire, api: str, route: str, response: Any) -> None:
    """A reply that comes in one piece is read as well; it has no first token."""
    ctx = make_context(wire)
    async with serving({route: response}) as web:
        await ai(web.url, api, stream=False, expect={"text": "bridge", "regex": "^A", "not_text": "road"}).run(ctx)

    assert "first_token" not in ctx.facts
    assert ctx.facts["tokens"] in (10, 11)
    assert b"stream" not in web.requests[0][1]


# -- what can be wrong


@pytest.mark.parametrize(
    ("response", "expect", "reason", "message"),
    [
        (stream(WHOLE), {"text": "road"}, Reason.BODY, 'the reply doesn\'t contain "road"; the reply is "Bridge" and ended by stop'),
        (stream(WHOLE), {"not_text": "bridge"}, Reason.BODY, 'the reply contains "bridge"; the reply is "Bridge" and ended by stop'),
        (stream(WHOLE), {"regex": "^b"}, Reason.BODY, 'nothing in the reply matches ^b; the reply is "Bridge" and ended by stop'),
        (stream(WHOLE[:2], end=False), {}, Reason.TRUNCATED, 'the stream ended without its end marker, after 2 pieces: "Bridge"'),
        (stream([], end=False), {}, Reason.TRUNCATED, "the stream ended without its end marker, before its first piece"),
        (stream(["{oops"]), {}, Reason.PROTOCOL, 'an event of the stream is not JSON: "{oops"'),
        (
            stream([delta("Bri"), {"error": {"message": "overloaded", "code": 503}}]),
            {},
            Reason.STATUS,
            'the response reports an error 503: "overloaded"',
        ),
        (
            stream([{"error": {"message": "slow down", "code": 429}}]),
            {},
            Reason.THROTTLED,
            'the response reports an error 429: "slow down"',
        ),
        (PlainTextResponse("hello"), {}, Reason.PROTOCOL, 'expected a stream of events, got text/plain; it begins "hello"'),
        (JSONResponse({"error": {"message": "busy"}}, 503), {}, Reason.STATUS, "503, expected 200: busy"),
        (JSONResponse({"error": {"message": "who?"}}, 401), {}, Reason.AUTH, "401, expected 200: who?"),
        (JSONResponse({}, 429, {"X-RateLimit-Reset": "1795532400"}), {}, Reason.THROTTLED, "429, throttled until"),
        (JSONResponse([{"error": {"message": "API key not valid."}}], 400), {}, Reason.AUTH, "400, expected 200: API key not valid."),
        (JSONResponse({"error": {"message": "bad"}}, 400), {}, Reason.STATUS, "400, expected 200: bad"),
        (stream(WHOLE, pause=0.01), {"first_token": "5ms"}, Reason.LATENCY, "the first token took"),
        (stream(WHOLE, pause=0.04), {"gap": "5ms"}, Reason.LATENCY, "a gap between two pieces took"),
        (stream(WHOLE, pause=0.01), {"within": "5ms"}, Reason.LATENCY, "the whole reply took"),
        (stream(WHOLE, pause=0.04), {"tokens_per_second": 1000}, Reason.LATENCY, "tokens a second, expected at least 1000"),
    ],
)
async def test_failures(wire: Wire, response: Any, expect: dict[str, Any], reason: Reason, message: str) -> None:
    """Each way in which a model can be unwell has its reason, and says what came."""
    async with serving({OPENAI: response}) as web:
        failed = await failure(ai(web.url, expect=expect), make_context(wire))

    assert failed[0] is reason
    assert message in failed[1]


async def test_cut_off_in_the_middle(wire: Wire) -> None:
    """A connection that ends before the answer does is truncated, with what the model had said."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 900\r\n\r\n"
    async with servers.canned(head + f"data: {json.dumps(delta('Bri'))}\n\n".encode(), then_close=True) as server:
        reason, message = await failure(ai(server.url), make_context(wire))

    assert reason is Reason.TRUNCATED
    assert message.endswith('the reply so far: "Bri"')


class RecordedFacts(dict[str, Any]):
    """Facts that tell when the first token is among them."""

    def __init__(self) -> None:
        super().__init__()
        self.first_token = asyncio.Event()

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name == "first_token":
            self.first_token.set()


async def test_a_run_that_is_cut_short_keeps_its_first_token(wire: Wire) -> None:
    """What was measured before the deadline is kept."""
    ctx = make_context(wire)
    ctx.facts = recorded = RecordedFacts()
    over = asyncio.Event()

    async def stuck(_: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield f"data: {json.dumps(delta('Bri'))}\n\n"
            await over.wait()

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async with serving({OPENAI: stuck}) as web:
        run = asyncio.create_task(ai(web.url).run(ctx))
        await recorded.first_token.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        over.set()

    assert ctx.halted_in == "transfer"


# -- the budget


async def test_a_budget_is_settled_with_what_was_used(wire: Wire) -> None:
    """The worst is reserved before the send, and replaced by what the service counted: tokens and money."""
    clock = FakeClock()
    ledger = LedgerInMemory(clock)
    async with serving({OPENAI: stream(WHOLE)}) as web:
        probe = ai(web.url, budget={"tokens": "100/1d", "cost": "1 USD/1d"}, price={"prompt": "1 USD/1k", "answer": "2 USD/1k"})
        await probe.run(make_context(wire, ledger=ledger))

    assert ledger.spent("under-test/tokens", 86400) == 11
    assert ledger.spent("under-test/cost", 86400) == pytest.approx(0.013)


async def test_no_budget_is_reserved_where_another_is_spent(wire: Wire) -> None:
    """A run that one budget forbids takes nothing from the others, and sends nothing."""
    ledger = LedgerInMemory(FakeClock())
    await ledger.reserve("under-test/cost", 0.999, 1, 86400)
    async with serving({OPENAI: stream(WHOLE)}) as web:
        with pytest.raises(QuotaRefused):
            await ai(web.url, budget={"tokens": "100/1d", "cost": "1 USD/1d"}).run(make_context(wire, ledger=ledger))

    assert web.asked == []
    assert ledger.spent("under-test/tokens", 86400) == 0


@pytest.mark.parametrize(
    ("response", "spent"),
    [
        (stream(WHOLE[:3]), WORST),
        (stream(WHOLE[:2], end=False), WORST),
        (JSONResponse({}, 503), WORST),
        (JSONResponse({}, 429), 0),
        (JSONResponse({}, 401), 0),
        (stream(WHOLE), 11),
    ],
)
async def test_what_stays_spent(wire: Wire, response: Any, spent: int) -> None:
    """An answer without usage keeps the reservation; a refused request costs nothing."""
    ledger = LedgerInMemory(FakeClock())
    ctx = make_context(wire, ledger=ledger)
    async with serving({OPENAI: response}) as web:
        probe = ai(web.url, budget={"tokens": "100/1d"})
        with suppress(Failed):
            await probe.run(ctx)

    assert ledger.spent("under-test/tokens", 86400) == spent


async def test_what_never_left_costs_nothing(wire: Wire) -> None:
    """A refused connection and a request that isn't permitted give their reservation back."""
    ledger = LedgerInMemory(FakeClock())
    async with servers.refusing() as server:
        with pytest.raises(ConnectionRefusedError):
            await ai(server.url, budget={"tokens": "100/1d"}).run(make_context(wire, ledger=ledger))
        probe = ai("http://127.0.0.1:9", budget={"tokens": "100/1d"})
        with pytest.raises(PolicyRefused):
            await probe.run(make_context(wire, ledger=ledger, permit=Permit(probe.location())))

    assert ledger.spent("under-test/tokens", 86400) == 0


async def test_a_budget_is_never_exceeded(wire: Wire) -> None:
    """Answers that don't say what they used use the budget up at the worst; the next window has a new one."""
    clock = FakeClock()
    ledger = LedgerInMemory(clock)
    async with serving({OPENAI: stream(WHOLE[:3])}) as web:
        probe = ai(web.url, budget={"tokens": f"{3 * WORST + 1}/1d", "cost": "100 USD/1d"})
        for _ in range(3):
            await probe.run(make_context(wire, ledger=ledger))
        for _ in range(2):
            with pytest.raises(QuotaRefused):
                await probe.run(make_context(wire, ledger=ledger))
        clock.advance(86400)
        await probe.run(make_context(wire, ledger=ledger))

    assert len(web.asked) == 4


# -- what is wrong when it is read


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"budget": {"tokens": "60/1d"}}, "one run may use 68 tokens (at most 48 for the prompt, 20 for the reply); the budget is 60"),
        ({"budget": {"cost": "0.001 USD/1d"}}, "one run may cost 0.0026 USD; the budget is 0.001"),
        ({"budget": {"cost": "1 EUR/1d"}}, "the budget is in EUR; write the price in it, too"),
        ({"budget": {"cost": "1/1d"}}, "money has a currency; write 0.50 USD/1d"),
        ({"budget": {"tokens": "1 USD/1d"}}, "tokens have no currency; write 20000/1d"),
        ({"price": {"prompt": "0.4"}}, "write a price for a thousand or a million tokens, such as 0.40 USD/1M"),
        ({"price": {"prompt": "1 EUR/1M"}}, "prompt and answer must have the same currency"),
        ({"stream": False, "expect": {"gap": "1s"}}, "first_token, gap and tokens_per_second are measured in a stream"),
        ({"path": "/v1/x?key=abc"}, "the key goes into key:, not into the address"),
    ],
)
def test_wrong_settings(more: dict[str, Any], message: str) -> None:
    """What can't work, or would show a key, is an error when the configuration is read."""
    with pytest.raises(ValidationError) as error:
        ai("http://127.0.0.1:9", **more)
    assert message in error.value.errors()[0]["msg"]


def test_asks() -> None:
    """The chat is asked for where the service has it: below a target, or at the address that is given."""
    assert [(a.method, a.url) for a in ai("http://x.test/base").asks()] == [("POST", "http://x.test/base/v1/chat/completions")]
    assert ai("http://x.test", "gemini").asks()[0].url == "http://x.test/v1beta/models/m-1:streamGenerateContent?alt=sse"
    assert ai("http://x.test", path="/own").asks()[0].url == "http://x.test/own"
    assert ai("http://x.test").worst() == Usage(48, 20, WORST)
