"""HTTP/2: what it carries, and how a server may break it."""

from __future__ import annotations

import pytest
from hpack import Encoder

from probes.core import Reason, Verdict
from probes.kinds.http import Http
from probes.wire.wire import Wire
from tests.support import http2, servers
from tests.support.asking import answer, ask, failure
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.http2 import data, frame, goaway, head

CLEAR = {"http": 2}
INFINITE = 2**31 - 1


def _echo(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 200, {"content-type": "text/plain"}, f"{headers[':method']} {headers[':path']} {len(body)}".encode()


async def test_prior_knowledge_needs_no_tls(wire: Wire) -> None:
    """`http: 2` on http:// speaks HTTP/2 at once, with the phases and facts of HTTP/1.1."""
    ctx = make_context(wire)
    async with http2.site(_echo) as (server, asked):
        result = await ask(ctx, f"{server.url}where?to=go", expect={"text": "GET /where?to=go 0", "http_version": 2}, **CLEAR)

    assert result.verdict is Verdict.PASS
    assert list(ctx.phases) == ["resolve", "connect", "processing", "transfer"]
    assert ctx.facts["http_version"] == 2.0
    assert asked[0][":authority"] == f"127.0.0.1:{server.port}"
    assert asked[0]["traceparent"].startswith("00-")
    assert "host" not in asked[0]


@pytest.mark.parametrize(("http", "spoken"), [("auto", "2"), ("2", "2"), ("1.1", "1.1")])
async def test_the_version_is_agreed_on_in_the_handshake(wire: Wire, authority: Authority, http: str, spoken: str) -> None:
    """Over TLS the version is negotiated (ALPN): auto takes what the server prefers."""
    ctx = make_context(wire)
    settings = {"http": http, "tls": {"ca": str(authority.ca_file)}}
    async with servers.serve(_Either, tls=authority.offering) as server:
        await ask(ctx, f"https://localhost:{server.port}/", **settings)

    assert ctx.facts["http_version"] == float(spoken)


class _Either(http2.Site):
    """Speaks what was agreed on."""

    page = staticmethod(_echo)
    asked: list[dict[str, str]] = []  # noqa: RUF012 - looked at by nobody here

    def begin(self) -> None:
        self.is_h2 = self.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        if self.is_h2:
            super().begin()

    def data_received(self, data: bytes) -> None:
        if self.is_h2:
            super().data_received(data)
        else:
            self.transport.write(answer(b"old"))


async def test_a_server_without_http_2_is_told(wire: Wire, authority: Authority) -> None:
    """`http: 2` is a demand: a server that doesn't agree fails as protocol."""
    async with servers.canned(answer(), tls=authority.soon) as server:
        failed = await failure(make_context(wire), f"https://localhost:{server.port}/", http=2, tls={"ca": str(authority.ca_file)})

    assert failed.reason is Reason.PROTOCOL
    assert "didn't agree to HTTP/2" in failed.message


@pytest.mark.parametrize(
    ("response", "reason", "words"),
    [
        ([goaway(0, 0)], Reason.RESET, "the server closed the connection before any response: GOAWAY NO_ERROR"),
        ([goaway(0, 11, b"too many")], Reason.PROTOCOL, "GOAWAY ENHANCE_YOUR_CALM (too many)"),
        ([goaway(INFINITE, 0)], Reason.RESET, "the server closed the connection"),
        ([head(), data(b"half", end=False), goaway(INFINITE, 0)], Reason.TRUNCATED, "after 4 bytes of the body: GOAWAY"),
        ([frame(3, 0, 1, (7).to_bytes(4))], Reason.RESET, "reset the stream before any response: REFUSED_STREAM"),
        ([frame(3, 0, 1, (13).to_bytes(4))], Reason.PROTOCOL, "requires HTTP/1.1"),
        ([head(), data(b"ha", end=False), frame(3, 0, 1, (2).to_bytes(4))], Reason.TRUNCATED, "after 2 bytes of the body: INTERNAL_ERROR"),
        ([], Reason.TRUNCATED, "closed before any response"),
        ([head(headers=(("content-length", "90"),)), data(b"short")], Reason.TRUNCATED, "5 of 90 bytes"),
        ([head(), data(b"some", end=False)], Reason.TRUNCATED, "after 4 bytes of the body"),
        ([data(b"no head")], Reason.PROTOCOL, "the server broke HTTP/2"),
        ([frame(1, 0x4, 1, b"\xff\xff\xff\xff")], Reason.PROTOCOL, "the server broke HTTP/2"),
        ([frame(5, 0x4, 1, b"\0\0\0\2")], Reason.PROTOCOL, "the server broke HTTP/2"),
        ([b"\x01\x00\x00" + frame(0, 0, 1)[3:]], Reason.PROTOCOL, "the server broke HTTP/2"),
    ],
)
async def test_a_broken_answer_is_called_by_its_name(wire: Wire, response: list[bytes], reason: Reason, words: str) -> None:
    """GOAWAY, resets, early ends and bytes that are not HTTP/2 have different messages, with how much of the response had come."""
    async with servers.canned(http2.SETTINGS + b"".join(response), then_close=True) as server:
        failed = await failure(make_context(wire), server.url, **CLEAR)

    assert (failed.reason, words in failed.message) == (reason, True), failed.message


async def test_a_goaway_after_our_stream_is_no_failure(wire: Wire) -> None:
    """A server that shuts down in order sends GOAWAY and finishes our response."""
    response = http2.SETTINGS + goaway(INFINITE, 0) + head() + data(b"last ") + goaway(1, 0)
    async with servers.canned(response) as server:
        result = await ask(make_context(wire), server.url, expect={"text": "last"}, **CLEAR)

    assert result.verdict is Verdict.PASS


async def test_what_is_no_http_2_is_quoted(wire: Wire) -> None:
    """A server of HTTP/1.1 that is spoken to in HTTP/2 says so itself."""
    async with servers.canned(answer(b"", status=b"400 Bad Request")) as server:
        failed = await failure(make_context(wire), server.url, **CLEAR)

    assert failed.reason is Reason.PROTOCOL
    assert "HTTP/1.1 400" in failed.message


async def test_flow_control_lets_a_long_answer_through(wire: Wire) -> None:
    """Three windows of a body come whole."""
    async with http2.site(lambda *_: (200, {}, b"x" * 3_000_000)) as (server, _):
        ctx = make_context(wire)
        await ask(ctx, server.url, body_cap="4MB", **CLEAR)

    assert ctx.facts["body_bytes"] == 3_000_000


async def test_a_long_body_is_sent_as_the_server_allows(wire: Wire) -> None:
    """A request longer than the server's window waits for it."""
    async with http2.site(_echo) as (server, _):
        probe = _posting(server, "x" * 200_000)
        result = await probe.run(make_context(wire))

    assert result.verdict is Verdict.PASS


def _posting(server: servers.Server, body: str) -> Http:
    target = {"name": "t", "url": f"http://127.0.0.1:{server.port}", "allow": ["POST /*"]}
    settings = {"target": target, "path": "/", "method": "POST", "body": body, "expect": {"text": f"POST / {len(body)}"}, **CLEAR}
    return Http.model_validate(settings)


async def test_an_endless_body_ends_at_the_cap(wire: Wire) -> None:
    """A body longer than the cap is a failure of size."""
    async with servers.endless(http2.SETTINGS + head(), data(b"x" * 16384, end=False)) as server:
        failed = await failure(make_context(wire), server.url, body_cap="100kB", **CLEAR)

    assert failed.reason is Reason.SIZE


async def test_a_head_beyond_its_cap_is_a_failure_of_size(wire: Wire) -> None:
    """Headers that decode to more than 64 KiB are refused, however small their frames are."""
    many = head(headers=tuple(("x-more", "y" * 1000) for _ in range(100)))
    async with servers.canned(http2.SETTINGS + many) as server:
        failed = await failure(make_context(wire), server.url, **CLEAR)

    assert failed.reason is Reason.SIZE


async def test_a_flood_of_continuations_is_bounded(wire: Wire) -> None:
    """CONTINUATION frames without end are a failure of size, not of memory."""
    begun = http2.SETTINGS + frame(1, 0, 1, b"\x88")
    async with servers.endless(begun, frame(9, 0, 1, b"\x00\x01a\x01b" * 10)) as server:
        failed = await failure(make_context(wire), server.url, **CLEAR)

    assert failed.reason is Reason.SIZE


async def test_interim_answers_and_trailers_are_passed_over(wire: Wire) -> None:
    """A 103 is no answer, and what follows the body is no part of it."""
    block = frame(1, 0x5, 1, Encoder().encode([("x-checksum", "1")]))
    response = http2.SETTINGS + head(103) + head() + data(b"body", end=False) + block
    async with servers.canned(response) as server:
        ctx = make_context(wire)
        result = await ask(ctx, server.url, expect={"text": "body"}, **CLEAR)

    assert result.verdict is Verdict.PASS
    assert ctx.facts["status_code"] == 200


async def test_settings_and_pings_are_answered(wire: Wire) -> None:
    """What a server says beside the answer does no harm and is acknowledged."""
    response = http2.SETTINGS + frame(6, 0, 0, b"pingpong") + head() + data(b"fine")
    async with servers.canned(response) as server:
        result = await ask(make_context(wire), server.url, **CLEAR)
        await server.left.wait()

    assert result.verdict is Verdict.PASS
    assert frame(4, 1, 0) in server.received
    assert frame(6, 1, 0, b"pingpong") in server.received


async def test_the_expected_version_is_judged(wire: Wire) -> None:
    """`expect: {http_version: 2}` fails as protocol where another one was spoken."""
    async with servers.canned(answer()) as server:
        failed = await failure(make_context(wire), server.url, expect={"http_version": 2})

    assert failed.reason is Reason.PROTOCOL
    assert failed.message == "HTTP/1.1, expected HTTP/2"
