"""The table of the fault suite: what a server does, and with which reason each way of asking must fail by it.

A row is met by every kind: in a case, or in `without`, which says why it can't be.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from hpack import Encoder
from wsproto.events import AcceptConnection, TextMessage

from probes.core import Reason
from tests.faults.askings import ASKINGS
from tests.support import servers
from tests.support.ca import Authority
from tests.support.databases import postgres_front
from tests.support.handshakes import shaking
from tests.support.http2 import SETTINGS, data, frame, goaway, head
from tests.support.nameserver import nameserver
from tests.support.websockets import Peer, websocket

Make = Callable[[Authority], AbstractAsyncContextManager[servers.Server]]
Reasons = frozenset[Reason]
PASSES: Reasons = frozenset()  # what such a server does is all that this asking wants

HTTP = ("http", "journey", "health_metrics", "metrics", "promql", "ai", "ai/gemini", "booking")
OVER_TLS = (*HTTP, "http/2", "websocket", "grpc", "tcp", "tcp/dialogue", "tls", "redis")
LATE_TLS = ("tcp/starttls", "postgres")  # they ask in the open first whether there is TLS
TCP = tuple(name for name in ASKINGS if name not in ("dns/udp", "icmp"))
SPEAKING = tuple(name for name in TCP if name not in ("tcp", "tls"))
H2 = ("http/2", "grpc")

NO_CONNECTION = {"dns/udp": "asks by datagrams: there is no connection", "icmp": "has no port on which a server could misbehave"}
NO_HTTP = {
    **dict.fromkeys(("tcp", "tcp/dialogue", "tcp/starttls", "tls", "dns", "postgres", "redis"), "doesn't speak HTTP"),
    **NO_CONNECTION,
}


@dataclass(frozen=True)
class Case:
    """One server, the ways of asking that meet it, and the reasons that fit; an empty set where they pass."""

    make: Make
    askings: tuple[str, ...]
    reasons: Reasons
    host: str = ""  # instead of the server's own: over TLS, localhost


@dataclass(frozen=True)
class Row:
    """A fault. `waits`: it is known by the deadline alone. `tls`: asked over TLS."""

    cases: tuple[Case, ...]
    without: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False
    tls: bool = False


def _canned(*answers: bytes) -> Make:
    return lambda _: servers.canned(*answers, then_close=True)


def _resetting(say: bytes = b"") -> Make:
    return lambda _: servers.resetting(say, once_asked=True)


def _dripping(text: bytes) -> Make:
    return lambda _: servers.dripping(text, every=0.002)


def _endless(begin: bytes = b"", piece: bytes = b"x" * 65536) -> Make:
    return lambda _: servers.endless(begin, piece)


@asynccontextmanager
async def _mute_nameserver(_: Authority) -> AsyncIterator[servers.Server]:
    async with nameserver(lambda _: None) as mute:
        yield servers.Server(servers.HOST, mute.port)


@asynccontextmanager
async def _no_route(_: Authority) -> AsyncIterator[servers.Server]:
    yield servers.Server(servers.NO_ROUTE, 80)


async def _chatter(peer: Peer) -> None:
    await peer.request()
    peer.say(AcceptConnection())
    while True:
        peer.say(TextMessage("x" * 60_000))
        await peer.writer.drain()


def _all(make: Callable[[], AbstractAsyncContextManager[servers.Server]], askings: tuple[str, ...], *reasons: Reason) -> Case:
    return Case(lambda _: make(), askings, frozenset(reasons))


def _by(make: Make, askings: tuple[str, ...], *reasons: Reason) -> Case:
    return Case(make, askings, frozenset(reasons))


OK = b"HTTP/1.1 200 OK\r\n"
GRPC = head(headers=(("content-type", "application/grpc"),))
SLOW_HELLO = bytes.fromhex("160303100002000ffc0303") + b"z" * 10_000  # a ServerHello that takes its time
TRAILERS = frame(1, 0x5, 1, Encoder().encode([("grpc-status", "0")]))
BOMB = gzip.compress(bytes(16_000_000))


def _pieces(body: bytes) -> bytes:
    """As much of a body as a client lets come unasked."""
    return b"".join(data(body[at : at + 16_000], end=False) for at in range(0, 60_000, 16_000))


def _redirect(location: bytes) -> Make:
    return _canned(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)


def _redirect2(location: str) -> Make:
    return _canned(SETTINGS + head(302, end=True, headers=(("location", location),)))


def _redirected(location: str) -> tuple[Case, ...]:
    """Only `http` follows redirects, and it follows none to where the check may not ask."""
    return (
        _by(_redirect(location.encode()), ("http",), Reason.POLICY),
        _by(_redirect(location.encode()), (*HTTP[1:], "websocket"), Reason.REDIRECT),
        _by(_redirect2(location), ("http/2",), Reason.POLICY),
        _by(_redirect2(location), ("grpc",), Reason.REDIRECT),
    )


def _tls_fault(which: str, reason: Reason) -> Row:
    """The same certificate before every kind that speaks TLS: at once, or after a question in the open."""
    return Row(
        (
            Case(lambda authority: shaking(getattr(authority, which)), OVER_TLS, frozenset({reason}), "localhost"),
            Case(lambda authority: postgres_front(9, getattr(authority, which)), LATE_TLS, frozenset({reason}), "localhost"),
        ),
        dict.fromkeys(("dns", "dns/udp", "icmp"), "doesn't speak TLS"),
        tls=True,
    )


NETWORK: dict[str, Row] = {
    "refuse": Row(
        (_all(servers.refusing, (*TCP, "dns/udp"), Reason.REFUSED),),
        {"icmp": "has no port that could refuse"},
    ),
    "unreachable": Row((_by(_no_route, tuple(ASKINGS), Reason.UNREACHABLE),)),
    "black hole": Row((_all(servers.black_hole, TCP, Reason.TIMEOUT),), NO_CONNECTION, waits=True),
    "silent after accept": Row(
        (
            _all(servers.silent, (*SPEAKING, "tls"), Reason.TIMEOUT),
            _all(servers.silent, ("tcp",)),
            _by(_mute_nameserver, ("dns/udp",), Reason.TIMEOUT),
        ),
        {"icmp": NO_CONNECTION["icmp"]},
        waits=True,
    ),
    "silent before the handshake": Row(
        (Case(lambda _: servers.silent(), (*OVER_TLS, *LATE_TLS), frozenset({Reason.TIMEOUT})),),
        dict.fromkeys(("dns", "dns/udp", "icmp"), "doesn't speak TLS"),
        waits=True,
        tls=True,
    ),
    "close at once": Row(
        (
            _all(servers.closing, SPEAKING, Reason.TRUNCATED, Reason.RESET),
            _all(servers.closing, ("tls",), Reason.TLS),
            _all(servers.closing, ("tcp",)),
        ),
        NO_CONNECTION,
    ),
    "half-close": Row(
        (
            _all(servers.half_closing, SPEAKING, Reason.TRUNCATED),
            _all(servers.half_closing, ("tls",), Reason.TLS),
            _all(servers.half_closing, ("tcp",)),
        ),
        NO_CONNECTION,
    ),
    "reset when asked": Row(
        (_by(_resetting(), (*SPEAKING, "tls"), Reason.RESET), _by(_resetting(), ("tcp",))),
        NO_CONNECTION,
    ),
    "reset mid-stream": Row(
        (
            _by(_resetting(OK + b"Content-Length: 90\r\n\r\nhalf"), HTTP, Reason.RESET),
            _by(_resetting(SETTINGS + GRPC + data(b"half", end=False)), H2, Reason.RESET),
            _by(_resetting(b"HTTP/1.1 101 Switch"), ("websocket",), Reason.RESET),
            _by(_resetting(b"+PO"), ("tcp/dialogue",), Reason.RESET),
            _by(_resetting(b"S"), ("tcp/starttls",), Reason.RESET),
            _by(_resetting(SLOW_HELLO[:60]), ("tls",), Reason.RESET),
            _by(_resetting(b"\0\x40\x12"), ("dns",), Reason.RESET),
            _by(_resetting(b"R\0\0\0\x17\0\0"), ("postgres",), Reason.RESET),
            _by(_resetting(b"$90\r\nha"), ("redis",), Reason.RESET),
        ),
        {"tcp": "reads nothing", **NO_CONNECTION},
    ),
    "one byte at a time for ever": Row(
        (
            _by(_dripping(OK + b"X-Slow: " + b"z" * 10_000), (*HTTP, "websocket"), Reason.TIMEOUT),
            _by(_dripping(OK + b"\r\n"), HTTP, Reason.TIMEOUT),
            _by(_dripping(SETTINGS + frame(6, 0, 0, b"pingpong") * 1000), H2, Reason.TIMEOUT),
            _by(_dripping(b"z"), ("tcp/dialogue",), Reason.TIMEOUT),
            _by(_dripping(b"S" + SLOW_HELLO), ("tcp/starttls",), Reason.TIMEOUT),
            _by(_dripping(SLOW_HELLO), ("tls",), Reason.TIMEOUT),
            _by(_dripping(b"\xff\xff" + b"z" * 10_000), ("dns",), Reason.TIMEOUT),
            _by(_dripping(b"N\0\0\x40\0" + b"z" * 10_000), ("postgres",), Reason.TIMEOUT),
            _by(_dripping(b"$900000\r\n" + b"z" * 10_000), ("redis",), Reason.TIMEOUT),
        ),
        {"tcp": "reads nothing", **NO_CONNECTION},
        waits=True,
    ),
}

ANSWERS: dict[str, Row] = {
    "endless body": Row(
        (
            _by(_endless(OK + b"\r\n"), HTTP, Reason.SIZE),
            _by(_endless(SETTINGS + GRPC, data(b"x" * 16384, end=False)), H2, Reason.SIZE),
            _by(_endless(), ("tcp/dialogue",), Reason.SIZE),
            _by(_endless(), ("tls",), Reason.TLS),
            _by(_endless(b"R\0\0\0\x08\0\0\0\0", b"S\0\0\0\x08a\0b\0" * 1000), ("postgres",), Reason.SIZE),
            _by(_endless(b"$9999999999\r\n"), ("redis",), Reason.SIZE),
            _by(_endless(), ("dns",), Reason.SIZE),
            _by(_endless(), ("tcp/starttls",), Reason.PROTOCOL),
            _by(lambda _: websocket(_chatter), ("websocket",), Reason.SIZE),
        ),
        {"tcp": "reads nothing", **NO_CONNECTION},
    ),
    "endless headers": Row(
        (
            _by(_endless(OK, b"X-More: and more and more\r\n" * 100), (*HTTP, "websocket"), Reason.SIZE),
            _by(_endless(SETTINGS + frame(1, 0, 1, b"\x88"), frame(9, 0, 1, b"\x00\x01a\x01b" * 10)), H2, Reason.SIZE),
        ),
        NO_HTTP,
    ),
    "chunked lies": Row(
        (
            _by(_canned(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), HTTP, Reason.PROTOCOL),
            _by(_canned(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"), HTTP, Reason.PROTOCOL),
            _by(_canned(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhello"), HTTP, Reason.TRUNCATED),
        ),
        {**dict.fromkeys(H2, "HTTP/2 has no chunks"), "websocket": "its answer has no body", **NO_HTTP},
    ),
    "wrong content length": Row(
        (
            _by(_canned(OK + b"Content-Length: 90\r\n\r\nhello"), HTTP, Reason.TRUNCATED),
            _by(_canned(OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello"), HTTP, Reason.PROTOCOL),
            _by(_canned(OK + b"Content-Length: -3\r\n\r\nhello"), HTTP, Reason.PROTOCOL),
            _by(
                _canned(SETTINGS + head(headers=(("content-length", "90"), ("content-type", "application/grpc"))) + data(b"short")),
                H2,
                Reason.TRUNCATED,
            ),
        ),
        {"websocket": "its answer has no body", **NO_HTTP},
    ),
    "gzip bomb": Row(
        (
            _by(_canned(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB), HTTP, Reason.SIZE),
            _by(_canned(SETTINGS + head(headers=(("content-encoding", "gzip"),)) + _pieces(BOMB)), ("http/2",), Reason.SIZE),
            _by(_canned(SETTINGS + GRPC + data(b"\x01\0\0\0\x02\x08\x01", end=False) + TRAILERS), ("grpc",), Reason.PROTOCOL),
        ),
        {"websocket": "its answer has no body", **NO_HTTP},
    ),
    "redirect loop": Row(
        (
            _by(_redirect(b"/again"), (*HTTP, "websocket"), Reason.REDIRECT),
            _by(_redirect2("/again"), H2, Reason.REDIRECT),
        ),
        NO_HTTP,
    ),
    "redirect to another host": Row(_redirected("http://127.0.0.2:9/"), NO_HTTP),
    "redirect to a denied address": Row(_redirected("http://169.254.169.254/latest/meta-data"), NO_HTTP),
    "GOAWAY": Row(
        (
            _by(_canned(SETTINGS + goaway(0, 0)), H2, Reason.RESET),
            _by(_canned(SETTINGS + goaway(0, 11, b"too many pings")), H2, Reason.PROTOCOL),
            _by(_canned(SETTINGS + GRPC + data(b"half", end=False) + goaway(1, 0)), H2, Reason.TRUNCATED),
        ),
        {**dict.fromkeys((*HTTP, "websocket"), "speaks HTTP/1.1"), **NO_HTTP},
    ),
}

CERTIFICATES: dict[str, Row] = {
    "expired": _tls_fault("expired", Reason.EXPIRED),
    "not yet valid": _tls_fault("not_yet", Reason.NOT_YET_VALID),
    "wrong host": _tls_fault("wrong_host", Reason.HOSTNAME),
    "self-signed": _tls_fault("self_signed", Reason.UNTRUSTED),
    "unknown CA": _tls_fault("stranger", Reason.UNTRUSTED),
    "incomplete chain": _tls_fault("incomplete", Reason.CHAIN),
    "old protocol": _tls_fault("ancient", Reason.TLS),
}

ROWS = {**NETWORK, **ANSWERS, **CERTIFICATES}
