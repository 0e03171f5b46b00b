from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from judge.observation import Observation
from probes.core import PolicyRefused, Reason, Verdict
from probes.kinds.websocket import WebSocket
from probes.target import Target
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import Permit, context
from tests.support.engine import Observer
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
