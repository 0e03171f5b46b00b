"""Servers that try to stop the runner, each with the checks that meet it: `python -m tests.support.hostile bad` serves them all.

They run in a process of their own, so that what they cost is not taken for what the runner costs; `... good` serves a good one in
another. Each pours what it has into each connection until the client leaves, and sends at most 64 MiB.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dns.message
import dns.rrset

from tests.faults.damage import filled, numbered
from tests.faults.replies import ACCEPT, NONCE, NUMBER, message
from tests.support import odd_certificates as odd
from tests.support.http2 import SETTINGS, data, frame, head

_MOST = 64 * 1024 * 1024  # bytes for one connection
_PIECE = 64 * 1024  # bytes that are written at once
_HTTP = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HTTP + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % ACCEPT


@dataclass(frozen=True, slots=True)
class Hostile:
    """Each of `replies` is sent for the client's next bytes, and then `piece` for ever: at once, or a byte each `every` seconds.

    `check` is a check of checks.yaml without its name, and `count` how many of them ask.
    """

    check: str
    replies: tuple[bytes, ...] = ()
    piece: bytes = b""
    every: float = 0.0
    count: int = 1
    certificate: int = 0  # bytes of the certificate that is shown over TLS
    datagrams: int = 0  # for each datagram that comes


def _sized(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return _HTTP + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _http(reply: bytes, piece: bytes = b"", *, expect: str = "", more: str = "", every: float = 0.0) -> Hostile:
    settings = ["kind: http", "url: 'http://127.0.0.1:PORT/'", more, f"expect: {{{expect}}}" if expect else ""]
    return Hostile(f"{{{', '.join(filter(None, settings))}}}", (reply,) * (1 if piece else 40), piece, every)


def _http2(*replies: bytes, piece: bytes = b"") -> Hostile:
    return Hostile("{kind: http, url: 'http://127.0.0.1:PORT/', http: 2}", replies, piece)


def _grpc(*replies: bytes, piece: bytes = b"") -> Hostile:
    return Hostile("{kind: grpc, host: 127.0.0.1, port: PORT}", replies, piece)


def _websocket(piece: bytes, opening: bytes = b"") -> Hostile:
    return Hostile("{kind: websocket, url: 'ws://127.0.0.1:PORT/'}", (_UPGRADED + opening,), piece)


def _redis(*replies: bytes, piece: bytes = b"") -> Hostile:
    return Hostile("{kind: redis, url: 'redis://127.0.0.1:PORT/0'}", replies, piece)


def _postgres(*replies: bytes, piece: bytes = b"") -> Hostile:
    return Hostile("{kind: postgres, dsn: 'postgresql://u:example-1@127.0.0.1:PORT/d?sslmode=disable'}", replies, piece)


def _lines(piece: bytes) -> Hostile:
    return Hostile("{kind: tcp, host: 127.0.0.1, port: PORT, dialogue: [{send: hello}, {expect: never}]}", (b"",), piece)


def _events(piece: bytes) -> Hostile:
    check = "{kind: ai, url: 'http://127.0.0.1:PORT/v1/chat/completions', api: openai, model: m, key: example-key-1, prompt: hello}"
    return Hostile(check, (_HTTP + b"Content-Type: text/event-stream\r\n\r\n",), piece)


def _journey(token: bytes) -> Hostile:
    first = "{name: login, get: /, capture: {token: $.t}}"
    second = "{name: look, get: /next, headers: {X-Trip: '{{token}}'}}"
    return Hostile(f"{{kind: journey, url: 'http://127.0.0.1:PORT', steps: [{first}, {second}]}}", (_sized(b'{"t": "%s"}' % token),) * 40)


def _dns(many: int, transport: str, datagrams: int = 0) -> Hostile:
    answer = dns.message.make_response(dns.message.make_query("many.example", "A", use_edns=0, payload=1232))
    answer.answer = [dns.rrset.from_text_list("many.example.", 60, "IN", "A", [f"10.{n >> 8}.{n & 255}.1" for n in range(many)])]
    wire = NUMBER + answer.to_wire(max_size=65535)[2:]
    reply = wire if transport == "udp" else struct.pack("!H", len(wire) - 1) + wire  # the number is a byte shorter than what stands for it
    check = f"{{kind: dns, name: many.example, server: '127.0.0.1:PORT', transport: {transport}}}"
    return Hostile(check, (reply,), datagrams=datagrams)


_WIDE = json.dumps([{}] * 340_000).encode()
_MANY = json.dumps([{}] * 24_000).encode()  # as many as are read at all
_OPENED = frame(1, 0x4, 1, head()[9:])  # the head of a response whose end never comes
_ENTERED = message(b"R")(bytes(4)) + message(b"Z")(b"I")
_PATHS = 'json: {"$[*].id": {count: 0}, "$..x": {count: 0}, "$..y": {count: 0}}'
_COOKIES = b"".join(b"Set-Cookie: c%d=%s\r\n" % (number, b"s" * 1400) for number in range(40))
_MOVED = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n%s\r\n"
_SCRAM = message(b"R")(struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
_ROUNDS = message(b"R")(struct.pack("!i", 11) + b"r=" + NONCE + b"abc,s=c2FsdHNhbHQ=,i=2147483647")
HOSTILE: dict[str, Hostile] = {
    "charset punycode": _http(_sized(b"a-" + b"a" * 1_000_000, "Content-Type: text/html; charset=punycode"), expect="text: Welcome"),
    "charset idna": _http(_sized(b"a" * 1_000_000, "Content-Type: text/html; charset=idna"), expect="text: Welcome"),
    "charset utf-7": _http(_sized(b"+AAA-" * 200_000, "Content-Type: text/html; charset=utf-7"), expect="text: Welcome"),
    "charset utf-16": _http(_sized(b"\xd8\x00" * 500_000, "Content-Type: text/html; charset=utf-16be"), expect="regex: 'a.*b.*c'"),
    "head without end": _http(_HTTP, b"X-A: aaaaaaaaaaaaaaaa\r\n"),
    "empty headers": _http(_HTTP, b"X:\r\n"),
    "line without end": _http(_HTTP + b"X: ", b"a"),
    "interim responses": _http(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "trailer without end": _http(_CHUNKED + b"2\r\n{}\r\n0\r\nX-1: ", b"a"),
    "many trailers": _http(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X:\r\n"),
    "chunk extension": _http(_CHUNKED + b"2;", b"a"),
    "tiny chunks": _http(_CHUNKED, b"1\r\na\r\n", expect="text: nothing"),
    "body without end": _http(_HTTP + b"\r\n", b"a", expect="text: nothing"),
    "gzip bomb": _http(_sized(gzip.compress(b"a" * 50_000_000), "Content-Encoding: gzip"), expect="text: nothing"),
    "wide document": _http(_sized(_WIDE), expect=_PATHS),
    "many elements": _http(_sized(_MANY), expect=_PATHS),
    "deep document": _http(_sized(b"[" * 1_000_000), expect="json: {$.a: 1}"),
    "long number": _http(_sized(b'{"a": %s}' % (b"9" * 1_000_000)), expect="json: {$.a: 1}"),
    "no JSON": _http(_sized(b"\\u0041" * 170_000), expect="json: {$.a: 1}"),
    "cookies": _http(_MOVED % _COOKIES, more="redirects: 3"),
    "very many cookies": _http(_MOVED % (b"Set-Cookie: a=b; Expires=Wed, 21 Oct 2027 07:28:00 GMT\r\n" * 900), more="redirects: 3"),
    "slow drip": _http(_HTTP, b"X-Slow: aaaaaaa\r\n", every=0.001),
    "captured secret of 700 KB": _journey(b"t" * 700_000),
    "captured secret of 5 KB": _journey(b"%41+/" * 1000),
    "http/2 settings": _http2(SETTINGS, piece=SETTINGS),
    "http/2 pings": _http2(SETTINGS, piece=frame(6, 0, 0, b"12345678")),
    "http/2 window updates": _http2(SETTINGS, piece=frame(8, 0, 0, b"\x00\x00\x00\x01")),
    "http/2 priorities": _http2(SETTINGS, piece=frame(2, 0, 1, b"\x00\x00\x00\x00\x01")),
    "http/2 empty data": _http2(SETTINGS + _OPENED, piece=data(b"", end=False)),
    "http/2 continuations": _http2(SETTINGS + frame(1, 0, 1, b""), piece=frame(9, 0, 1, b"")),
    "http/2 unknown frames": _http2(SETTINGS, piece=frame(0xFA, 0, 0, b"")),
    "http/2 large header": _http2(SETTINGS + frame(1, 0, 1, b"\x00\x01x\x7f\x80\xff\xff\x7f"), piece=frame(9, 0, 1, b"a" * 16_000)),
    "grpc pings": _grpc(SETTINGS, piece=frame(6, 0, 0, b"12345678")),
    "grpc settings": _grpc(SETTINGS, piece=SETTINGS),
    "websocket pings": _websocket(b"\x89\x00"),
    "websocket pongs": _websocket(b"\x8a\x00"),
    "websocket empty pieces": _websocket(b"\x00\x00", b"\x01\x01a"),
    "websocket empty messages": _websocket(b"\x81\x00"),
    "redis replies": _redis(b"*1000000\r\n", piece=b":1\r\n"),
    "redis nesting": _redis(b"*1\r\n", piece=b"*1\r\n"),
    "redis texts": _redis(b"", piece=b"+\r\n"),
    "postgres rounds of hashing": _postgres(_SCRAM, _ROUNDS),
    "postgres notices": _postgres(_ENTERED, piece=message(b"N")(b"SNOTICE\0Ma\0\0")),
    "postgres settings": _postgres(message(b"R")(bytes(4)), piece=message(b"S")(b"a\0b\0")),
    "postgres rows": _postgres(_ENTERED, message(b"T")(b"\0\0"), piece=message(b"D")(b"\0\0")),
    "tcp lines": _lines(b"x\r\n"),
    "tcp line": _lines(b"x"),
    "events": _events(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'),
    "empty events": _events(b"\n"),
    "addresses over TCP": _dns(4000, "tcp"),
    "addresses over UDP": _dns(3900, "udp", 1),
    "forged datagrams": Hostile("{kind: dns, name: many.example, server: '127.0.0.1:PORT'}", (b"\0\0" + bytes(30),), datagrams=300),
    "certificate of 80 KB": Hostile("{kind: tls, host: 127.0.0.1, port: PORT, tls: {verify: false}}", certificate=80_000),
    "certificate of 80 KB over HTTP": Hostile("{kind: http, url: 'https://127.0.0.1:PORT/', tls: {verify: false}}", certificate=80_000),
    "a thousand hanging checks": Hostile("{kind: http, url: 'http://127.0.0.1:PORT/', interval: 10s}", count=1000),
}


class _Pouring(asyncio.Protocol):
    def __init__(self, hostile: Hostile) -> None:
        self._hostile, self._left = hostile, _MOST
        self._replies = list(hostile.replies)
        self._piece = hostile.piece * (_PIECE // len(hostile.piece)) if hostile.piece else b""
        self._paused = False
        self._next: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._replies:
            return
        self._transport.write(numbered(filled(self._replies.pop(0), data), data[2:]))
        if not self._replies and self._hostile.every:
            self._drip(0)
        elif not self._replies and self._piece:
            self._pour()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next:
            self._next.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._replies and self._piece:
            self._pour()

    def _pour(self) -> None:
        while not self._paused and self._left > 0 and not self._transport.is_closing():
            self._left -= len(self._piece)
            self._transport.write(self._piece)

    def _drip(self, at: int) -> None:
        self._transport.write(self._hostile.piece[at : at + 1])
        following = (at + 1) % len(self._hostile.piece)
        self._next = asyncio.get_running_loop().call_later(self._hostile.every, self._drip, following)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, hostile: Hostile) -> None:
        self._hostile = hostile

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for _ in range(self._hostile.datagrams):
            self._transport.sendto(numbered(self._hostile.replies[0], data), addr)


class _Good(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, _data: bytes) -> None:
        self._transport.write(_sized(b'{"ok": true}', "Content-Type: application/json"))


def _context(folder: str, size: int) -> ssl.SSLContext:
    """Shows a certificate of at least so many bytes, most of them names."""
    file = Path(folder, f"{size}.pem")
    names = ((0x82, b"%05d.%s.test" % (number, b"n" * 40)) for number in range(size // 50))
    odd.write(file, odd.Parts(extensions=(odd.names(odd.LOCALHOST, *names),)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def _serve(hostile: Hostile, folder: str) -> int:
    """Serves, and returns the port."""
    loop = asyncio.get_running_loop()
    if hostile.datagrams:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(hostile), local_addr=("127.0.0.1", 0))
        return int(transport.get_extra_info("sockname")[1])
    tls = _context(folder, hostile.certificate) if hostile.certificate else None
    server = await loop.create_server(lambda: _Pouring(hostile), "127.0.0.1", 0, ssl=tls, backlog=2000)
    return int(server.sockets[0].getsockname()[1])


async def main(which: str) -> None:
    """Prints one line of JSON: the port of each server by its name. Serves until its input ends."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        if which == "good":
            ports = {"good": (await loop.create_server(_Good, "127.0.0.1", 0)).sockets[0].getsockname()[1]}
        else:
            ports = {name: await _serve(hostile, folder) for name, hostile in HOSTILE.items()}
        print(json.dumps(ports), flush=True)  # noqa: T201 - for whoever started it
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
