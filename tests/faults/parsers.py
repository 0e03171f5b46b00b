"""What reads the bytes of others, each as a function of bytes alone: targets of the coverage-guided fuzzer, and seeds for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError
from redis.exceptions import RedisError
from wsproto.events import Request as Handshake

from judge.redact import Redactor
from probes.core import Failed
from probes.expect.dialogue import ReceiveBuffer
from probes.expect.json_path import JsonPath
from probes.expect.status import throttled_until
from probes.http.charset import decode
from probes.http.cookies import Cookies
from probes.http.decoding import Decoder
from probes.http.exchange import Connection, OutgoingRequest
from probes.http.http1 import Http1
from probes.http.http2 import Http2
from probes.http.message import Request, Response
from probes.http.redirects import following
from probes.kinds.ai.events import EventReader
from probes.kinds.ai.gemini import Gemini
from probes.kinds.ai.openai import OpenAI
from probes.kinds.dns.exchange import read_message
from probes.kinds.dns.expected import in_text
from probes.kinds.grpc.messages import serving_status
from probes.kinds.http import Http
from probes.kinds.metrics.page import Page
from probes.kinds.postgres.dsn import read_dsn
from probes.kinds.postgres.frames import Frames, Malformed, error_fields, messages
from probes.kinds.postgres.session import _columns, _described
from probes.kinds.postgres.values import read_value
from probes.kinds.redis.connection import Connection as RedisConnection
from probes.kinds.redis.connection import error_text
from probes.kinds.redis.url import read_redis_url
from probes.kinds.websocket.connection import Rejected, Socket
from probes.wire.certificate import Certificate
from probes.wire.stream import Stream
from probes.wire.wire import Wire
from runner.config.document import parse
from runner.config.errors import PlanError
from tests.faults.damage import filled
from tests.faults.replies import ODD, REPLIES
from tests.support.context import make_context

CAP = 1024 * 1024  # bytes of a body
OIDS = (
    16,
    17,
    20,
    21,
    23,
    25,
    114,
    600,
    700,
    701,
    1000,
    1005,
    1007,
    1009,
    1016,
    1042,
    1043,
    1082,
    1114,
    1115,
    1184,
    1186,
    1700,
    2950,
    3802,
)


@dataclass(frozen=True, slots=True)
class Parser:
    """`read` takes any bytes. It may raise `refuses`, and nothing else. `seeds` are bytes that it takes."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    refuses: tuple[type[Exception], ...] = (Failed,)

    def __call__(self, data: bytes) -> None:
        """Reads. Raises what is a finding."""
        with contextlib.suppress(*self.refuses):
            self.read(data)


class _Server(asyncio.Transport):
    """A transport whose other end sends `reply` once it was asked, and closes."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self._reply = [reply]
        self._protocol: Any = None
        self._closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._reply:
            asyncio.get_running_loop().call_soon(self._send, filled(self._reply.pop(), bytes(data)))

    def _send(self, reply: bytes) -> None:
        if self._closed:
            return
        half = len(reply) // 2  # in two pieces
        for piece in (reply[:half], reply[half:]):
            if piece:
                self._protocol.data_received(piece)
        self._protocol.eof_received()

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        """All comes at once."""

    def resume_reading(self) -> None:
        """All has come."""

    def close(self) -> None:
        self._closed = True

    def abort(self) -> None:
        self._closed = True


def _talk(reply: bytes, client: Callable[[Stream, Any], Awaitable[object]]) -> None:
    """Lets a client talk to a server that sends this."""

    async def talk() -> None:
        stream, server = Stream(time.monotonic), _Server(reply)
        server.set_protocol(stream)
        stream.connection_made(server)
        wire = Wire()
        try:
            async with asyncio.timeout(1.0):
                await client(stream, make_context(wire))
        finally:
            await wire.aclose()

    asyncio.run(talk())


def _exchange(connection: Callable[[Stream], Connection]) -> Callable[[bytes], None]:
    async def ask(stream: Stream, ctx: Any) -> None:
        exchange = await connection(stream).send(ctx, OutgoingRequest("GET", b"/", "http", ((b"Host", b"h"),), b""))
        await exchange.receive_head()
        async for _ in exchange.body():
            pass
        exchange.fields()

    return lambda data: _talk(data, ask)


def _websocket(data: bytes) -> None:
    async def ask(stream: Stream, ctx: Any) -> None:
        socket = Socket(ctx, stream)
        await socket.open(Handshake(host="h", target="/", subprotocols=[], extra_headers=[]))
        await socket.receive()
        await socket.ping(b"outrider", may_close=True)
        await socket.closed(1000)

    _talk(data, ask)


def _redis(data: bytes) -> None:
    async def ask(stream: Stream, ctx: Any) -> None:
        connection = RedisConnection(stream, "h:1", ctx.clock.monotonic)
        await connection._connect()
        connection._parser.on_connect(connection)  # type: ignore[no-untyped-call]  # redis-py has no types there
        try:
            for _ in range(5):
                repr(await connection.execute("PING"))
        except RedisError as error:
            error_text(error)
        finally:
            await connection.disconnect(nowait=True)
            connection.transport.abort()

    _talk(data, ask)


def _dns(data: bytes) -> None:
    response = read_message(data)
    for record in (record for rrset in response.answer for record in rrset):
        in_text(record).encode()
    response.rcode()


def _cookies(data: bytes) -> None:
    cookies = Cookies()
    cookies.store("http://www.example.com/a/b?c", data.split(b"\n"), 1e9)
    cookies.add_to(httpx.Request("GET", "http://www.example.com/a/b/d"), lambda _: None)


def _charset(data: bytes) -> None:
    kind, _, body = data.partition(b"\n")
    decode(body, kind.decode("latin-1"))


def _postgres(data: bytes) -> None:
    frames = Frames(65536)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        for kind, content in messages(frames.feed(piece)):
            if kind in (b"E", b"N"):
                error_fields(content)
            elif kind == b"T":
                list(_described(content))
            elif kind == b"D":
                _columns(content)


def _value(data: bytes) -> None:
    if data:
        json.dumps(read_value(OIDS[data[0] % len(OIDS)], data[1:]))


def _events(data: bytes) -> None:
    reader = EventReader()
    half = len(data) // 2
    for event in (*reader.feed(data[:half]), *reader.feed(data[half:]), *reader.rest()):
        value = json.loads(event.data)
        for api in (OpenAI(), Gemini()):
            str(api.read(value).error)


def _text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _json_path(data: bytes) -> None:
    query, _, document = data.partition(b"\n")
    path = JsonPath.parse(_text_of(query))
    path.find(Response(200, (), document or b'{"a": [1, {"b": "x"}]}', 0.1, "http://h/").json())


def _response(data: bytes) -> None:
    head, _, body = data.partition(b"\n\n")
    pairs = (line.partition(b":") for line in head.split(b"\n"))
    headers = tuple((name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, _, value in pairs)
    response = Response(429, headers, body, 0.1, "http://h/")
    throttled_until(response).encode()
    response.text().encode()
    response.json()


def _url(data: bytes) -> None:
    text = _text_of(data)
    with contextlib.suppress(ValueError):
        read_dsn(text)
    with contextlib.suppress(ValueError):
        read_redis_url(text)
    check = Http.model_validate({"url": text})
    check.address()
    check.asks()


def _location(data: bytes) -> None:
    request = following(Request("POST", "https://example.com/a/b?c=d", {"X-A": "b"}, b"x"), 302, data)
    assert request is None or request.url


def _encoded(data: bytes) -> None:
    name, _, body = data.partition(b"\n")
    decoder = Decoder(name.decode("latin-1"), CAP)
    for at in range(0, len(body), 8192):
        assert len(decoder.feed(body[at : at + 8192])) <= CAP
    decoder.end()


def _redacted(data: bytes) -> None:
    text = _text_of(data)
    assert "s3cret-of-the-suite" not in Redactor({"s3cret-of-the-suite", 't9%2F&<>+/"'}).text(text)


def _metrics(data: bytes) -> None:
    for _ in Page(data[1:], openmetrics=data[:1] == b"o", most=1000).batches():
        pass


def _lines(data: bytes) -> None:
    buffer = ReceiveBuffer()
    buffer.feed(data)
    while buffer.line() is not None:
        pass


def _whole(*askings: str) -> tuple[bytes, ...]:
    """The first replies of these ways of asking, undamaged."""
    return tuple(b"".join(unit.wrapped().data for unit in dialogue[0]) for asking in askings for dialogue in REPLIES[asking])


_COOKIES = (
    b"a=b; Path=/; Domain=.example.com; Expires=Wed, 21 Oct 2027 07:28:00 GMT; Max-Age=9; Secure",
    b"name=J\xc3\xb6rg",
    b'a="b;c"; =d',
)
_LONGER = (ValueError, struct.error)
PARSERS: Mapping[str, Parser] = {
    "http1": Parser(_exchange(Http1), _whole("http")),
    "http1-strict": Parser(_exchange(lambda stream: Http1(stream, strict=True)), _whole("http")),
    "http2": Parser(_exchange(Http2), _whole("http/2", "grpc")),
    "websocket": Parser(_websocket, _whole("websocket"), (Failed, Rejected, OSError)),
    "redis": Parser(
        _redis,
        (*_whole("redis"), b"*2\r\n*1\r\n:1\r\n$-1\r\n", b"-ERR unknown\r\n", b"$3\r\nabc\r\n"),
        (OSError, ValueError, RecursionError),
    ),
    "dns": Parser(_dns, tuple(reply.replace(b"{n}", b"\0\1") for reply in _whole("dns"))),
    "certificate": Parser(lambda data: repr(Certificate.read(data)), ()),
    "metrics": Parser(
        _metrics,
        (b't# TYPE a counter\na{b="c\\"",d=""} 1e3 1700\n', b'o# TYPE a histogram\na_bucket{le="1"} 1 # {} 1\n# EOF\n'),
    ),
    "cookies": Parser(_cookies, _COOKIES),
    "charset": Parser(
        _charset,
        (b"text/html; charset=utf-16\n\xff\xfea\0", b"text/html\n<meta charset='euc-jp'>\xb0\xa1", b"a; charset=gb18030\n\x81\x30"),
    ),
    "postgres-messages": Parser(
        _postgres, tuple(b"".join(u.wrapped().data for r in d for u in r) for d in REPLIES["postgres"]), (Malformed, *_LONGER)
    ),
    "postgres-values": Parser(
        _value, tuple(bytes([at]) + text for at in range(len(OIDS)) for text in (b"12345678", b"{1,{2,NULL}}")), _LONGER
    ),
    "events": Parser(
        _events, (_whole("ai")[0].partition(b"\r\n\r\n")[2], b"data: {}\r\rdata\r\n\n: x\nid: 1\n\n"), (Failed, ValueError, RecursionError)
    ),
    "grpc": Parser(serving_status, (b"\0\0\0\0\2\x08\1", b"\0\0\0\0\4\x08\xff\xff\1")),
    "json-path": Parser(
        _json_path, (b"$.a[?@.b == 'x'].c\n", b"$..[1:2,-1]\n[[1,2],[3]]", b'$[?match(@.a, "x.*")]\n[{"a":"xy"}]'), (Failed, ValueError)
    ),
    "response": Parser(
        _response,
        (b'retry-after: 120\ncontent-type: a; charset=utf-8\n\n{"a": [1e3]}', b"x-ratelimit-reset: 17\n\n[]"),
        (Failed, ValueError, RecursionError),
    ),
    "yaml": Parser(
        lambda data: parse(data, "checks.yaml"),
        (b"version: 1\nchecks:\n  a: &x {kind: http, url: '${A:-b}'}\n  b: *x\n", b"- |\n  a\n- >-\n b\n"),
        (PlanError,),
    ),
    "urls": Parser(
        _url,
        (b"postgresql://a:b%40c@[::1]:5432/d?sslmode=disable", b"rediss://:p@h:6379/0?ssl_cert_reqs=none", b"https://h:1/a?b=c#d"),
        (ValidationError,),
    ),
    "location": Parser(_location, (b"/a?b", b"//b.example/%e9", "http://bücher.example/ü".encode(), b"https://u:p@[::1]:8443/..;/a")),
    "encodings": Parser(
        _encoded,
        (
            b"gzip\n\x1f\x8b\x08\0\0\0\0\0\0\x03K\4\0C\xbe\xb7\xe8\1\0\0\0",
            b"deflate\nx\x9cK\4\0\0b\0b",
            b"br\n\x0b\0\x80a\3",
            b"zstd\n(\xb5/\xfd \1\t\0\0a",
        ),
    ),
    "redaction": Parser(
        _redacted, (b"a s3cret-of-the-suite b", b"%73%33cret-of-the-suite", b"czNjcmV0LW9mLXRoZS1zdWl0ZQ==", b"\\u0073&#x33;")
    ),
    "lines": Parser(_lines, (b"220 a\r\n250-b\n", b"a" * 9000)),
}
WORDS = ODD  # that the fuzzer puts in
