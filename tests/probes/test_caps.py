"""Each cap at its edge: what just fits is taken whole, and one more is too much, however it is sent."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from judge.observation import Observation
from judge.redact import Redactor
from probes.core import Failed, Reason, Verdict
from probes.expect.contract import breaches, find_mock
from probes.expect.dialogue import CAP as DIALOGUE_CAP
from probes.expect.dialogue import KEPT, LINE_CAP, LINES, ReceiveBuffer
from probes.expect.patterns import SHOWN, shown
from probes.expect.status import error_text
from probes.http.exchange import HEAD_CAP
from probes.http.http1 import Exchange1
from probes.http.message import Response
from probes.http.pool import EVIDENCE_BODY
from probes.kinds.grpc import BODY_CAP as GRPC_CAP
from probes.kinds.grpc import Grpc
from probes.kinds.http import Http
from probes.kinds.postgres.frames import Frames, Malformed
from probes.kinds.redis import Redis
from probes.kinds.websocket import WebSocket
from probes.kinds.websocket.connection import CAP as WEBSOCKET_CAP
from probes.wire.handover import CAP as SESSION_CAP
from probes.wire.stream import Stream
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.calls import GRPC, Call, calls
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.websockets import Peer, websocket

EDGE = pytest.mark.parametrize("beyond", [0, 1], ids=["the cap", "one more"])


def judged(seen: Observation, beyond: int) -> None:
    """A pass at the cap, and a failure of size beyond it."""
    wanted = (Verdict.FAIL, Reason.SIZE) if beyond else (Verdict.PASS, None)
    assert (seen.verdict, seen.reason) == wanted, seen.message


# HTTP


@EDGE
async def test_a_body(runs: Observer, beyond: int) -> None:
    """`body_cap`, of HTTP/1.1 with a length and without, and of HTTP/2."""
    body = b"x" * (1000 + beyond)
    for whole in (answer(body), b"HTTP/1.1 200 OK\r\n\r\n" + body):
        async with servers.canned(whole, then_close=True) as server:
            judged(await runs.observe(Http.model_validate({"url": server.url, "body_cap": "1kB"})), beyond)
    async with http2.site(lambda *_: (200, {}, body)) as (server, _):
        judged(await runs.observe(Http.model_validate({"url": server.url, "body_cap": "1kB", "http": 2})), beyond)


@EDGE
@pytest.mark.parametrize("behind", [b"", b"a body"], ids=["alone", "with a body"])
async def test_a_head(runs: Observer, beyond: int, behind: bytes) -> None:
    """An answer's head, however many bytes of it and of the body come at once."""
    begin = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Long: " % len(behind)
    head = begin + b"y" * (HEAD_CAP + beyond - len(begin) - 4) + b"\r\n\r\n"
    async with servers.canned(head + behind) as server:
        judged(await runs.observe(Http.model_validate({"url": server.url})), beyond)


@EDGE
@pytest.mark.parametrize("first", [1, HEAD_CAP - 1, HEAD_CAP], ids=["a byte", "all but one", "all"])
async def test_a_head_in_pieces(wire: Wire, beyond: int, first: int) -> None:
    """Wherever the network cuts it: one that fits is taken, and one that doesn't is refused as soon as that is certain."""
    stream = Stream(time.monotonic)
    exchange = Exchange1(make_context(wire), stream, "GET")
    begin = b"HTTP/1.1 200 OK\r\nX-Long: "
    head = begin + b"y" * (HEAD_CAP + beyond - len(begin) - 4) + b"\r\n\r\n"
    receiving = asyncio.ensure_future(exchange.receive_head())
    for piece in (head[:first], head[first:]):
        for _ in range(4):
            await asyncio.sleep(0)
        if piece:
            stream.data_received(piece)
    if beyond:
        with pytest.raises(Failed, match="the response head exceeds 64 KiB"):
            await receiving
    else:
        await receiving
    assert exchange.head_done is not bool(beyond)


@EDGE
async def test_a_head_of_http_2(runs: Observer, beyond: int) -> None:
    """Names and values after unpacking, 32 bytes for each (RFC 9113, 6.5.2)."""
    many = (("x-more", "y" * 600),) * 100
    taken = sum(32 + len(name) + len(value) for name, value in ((":status", "200"), *many))
    last = ("x-last", "z" * (HEAD_CAP + beyond - taken - 32 - len("x-last")))
    async with servers.canned(http2.SETTINGS + http2.head(headers=(*many, last), end=True)) as server:
        judged(await runs.observe(Http.model_validate({"url": server.url, "http": 2})), beyond)


@EDGE
async def test_a_frame_of_http_2(wire: Wire, beyond: int) -> None:
    """The longest frame that every peer must take, 16 KiB: a longer one breaks the protocol, since nobody allowed it."""
    async with servers.canned(http2.SETTINGS + http2.head() + http2.data(b"x" * (16_384 + beyond))) as server:
        if not beyond:
            assert (await ask(make_context(wire), server.url, http=2)).verdict is Verdict.PASS
            return
        failed = await failure(make_context(wire), server.url, http=2)
    assert failed.reason is Reason.PROTOCOL
    assert failed.message.endswith("a frame of 16,385 bytes, at most 16,384 are allowed")


@EDGE
async def test_what_is_kept_of_a_body(wire: Wire, beyond: int) -> None:
    """A failure keeps as much of the body as evidence, and what is longer ends with an ellipsis."""
    ctx = make_context(wire)
    async with servers.canned(answer(b"x" * (EVIDENCE_BODY + beyond), status=b"500 Oops")) as server:
        await failure(ctx, server.url)
    whole = "x" * EVIDENCE_BODY
    assert Redactor(()).text(ctx.evidence["body"]) == (f"{whole[:-1]}…" if beyond else whole)


@pytest.mark.parametrize(("allowed", "reason"), [(2, None), (1, Reason.REDIRECT)])
async def test_redirects(runs: Observer, allowed: int, reason: Reason | None) -> None:
    """As many as are allowed are followed; the next one is judged as an answer."""
    moved = answer(b"", b"Location: /on", status=b"302 Found")
    async with servers.canned(moved, moved, answer(b"there")) as server:
        seen = await runs.observe(Http.model_validate({"url": server.url, "redirects": allowed}))
    assert seen.reason is reason, seen.message


@pytest.mark.parametrize(("text", "shortened"), [("y" * 160, "y" * 160), ("y" * 161, "y" * 159 + "…")])
def test_an_applications_own_words(text: str, shortened: str) -> None:
    """What a message repeats of them."""
    found = Response(500, (), f'{{"error": "{text}"}}'.encode(), 0.0, "http://host/")
    assert Redactor(()).text(error_text(found)) == shortened


@pytest.mark.parametrize("length", [SHOWN - 3, SHOWN - 2, SHOWN - 1])
def test_a_foreign_value(length: int) -> None:
    """What a message repeats of one, its quotation marks among it."""
    whole = f'"{"x" * length}"'
    seen = Redactor(()).text(shown("x" * length))
    assert seen == (whole if len(whole) <= SHOWN else whole[: SHOWN - 1] + "…")
    assert len(seen) == min(len(whole), SHOWN)


def test_a_partners_long_list() -> None:
    """The hundredth element is still looked at, and the one behind it no more."""
    for good, wrong in ((99, True), (100, False)):
        many: list[Any] = [*["an id"] * good, 5]
        assert bool(list(breaches(["string"], many))) is wrong
        assert bool(find_mock([*[1] * good, "MOCK123"])) is wrong


# Dialogues


@EDGE
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"], ids=["no end", "LF", "CRLF"])
@pytest.mark.parametrize("step", [LINE_CAP // 3, 2 * LINE_CAP], ids=["in pieces", "at once"])
def test_a_line(beyond: int, end: bytes, step: int) -> None:
    """With and without an end, in pieces and at once; the end's CR is one of its bytes."""
    text = b"x" * (LINE_CAP + beyond - end.count(b"\r")) + end
    received, lines = ReceiveBuffer(), list[str | None]()

    def hear() -> None:
        for at in range(0, len(text), step):
            received.feed(text[at : at + step])
            lines.append(received.line())

    if beyond:
        with pytest.raises(Failed, match="the server sent a line of more than 64 KiB") as caught:
            hear()
        assert caught.value.reason is Reason.SIZE
    else:
        hear()
        assert lines[-1] == (text.rstrip().decode() if end else None)


def test_a_dialogue() -> None:
    """All that a server says, in bytes."""
    received = ReceiveBuffer()
    received.feed(b"x" * DIALOGUE_CAP)
    with pytest.raises(Failed, match="the server sent more than 1024 KiB") as caught:
        received.feed(b"x")
    assert caught.value.reason is Reason.SIZE


def test_the_lines_of_a_dialogue() -> None:
    """All that a server says, in lines; of the last ones so many are kept."""
    received = ReceiveBuffer()
    received.feed(b"x\n" * LINES + b"y\n")
    assert [received.line() for _ in range(LINES)] == ["x"] * LINES
    assert received.lines == ["x"] * KEPT
    with pytest.raises(Failed, match="the server sent more than 10,000 lines") as caught:
        received.line()
    assert caught.value.reason is Reason.SIZE


def test_the_lines_that_are_kept() -> None:
    """The last of them, in order."""
    received = ReceiveBuffer()
    received.feed(b"".join(b"%d\n" % number for number in range(KEPT + 1)))
    for number in range(KEPT + 1):
        received.line()
        assert received.lines == [str(one) for one in range(max(0, number + 1 - KEPT), number + 1)]


# Other kinds


@EDGE
async def test_an_answer_of_grpc(runs: Observer, beyond: int) -> None:
    """A HealthCheckResponse with a field that nobody knows, as long as an answer may be."""
    long = GRPC_CAP + beyond - 5 - 2 - 4  # a prefix, the status, and the field's own number and length (three bytes)
    message = b"\x08\x01" + b"\x12" + bytes([long & 0x7F | 0x80, long >> 7 & 0x7F | 0x80, long >> 14]) + b"x" * long
    body = b"\x00" + len(message).to_bytes(4) + message
    assert len(body) == GRPC_CAP + beyond

    def talk(call: Call) -> None:
        call.h2.send_headers(call.stream, list(GRPC))
        for at in range(0, len(body), 16_000):
            call.h2.send_data(call.stream, body[at : at + 16_000])
        call.h2.send_headers(call.stream, [("grpc-status", "0")], end_stream=True)
        call.flush()

    async with calls(talk) as server:
        judged(await runs.observe(Grpc(host="127.0.0.1", port=server.port)), beyond)


@EDGE
async def test_an_answer_of_a_librarys_protocol(runs: Observer, beyond: int) -> None:
    """All that Redis (and PostgreSQL, by the same session) may say in a run."""
    pong = b"+PONG\r\n"
    length = SESSION_CAP + beyond - len(pong) - len("$1048557") - 4
    response = b"$%d\r\n" % length + b"x" * length + b"\r\n"
    assert len(pong + response) == SESSION_CAP + beyond
    async with servers.canned(pong + response) as server:
        judged(await runs.observe(Redis.model_validate({"url": f"redis://127.0.0.1:{server.port}/0"})), beyond)


def test_a_message_of_postgresql() -> None:
    """The longest that is believed; its length counts itself, and a row may be longer."""
    for kind, length, taken in ((b"S", 100, True), (b"S", 101, False), (b"D", 101, True)):
        message = kind + length.to_bytes(4) + bytes(length - 4)
        if taken:
            assert Frames(100).feed(message) == message
        else:
            with pytest.raises(Malformed, match="a message can't be 101 bytes long"):
                Frames(100).feed(message)


@EDGE
async def test_what_a_websocket_says(runs: Observer, beyond: int) -> None:
    """All bytes of a run together, those of the handshake and of the pong among them."""

    async def talk(peer: Peer) -> None:
        received = 0
        write = peer.writer.write

        def counting(data: bytes) -> None:
            nonlocal received
            received += len(data)
            write(data)

        peer.writer.write = counting  # type: ignore[method-assign,assignment]
        await peer.accepted()
        length = WEBSOCKET_CAP + beyond - received - 10  # a frame's head of ten bytes
        peer.writer.write(b"\x82\x7f" + length.to_bytes(8) + b"x" * length)

    async with websocket(talk) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        judged(await runs.observe(WebSocket.model_validate({"url": url, "dialogue": [{"expect": {}}]})), beyond)
