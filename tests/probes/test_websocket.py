from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trustme
from pydantic import SecretStr, ValidationError
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.utilities import generate_accept_token

from judge.observation import Observation
from probes.core import Failed, PolicyRefused, Reason, Verdict
from probes.kinds.websocket import WebSocket
from probes.kinds.websocket.connection import FRAMES, Socket
from probes.target import Target
from probes.wire.resolver import Resolver
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import Permit, context
from tests.support.engine import Observer
from tests.support.handshakes import shaking
from tests.support.leaks import no_leaks
from tests.support.websockets import Peer, websocket

Talk = Callable[[Peer], Awaitable[object]]


async def observed(runs: Observer, talk: Talk, *, within: float = 5.0, **settings: Any) -> Observation:
    """What a check sees of a server that talks so; it leaves nothing behind."""
    async with websocket(talk) as server, no_leaks(serving=server.port):
        url = f"ws://127.0.0.1:{server.port}/live?room=1"
        return await runs.observe(WebSocket.model_validate({"url": url} | settings), within=within)


def filled(seen: Observation, name: str) -> list[tuple[tuple[str, ...], float]]:
    """The samples of one of the kind's families."""
    (family,) = (family for family in WebSocket.families if family.name == name)
    return list(family.read(seen.phases, seen.facts))


async def test_it_opens_pings_and_closes_in_order(runs: Observer) -> None:
    """Handshake, ping and close; phases, status and the server's close code are known."""
    came: list[Any] = []

    async def talk(peer: Peer) -> None:
        came.append(await peer.accepted())
        came.append(await peer.goodbye())

    seen = await observed(runs, talk, headers={"X-Team": "road"}, origin="https://app.test")
    assert (seen.verdict, seen.message) == (Verdict.PASS, "is connected"), seen.message
    assert list(seen.phases) == ["resolve", "connect", "handshake", "ping", "close"]
    assert filled(seen, "probe_websocket_status_code") == [((), 101.0)]
    assert filled(seen, "probe_websocket_close_code") == [((), 1000.0)]
    assert filled(seen, "probe_websocket_connection_upgraded") == [((), 1.0)]
    assert filled(seen, "probe_websocket_failed_due_to_regex") == [((), 0.0)]
    request, code = came
    assert isinstance(request, Request)
    headers = {name.decode(): value.decode() for name, value in request.extra_headers}
    assert (request.target, headers["x-team"], headers["origin"], code) == ("/live?room=1", "road", "https://app.test", 1000)
    assert headers["traceparent"].endswith("-01")


async def test_a_dialogue(runs: Observer) -> None:
    """Messages are said and judged in turn: JSON, text and bytes; others may come between where `among` lets them."""

    async def talk(peer: Peer) -> None:
        await peer.accepted("chat.v2")
        assert json.loads(await peer.text()) == {"type": "init"}
        peer.say(Ping(b"still there?"), TextMessage('{"type":', message_finished=False), TextMessage('"ack"}'))
        assert await peer.text() == "subscribe"
        peer.say(TextMessage("noise"), TextMessage("more noise"), BytesMessage(b"tick 7"))
        await peer.goodbye()

    steps = [
        {"send_json": {"type": "init"}, "expect": {"json": {"$.type": "ack"}}},
        {"send": "subscribe", "expect": {"regex": "^tick [0-9]$"}, "among": 3},
    ]
    seen = await observed(runs, talk, subprotocols=["chat.v2", "chat.v1"], dialogue=steps)
    assert (seen.verdict, seen.message) == (Verdict.PASS, "responds as expected · chat.v2"), seen.message
    assert filled(seen, "probe_websocket_messages") == [((), 4.0)]
    assert filled(seen, "probe_websocket_info") == [(("chat.v2",), 1.0)]
    assert [label for label, _ in filled(seen, "probe_websocket_duration_seconds")][-2:] == [("dialogue",), ("close",)]


@pytest.mark.parametrize(
    ("wanted", "sent", "reason", "message"),
    [
        ({"text": "pong"}, "nope", Reason.BODY, 'the message doesn\'t contain "pong"; it begins "nope"'),
        ({"json": {"$.ok": True}}, '{"ok": false}', Reason.BODY, "$.ok is false, expected true"),
        ({"json": {"$.ok": True}}, "x", Reason.BODY, "the message is not JSON"),
        ({"json": {"$.ok": {"type": "boolean"}}}, "{}", Reason.SCHEMA, "$.ok is absent"),
    ],
)
async def test_another_message_than_expected(runs: Observer, wanted: dict[str, Any], sent: str, reason: Reason, message: str) -> None:
    """A message is judged as an answer's body is, in the same words; it is evidence."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        peer.say(TextMessage(sent))

    seen = await observed(runs, talk, dialogue=[{"expect": wanted}])
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason), seen.message
    assert message in seen.message
    assert seen.evidence["received"] == [sent]


@pytest.mark.parametrize(
    ("status", "headers", "reason", "message"),
    [
        (401, (), Reason.AUTH, "401, expected 101: no token"),
        (403, (), Reason.AUTH, "403, expected 101: no token"),
        (429, ((b"retry-after", b"7"),), Reason.THROTTLED, "429, throttled for 7 s: no token"),
        (302, ((b"location", b"/login?next=x"),), Reason.REDIRECT, "302 to /login, expected 101"),
        (503, (), Reason.STATUS, "503, expected 101: no token"),
        (200, (), Reason.STATUS, "200, expected 101: no token"),
    ],
)
async def test_a_refused_handshake(
    runs: Observer, status: int, headers: tuple[tuple[bytes, bytes], ...], reason: Reason, message: str
) -> None:
    """A status instead of 101 means what it means to http, with the application's own words."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.reject(status, b'{"detail": "no token"}', headers)

    seen = await observed(runs, talk)
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, reason, message)
    assert filled(seen, "probe_websocket_status_code") == [((), float(status))]


@pytest.mark.parametrize(
    ("code", "why", "reason", "message"),
    [
        (1011, "boom", Reason.STATUS, 'the server closed with 1011 (internal error), "boom" before the message'),
        (4401, None, Reason.STATUS, "the server closed with 4401 before the message"),
        (1009, None, Reason.PROTOCOL, "the server closed with 1009 (message too big) before the message"),
    ],
)
async def test_a_close_instead_of_a_message(runs: Observer, code: int, why: str | None, reason: Reason, message: str) -> None:
    """The server's close names its code and its reason, and says where the run stood."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        peer.say(CloseConnection(code, why))

    seen = await observed(runs, talk, dialogue=[{"expect": {}}])
    assert (seen.verdict, seen.reason, seen.message) == (Verdict.FAIL, reason, message)
    assert filled(seen, "probe_websocket_close_code") == [((), float(code))]


async def test_a_close_that_is_expected(runs: Observer) -> None:
    """A dialogue may end with the server's close; another code is a failure."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        await peer.text()
        peer.say(TextMessage("bye"), CloseConnection(4000))

    seen = await observed(runs, talk, dialogue=[{"send": "leave", "close": 4000}])
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed(runs, talk, dialogue=[{"send": "leave", "close": 1000}])
    assert (seen.reason, seen.message) == (Reason.STATUS, "the server closed with 4000, expected 1000")


async def test_no_subprotocol(runs: Observer) -> None:
    """Where subprotocols are offered, a server that chooses none speaks something else."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()

    seen = await observed(runs, talk, subprotocols=["chat"])
    assert (seen.reason, seen.message) == (Reason.PROTOCOL, "the server chose no subprotocol; offered chat")


@pytest.mark.slow
async def test_a_pong_that_never_comes(runs: Observer) -> None:
    """A server that opens and never answers a ping fails at the deadline, in ping; pongs of others don't count."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(AcceptConnection(), Pong(b"unasked"))

    seen = await observed(runs, talk, within=0.2)
    assert (seen.reason, seen.message) == (Reason.TIMEOUT, "no answer within 200ms in ping")
    assert (await observed(runs, talk, within=2.0, ping=False)).verdict is Verdict.PASS


@pytest.mark.slow
async def test_a_goodbye_that_never_comes(runs: Observer) -> None:
    """A server that doesn't close back has answered all the same: passed, and the waiting is none of its time."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()

    seen = await observed(runs, talk)
    assert seen.verdict is Verdict.PASS
    assert seen.seconds < 1.0
    assert filled(seen, "probe_websocket_close_code") == []


def _raw(data: bytes) -> Talk:
    async def talk(peer: Peer) -> None:
        await peer.accepted()
        peer.writer.write(data)

    return talk


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"\x81\x80\x00\x00\x00\x00", Reason.PROTOCOL, "the server broke the WebSocket protocol"),
        (b"\xf1\x01x", Reason.PROTOCOL, "the server broke the WebSocket protocol"),
        (b"\x81\x02\xff\xfe", Reason.PROTOCOL, "the server broke the WebSocket protocol"),
        (b"\x82\x7f" + (2**21).to_bytes(8) + b"x" * 2**21, Reason.SIZE, "the server sent more than 1024 KiB"),
    ],
    ids=["masked", "reserved bits", "no UTF-8", "too long"],
)
async def test_frames_that_are_none(runs: Observer, data: bytes, reason: Reason, message: str) -> None:
    """Frames that break the protocol, and messages beyond every bound, end the run at once."""
    seen = await observed(runs, _raw(data), dialogue=[{"expect": {}}])
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason), seen.message
    assert seen.message.startswith(message)


async def test_a_reset_in_the_dialogue(runs: Observer) -> None:
    """A connection that is reset says so, and where the run stood."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        await peer.text()
        servers.reset(peer.writer.transport)  # type: ignore[arg-type]

    seen = await observed(runs, talk, dialogue=[{"send": "x", "expect": {}}])
    assert (seen.reason, seen.message) == (Reason.RESET, "the connection was reset before the message in dialogue of step 1")


async def test_a_wrong_accept_key(runs: Observer) -> None:
    """An answer that any web server could have given is no handshake."""
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
    async with servers.canned(answer) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"}))
    assert (seen.reason, seen.message) == (Reason.PROTOCOL, "the server's response is not a WebSocket handshake: bad accept token")


@pytest.mark.parametrize(("which", "reason"), [("good", None), ("expired", Reason.EXPIRED), ("wrong_host", Reason.HOSTNAME)])
async def test_wss(runs: Observer, authority: Authority, which: str, reason: Reason | None) -> None:
    """Over TLS the certificate is judged and shown as everywhere."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        await peer.goodbye()

    async with websocket(talk, tls=getattr(authority, which)) as server, no_leaks(serving=server.port):
        settings = {"url": f"wss://localhost:{server.port}/", "tls": {"ca": authority.ca_file}}
        seen = await runs.observe(WebSocket.model_validate(settings))
    assert seen.reason is reason, seen.message
    assert filled(seen, "probe_ssl_earliest_cert_expiry")


async def test_the_handshake_passes_the_permit(runs: Observer) -> None:
    """The handshake is a GET and is permitted as one, by the target's rules too; refused, nothing is sent."""
    async with servers.silent() as server:
        url = f"http://127.0.0.1:{server.port}"
        target = Target.model_validate({"name": "api", "url": url, "deny": ["GET /live"]})
        seen = await runs.observe(WebSocket(target=target, path="/live"))
        assert (seen.reason, seen.message) == (Reason.POLICY, "target api denies GET /live")
        permit = Permit(f"{url}/other")
        async with context(permit=permit) as ctx:
            with pytest.raises(PolicyRefused):
                await WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/other"}).run(ctx)
        assert permit.asked == [("GET", f"{url}/other")]
        assert server.connections == 0


async def test_a_header_that_smuggles(runs: Observer) -> None:
    """A header with a line break is refused before anything is sent."""
    async with servers.silent() as server:
        check = WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"})
        seen = await runs.observe(check.model_copy(update={"headers": {"X-A": SecretStr("1\r\nX-B: 2")}}))
        assert seen.reason is Reason.POLICY
        assert not server.received


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either target or url"),
        ({"url": "ftp://x/"}, "ws:// or wss://"),
        ({"url": "ws://u:p@x/"}, "into basic"),
        ({"url": "ws://x/", "path": "/y"}, "path goes with target"),
        ({"url": "ws://x/", "dialogue": [{}]}, "empty step"),
        ({"url": "ws://x/", "dialogue": [{"send": "x", "send_hex": "00"}]}, "one of send"),
        ({"url": "ws://x/", "dialogue": [{"expect": {}, "close": 1000}]}, "either expect or close"),
        ({"url": "ws://x/", "dialogue": [{"send": "x", "among": 2}]}, "among goes with expect"),
    ],
)
def test_settings_that_can_never_work_are_refused(settings: dict[str, Any], message: str) -> None:
    """What no check can mean is an error when the file is read."""
    with pytest.raises(ValidationError, match=message):
        WebSocket.model_validate(settings)


def test_the_address_shows_no_query() -> None:
    """The address that people see has the scheme of WebSockets and no query."""
    probe = WebSocket.model_validate({"url": "wss://api.test/live?token=secret-token"})
    assert probe.address() == "wss://api.test/live"


def _accept(request: bytes) -> bytes:
    key = re.search(rb"sec-websocket-key: (\S+)", request, re.IGNORECASE)
    assert key
    head = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
    return head % generate_accept_token(key[1])


def _after_request(*pieces: bytes, stays: bool = False) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Sends these bytes after the request, where `ACCEPT` stands for a 101; then closes, or stays open."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = _accept(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"".join(accept if piece == b"ACCEPT" else piece for piece in pieces))
        if stays:
            await reader.read()
        else:
            writer.write_eof()

    return talk


async def observed_raw(runs: Observer, *pieces: bytes, stays: bool = False, **settings: Any) -> Observation:
    """What a check sees of a server that sends these bytes after the request."""
    async with servers.speaking(_after_request(*pieces, stays=stays)) as server:
        return await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"} | settings))


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x8a\x00", b"\x81\x00", b"\x00\x00", b"\x82\x01x", b"\x89\x00\x8a\x00"])
@pytest.mark.parametrize("dialogue", [(), ({"expect": {"text": "never"}, "among": 1000},), ({"close": 4000},)])
async def test_a_flood_of_frames(runs: Observer, frame: bytes, dialogue: tuple[dict[str, Any], ...]) -> None:
    """XM3: control frames and empty ones without end are the server's failure, and take no megabyte to be one."""
    first = b"\x01\x00" if frame == b"\x00\x00" else b""
    seen = await observed_raw(runs, b"ACCEPT", first, frame * 30_000, stays=True, dialogue=dialogue)
    assert (seen.verdict, seen.reason) in ((Verdict.FAIL, Reason.SIZE), (Verdict.FAIL, Reason.BODY)), seen.message
    if seen.reason is Reason.SIZE:
        assert seen.message == "the server sent more than 10,000 frames"


class _Flood:
    """A stream whose bytes are all there at once: a 101, then frames without end."""

    tls = None

    def __init__(self, frame: bytes) -> None:
        self._next, self._frame = b"", frame
        self.received_bytes = 0

    async def read(self) -> bytes:
        """Never waits."""
        data, self._next = self._next, self._frame * 100_000
        self.received_bytes += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Accepts the request."""
        if data.startswith(b"GET"):
            self._next = _accept(data)


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x81\x00"])
async def test_a_flood_leaves_the_loop_its_turns(frame: bytes) -> None:
    """XM3: frames that are all there at once are handled a few at a time, and other runs go on between."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with context() as ctx:
        socket = Socket(ctx, _Flood(frame))  # type: ignore[arg-type]  # as much of a stream as it needs
        await socket.open(Request(host="x", target="/"))
        running = asyncio.ensure_future(others())
        with pytest.raises(Failed, match="more than 10,000 frames"):
            await socket.ping(b"1", may_close=False)
        running.cancel()
    assert turns >= FRAMES * len(frame) // 512 - 1


@pytest.mark.parametrize(
    ("response", "status", "reason"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", 401, Reason.AUTH),
        (b"HTTP/1.0 403 Forbidden\r\n\r\nno", 403, Reason.AUTH),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nshort", 400, Reason.STATUS),
        (b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry", 429, Reason.THROTTLED),
        (b"HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", 429, Reason.THROTTLED),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", 302, Reason.REDIRECT),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nokand more" + b"x" * 5000, 503, Reason.STATUS),
        (b"HTTP/1.1 500 Oops\r\n\r\n" + b"x" * 50_000, 500, Reason.STATUS),
    ],
)
@pytest.mark.parametrize("stays", [False, True])
async def test_a_refusal_keeps_its_status(runs: Observer, response: bytes, status: int, reason: Reason, stays: bool) -> None:  # noqa: FBT001 - a row's
    """W6: a refusal means what its status means, however its body ends, and where it never ends."""
    seen = await observed_raw(runs, response, stays=stays)
    assert (seen.verdict, seen.reason, seen.facts["status_code"]) == (Verdict.FAIL, reason, status), seen.message
    assert seen.seconds < 1.0  # the wait for a body isn't the target's time


CLOSE = b"\x88\x0f\x11\x31token expired"  # 4401


async def test_a_close_that_comes_with_the_101(runs: Observer) -> None:
    """W7: a close in the same packet as the 101 keeps its code and words."""
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=True)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.STATUS)
    assert seen.message == 'the server closed with 4401, "token expired" before all messages were sent'
    assert seen.facts["close_code"] == 4401
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=True, ping=False, dialogue=[{"send": "hello"}])
    assert seen.message == 'the server closed with 4401, "token expired" before all messages were sent'


@pytest.mark.parametrize("ping", [False, True])
@pytest.mark.parametrize("stays", [False, True])
async def test_a_wanted_close_that_comes_with_the_101(runs: Observer, ping: bool, stays: bool) -> None:  # noqa: FBT001 - a row's
    """W7: a dialogue that wants the close passes, with a ping and without, and also behind a message."""
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=stays, ping=ping, dialogue=[{"close": 4401}])
    assert seen.verdict is Verdict.PASS, seen.message
    steps = [{"expect": {"text": "bye"}}, {"close": 4401}]
    seen = await observed_raw(runs, b"ACCEPT", b"\x81\x03bye", CLOSE, stays=stays, ping=ping, dialogue=steps)
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed_raw(runs, b"ACCEPT", CLOSE, stays=stays, ping=ping, dialogue=[{"close": 1000}])
    assert seen.message == 'the server closed with 4401, "token expired", expected 1000'


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


@pytest.mark.parametrize("interim", [INTERIM, b"HTTP/1.1 100 Continue\r\n\r\n", INTERIM * 20, b"HTTP/1.0 199 x\n\n"])
async def test_responses_before_the_final_one(runs: Observer, interim: bytes) -> None:
    """W16: a 100 or 103 before the 101 means nothing; the server may send several, in any pieces."""
    seen = await observed_raw(runs, interim, b"ACCEPT", b"\x88\x02\x03\xe8", dialogue=[{"close": 1000}])
    assert seen.verdict is Verdict.PASS, seen.message
    seen = await observed_raw(runs, interim, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    assert seen.reason is Reason.AUTH

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in interim + _accept(await reader.readuntil(b"\r\n\r\n")) + b"\x88\x02\x03\xe8":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with servers.speaking(drip) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/", "dialogue": [{"close": 1000}]}))
    assert seen.verdict is Verdict.PASS, seen.message


@pytest.mark.parametrize("flood", [INTERIM * 21, b"HTTP/1.1 103 Early Hints\r\n" + b"a: b\r\n" * 5000])
async def test_responses_before_the_final_one_without_end(runs: Observer, flood: bytes) -> None:
    """W16: such responses are bounded in number and size."""
    seen = await observed_raw(runs, flood, stays=True)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.SIZE), seen.message


async def test_a_subprotocol_that_was_not_offered(runs: Observer) -> None:
    """W16: a subprotocol is written as the server wrote it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = _accept(await reader.readuntil(b"\r\n\r\n"))
        writer.write(accept[:-2] + b"Sec-WebSocket-Protocol: Chat.V2\r\n\r\n")
        await reader.read()

    async with servers.speaking(talk) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        seen = await runs.observe(WebSocket.model_validate({"url": url, "subprotocols": ["chat.v2"]}))
    assert seen.message == "the server's response is not a WebSocket handshake: unrecognized subprotocol Chat.V2"


async def test_plain_text_to_a_tls_port(runs: Observer, authority: Authority) -> None:
    """W16: a port that speaks TLS and gets plain text is suspected of that."""
    async with shaking(authority.good) as server:
        seen = await runs.observe(WebSocket.model_validate({"url": f"ws://127.0.0.1:{server.port}/"}))
    assert seen.message == "the connection was closed before the response to the handshake; does the port speak TLS?"
    seen = await observed_raw(runs, b"\x15\x03\x01\x00\x02\x02\x46")
    assert seen.reason is Reason.PROTOCOL
    assert seen.message == "the response is a TLS record (15 03 01 00 02 02 46): the port speaks TLS"


async def test_one_family(runs: Observer) -> None:
    """U: `ip` holds for the kind as for http."""
    seen = await observed_raw(runs, b"ACCEPT", b"\x88\x02\x03\xe8", ip=6)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.DNS)


@pytest.mark.parametrize(
    ("written", "asked"),
    [("münchen.test", "xn--mnchen-3ya.test"), ("xn--strae-oqa.test", "xn--strae-oqa.test"), ("straße.test", "xn--strae-oqa.test")],
)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_host_beyond_ascii(runs: Observer, tmp_path_factory: pytest.TempPathFactory, written: str, asked: str, scheme: str) -> None:
    """W3: a host in Unicode is its own, and Host, SNI and DNS have its form by IDNA 2008."""
    folder, authority, names, heads = (
        await asyncio.to_thread(tmp_path_factory.mktemp, "names"),
        trustme.CA(),
        list[str | None](),
        list[bytes](),
    )
    await asyncio.to_thread((folder / "hosts").write_text, f"127.0.0.1 {asked}\n")
    await asyncio.to_thread(authority.cert_pem.write_to_path, str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(authority.issue_cert(asked).configure_cert, tls)
    tls.sni_callback = lambda _tls, name, _context: names.append(name)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(_accept(heads[0]) + b"\x88\x02\x03\xe8")
        await reader.read()

    runs.wire = Wire(resolver=Resolver(hosts=folder / "hosts", servers=("127.0.0.1",), port=9))
    async with servers.speaking(talk, tls=tls if scheme == "wss" else None) as server:
        url = f"{scheme}://{written}:{server.port}/"
        settings = {"url": url, "tls": {"ca": folder / "ca.pem"}, "dialogue": [{"close": 1000}]}
        seen = await runs.observe(WebSocket.model_validate(settings))
    assert seen.verdict is Verdict.PASS, seen.message
    assert f"Host: {asked}:{server.port}".encode().lower() in heads[0].lower()
    assert names == ([asked] if scheme == "wss" else [])


@pytest.mark.parametrize(
    ("expect", "within", "failed"),
    [({"regex": "^in"}, 5.0, False), ({"regex": "^out"}, 5.0, True), ({"text": "out"}, 5.0, False), ({"regex": "^in"}, 0.2, True)],
)
async def test_a_message_that_a_pattern_refuses(runs: Observer, expect: dict[str, Any], within: float, failed: bool) -> None:  # noqa: FBT001
    """probe_websocket_failed_due_to_regex says whether a pattern decided, also where no message came until the deadline."""

    async def talk(peer: Peer) -> None:
        await peer.accepted()
        peer.say(*([TextMessage("incoming")] if within > 1 else []))
        await peer.goodbye()

    seen = await observed(runs, talk, dialogue=[{"expect": expect}], within=within)
    assert filled(seen, "probe_websocket_connection_upgraded") == [((), 1.0)]
    assert filled(seen, "probe_websocket_failed_due_to_regex") == [((), float(failed))]


async def test_a_refused_handshake_upgrades_nothing(runs: Observer) -> None:
    """probe_websocket_connection_upgraded is 0 where the handshake is refused."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.reject(401)

    assert filled(await observed(runs, talk), "probe_websocket_connection_upgraded") == [((), 0.0)]


async def test_a_user_and_a_password(runs: Observer) -> None:
    """`basic` is the handshake's Authorization, in place of any other one; it is shown nowhere."""
    came: list[Request] = []

    async def talk(peer: Peer) -> None:
        came.append(await peer.accepted())
        await peer.goodbye()

    seen = await observed(runs, talk, basic={"user": "prober", "password": "word-1"}, headers={"authorization": "Bearer example-token-1"})
    sent = [value for name, value in came[0].extra_headers if name.lower() == b"authorization"]
    assert (seen.verdict, sent) == (Verdict.PASS, [b"Basic cHJvYmVyOndvcmQtMQ=="])
    assert "cHJvYmVy" not in repr(seen)
