"""Valid replies to each way of asking, in units: what the fuzz suite begins with before it damages them."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import dns.message
import dns.rrset
from hpack import Encoder

from tests.faults.askings import SECRET
from tests.support.http2 import SETTINGS, frame

ACCEPT = b"{accept}"  # stands for what RFC 6455, 4.2.2 makes of the client's key
PING = b"{ping...}"[:8]  # stands for the payload of the client's ping
VALUE = b"{value}........."  # stands for what SET wrote
NONCE = b"{nonce}........................."  # stands for the client's part of SCRAM's nonce
NUMBER = b"{n}"  # stands for the number of a DNS question


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a reply, such as a line or a frame. `wrap` adds what belongs to the data, such as its length."""

    data: bytes
    wrap: Callable[[bytes], bytes] = bytes

    def with_data(self, data: bytes) -> Unit:
        """The same with other data, which is wrapped alike."""
        return replace(self, data=data)

    def wrapped(self) -> Unit:
        """What is sent, as data: damage to it makes it unfit for its length."""
        return Unit(self.wrap(self.data))


Reply = tuple[Unit, ...]  # what a server sends in response to one piece that the client sends
Dialogue = tuple[Reply, ...]


def _units(*data: bytes) -> Reply:
    return tuple(map(Unit, data))


def _line(name: str) -> Callable[[bytes], bytes]:
    return lambda value: name.encode() + b": " + value + b"\r\n"


def _fields(**named: str) -> Reply:
    return tuple(Unit(value.encode(), _line(name.replace("_", "-"))) for name, value in named.items())


def _sized(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_OK = Unit(b"HTTP/1.1 200 OK\r\n")
_COMMON = _fields(
    Server="nginx",
    Content_Type="application/json; charset=utf-8",
    Set_Cookie="id=a3fWa; Expires=Wed, 21 Oct 2027 07:28:00 GMT; Max-Age=3600; Domain=127.0.0.1; Path=/; Secure; HttpOnly",
    Date="Tue, 15 Nov 2026 08:12:31 GMT",
    Retry_After="120",
    WWW_Authenticate='Bearer realm="x", error="invalid_token"',
    X_Revision="3f2a91c",
)


def _http(body: bytes) -> tuple[Dialogue, ...]:
    """The same body in the forms that HTTP/1.1 has for it."""
    half = len(body) // 2
    chunks = (Unit(b"Transfer-Encoding: chunked\r\n\r\n"), Unit(body[:half], _chunk), Unit(body[half:], _chunk))
    packed = Unit(body, lambda data: b"Content-Encoding: gzip\r\n" + _sized(gzip.compress(data, 1)))
    moved = (Unit(b"HTTP/1.1 302 Found\r\n"), *_fields(Location="/elsewhere"), Unit(b"", _sized))
    last = (Unit(b"0\r\n"), Unit(b"done", _line("Grpc-Message")), Unit(b"\r\n"))
    return (
        ((_OK, *_COMMON, Unit(body, _sized)),),
        ((_OK, *_COMMON, *chunks, *last),),
        ((_OK, *_COMMON, packed),),
        ((Unit(b"HTTP/1.0 200 OK\r\n"), *_COMMON, Unit(b"\r\n"), Unit(body)),),
        ((Unit(b"HTTP/1.1 103 Early Hints\r\n"), *_fields(Link="</s.css>; rel=preload"), Unit(b"\r\n"), _OK, Unit(body, _sized)),),
        ((*moved,), (_OK, *_COMMON, Unit(body, _sized))),
        ((Unit(b"HTTP/1.1 429 Too Many Requests\r\n"), *_COMMON, Unit(body, _sized)),),
    )


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_READY = {"status": "ready", "db_healthy": True, "n": [1, 2.5, None, {"a": "café 😀"}]}
_PIECE = {"choices": [{"delta": {"content": "bridge"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
_GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
}
_BOOKING = {"restaurants": [{"id": "a", "name": "The Mill", "latitude": 37.8}], "time_slots": [{"time": "19:00"}], "total": 1}


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


_STREAM: Dialogue = (
    (
        _OK,
        *_fields(Content_Type="text/event-stream"),
        Unit(b"\r\n"),
        Unit(b": hello\nevent: message\nid: 1\nretry: 10\n"),
        Unit(_json(_PIECE), _event),
        Unit(_json(_PIECE), _event),
        Unit(b"[DONE]", _event),
    ),
)


def _h2(kind: int, flags: int, stream: int = 1) -> Callable[[bytes], bytes]:
    return lambda payload: frame(kind, flags, stream, payload[: 2**24 - 1])


def _block(*fields: tuple[str, str]) -> bytes:
    return bytes(Encoder().encode(fields))


_H2_BEGIN = (Unit(SETTINGS), Unit(b"\0\3\0\0\0\x64\0\4\0\1\0\0", _h2(4, 0, 0)), Unit(b"pingpong", _h2(6, 0, 0)))
_H2_HEAD = _block((":status", "200"), ("content-type", "application/json"), ("set-cookie", "a=b"), ("content-encoding", "identity"))
_HTTP2: tuple[Dialogue, ...] = (
    ((*_H2_BEGIN, Unit(_H2_HEAD, _h2(1, 4)), Unit(_json(_READY), _h2(0, 0)), Unit(b"", _h2(0, 1))),),
    ((*_H2_BEGIN, Unit(_H2_HEAD[:9], _h2(1, 0)), Unit(_H2_HEAD[9:], _h2(9, 4)), Unit(_json(_READY), _h2(0, 1))),),
    ((*_H2_BEGIN, Unit(_block((":status", "103"), ("link", "</s>")), _h2(1, 4)), Unit(_H2_HEAD, _h2(1, 5))),),
    ((*_H2_BEGIN, Unit(b"\0\0\0\0\0\0\0\x0benhance_your_calm", _h2(7, 0, 0)), Unit(b"\0\0\0\x0b", _h2(3, 0))),),
    ((*_H2_BEGIN, Unit(_block((":status", "302"), ("location", "/elsewhere")), _h2(1, 5))), (Unit(_H2_HEAD, _h2(1, 5, 3)),)),
)


def _grpc_message(message: bytes) -> bytes:
    return frame(0, 0, 1, b"\0" + struct.pack("!I", len(message)) + message[: 2**23])


_GRPC_HEAD = _block((":status", "200"), ("content-type", "application/grpc"))
_GRPC_END = _block(("grpc-status", "0"), ("grpc-message", "all%20well"))
_GRPC: tuple[Dialogue, ...] = (
    ((*_H2_BEGIN, Unit(_GRPC_HEAD, _h2(1, 4)), Unit(b"\x08\x01", _grpc_message), Unit(_GRPC_END, _h2(1, 5))),),
    ((*_H2_BEGIN, Unit(_block((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")), _h2(1, 5))),),
)


def _ws(opcode: int) -> Callable[[bytes], bytes]:
    def framed(data: bytes) -> bytes:
        size = len(data)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size) if size < 65536 else b"\x7f" + struct.pack("!Q", size)
        return bytes([opcode]) + length + data

    return framed


_SWITCH: Reply = (
    Unit(b"HTTP/1.1 101 Switching Protocols\r\n"),
    *_fields(Upgrade="websocket", Connection="Upgrade"),
    Unit(ACCEPT, _line("Sec-WebSocket-Accept")),
    Unit(b"\r\n"),
)
_PONG, _TEXT, _CLOSE = Unit(PING, _ws(0x8A)), Unit(b'{"type": "hello"}', _ws(0x81)), Unit(b"\x03\xe8bye", _ws(0x88))
_WEBSOCKET: tuple[Dialogue, ...] = (
    (_SWITCH, (_PONG,), (_CLOSE,)),
    ((*_SWITCH, _TEXT, Unit(b"caf", _ws(0x01)), Unit(b"\xc3\xa9", _ws(0x80))), (_TEXT, _PONG), (_TEXT, _CLOSE)),
    ((*_SWITCH, Unit(b"x" * 300, _ws(0x82)), Unit(b"ping", _ws(0x89))), (_PONG,), (_CLOSE,)),
    ((Unit(b"HTTP/1.1 403 Forbidden\r\n"), *_COMMON, Unit(b"go away", _sized)),),
)


def _dns(*records: str) -> Dialogue:
    question = dns.message.make_query("api.roadtrip.app", "A", use_edns=0, payload=1232)
    answer = dns.message.make_response(question)
    for record in records:
        name, ttl, kind, data = record.split(" ", 3)
        answer.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    wire = answer.to_wire()
    return ((Unit(NUMBER), Unit(wire[2:4]), Unit(wire[4:12]), Unit(wire[12:34]), Unit(wire[34:])),)


_DNS = (
    _dns("api.roadtrip.app. 60 A 192.0.2.7"),
    _dns("api.roadtrip.app. 60 CNAME edge.roadtrip.app.", "edge.roadtrip.app. 60 A 192.0.2.7", "edge.roadtrip.app. 60 A 192.0.2.8"),
    _dns(
        'api.roadtrip.app. 60 TXT "v=spf1" "caf"', "api.roadtrip.app. 60 MX 10 mail.roadtrip.app.", "api.roadtrip.app. 1 AAAA 2001:db8::7"
    ),
)


def message(kind: bytes) -> Callable[[bytes], bytes]:
    """How PostgreSQL sends a message of this type."""
    return lambda content: kind + struct.pack("!i", len(content) + 4) + content


_IDLE, _BUSY = Unit(b"I", message(b"Z")), Unit(b"T", message(b"Z"))
_ENTERED: Reply = (
    Unit(bytes(4), message(b"R")),
    Unit(b"server_version\x0015.4\0", message(b"S")),
    Unit(b"\0\0\0\1\0\0\0\2", message(b"K")),
    _IDLE,
)
_LIMITS: Reply = (
    Unit(b"BEGIN\0", message(b"C")),
    Unit(
        b"\0\2s\0" + bytes(6) + struct.pack("!ihih", 25, -1, -1, 0) + b"l\0" + bytes(6) + struct.pack("!ihih", 25, -1, -1, 0), message(b"T")
    ),
    Unit(b"\0\2\0\0\0\x045000\xff\xff\xff\xff", message(b"D")),
    Unit(b"SELECT 1\0", message(b"C")),
    _BUSY,
)
_VALUES = (
    *((16, b"\1"), (20, struct.pack("!q", 7)), (23, struct.pack("!i", 7)), (25, b"seven"), (700, b"7.5"), (1700, b"NaN"), (2950, b"a-b")),
    *(
        (1082, struct.pack("!i", 9000)),
        (1114, struct.pack("!q", 7)),
        (1184, struct.pack("!q", 2**62)),
        (1186, struct.pack("!qii", 7, 1, 2)),
    ),
    *((1007, struct.pack("!5i2i", 1, 0, 23, 1, 1, 4, 7)), (1009, b'{1,{2,NULL},"a\\"b"}'), (3802, b'{"a": [1e3]}'), (114, b"[]")),
)


def _postgres(oid: int, value: bytes) -> Dialogue:
    return (
        _ENTERED,
        _LIMITS,
        (
            Unit(b"", message(b"1")),
            Unit(b"\0\0", message(b"t")),
            Unit(b"\0\1a\0" + bytes(6) + struct.pack("!ihih", oid, -1, -1, 0), message(b"T")),
        ),
        (
            Unit(b"", message(b"2")),
            Unit(b"\0\1" + struct.pack("!i", len(value)) + value, message(b"D")),
            Unit(b"SELECT 1\0", message(b"C")),
            _BUSY,
        ),
        (_BUSY, Unit(b"COMMIT\0", message(b"C")), _IDLE),
    )


def _error(text: bytes) -> Unit:
    return Unit(b"SERROR\0VFATAL\0C53300\0M" + text + b"\0Dmore\0Hless\0P1\0Rx\0\0", message(b"E"))


_SASL = Unit(struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0", message(b"R"))
_CHALLENGE = Unit(struct.pack("!i", 11) + b"r=" + NONCE + b"abc,s=c2FsdHNhbHQ=,i=4096", message(b"R"))
_POSTGRES: tuple[Dialogue, ...] = (
    *(_postgres(oid, value) for oid, value in _VALUES),
    _postgres(25, b'{1,{2,NULL},"a\\"b"}'),
    ((_SASL,), (_CHALLENGE,), (Unit(struct.pack("!i", 12) + b"v=cnVu", message(b"R")), *_ENTERED)),
    ((Unit(struct.pack("!i4s", 5, b"salt"), message(b"R")),), _ENTERED, (_error(b"too many"), _IDLE)),
    (_ENTERED, (_error(b"a\nb"), _BUSY), (_IDLE,)),
    (_ENTERED, (Unit(b"MWARNING\0\0", message(b"N")), *_LIMITS), (_error(b"x"), _BUSY)),
)


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def _simple(data: bytes) -> bytes:
    return b"+" + data + b"\r\n"


_HELLO: Reply = (
    Unit(b"14", lambda count: b"*" + count + b"\r\n"),
    *(Unit(word, _bulk) for word in (b"server", b"redis", b"version", b"7.2.4")),
    Unit(b"proto", _bulk),
    Unit(b"2", lambda number: b":" + number + b"\r\n"),
    *(Unit(word, _bulk) for word in (b"id", b"5", b"mode", b"cluster", b"role", b"master", b"modules")),
    Unit(b"*0\r\n"),
)
_INFO: Reply = (Unit(b"cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_known_nodes:6\r\n", _bulk),)
_FINE, _ONE = (Unit(b"OK", _simple),), (Unit(b":1\r\n"),)
_REDIS: tuple[Dialogue, ...] = (
    (_FINE, (Unit(b"PONG", _simple),), _FINE, (Unit(VALUE, _bulk),), _ONE, _HELLO, _INFO),
    (
        _FINE,
        (Unit(b"PONG", _simple),),
        _units(b"-MOVED 3999 10.0.0.7:6381\r\n"),
        (*_units(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n"), Unit(b"::1", _bulk), Unit(b":6379\r\n")),
        _FINE,
    ),
    (_units(b"-WRONGPASS invalid username-password pair\r\n"),),
    (_FINE, _units(b"-LOADING Redis is loading the dataset in memory\r\n")),
    (_FINE, _units(b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"%1\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n", b">1\r\n")),
)

_PLAIN = (
    (_units(b"+PONG\r\n"),),
    ((*_units(b"220 mail.test ESMTP\r\n", b"250-one\r\n", b"250 two\r\n"),),),
    ((*_units(b"S", bytes.fromhex("160303007a020000760303"), bytes(32), b"\x20" * 33, bytes.fromhex("130200")),),),
)
REPLIES: Mapping[str, tuple[Dialogue, ...]] = {
    "http": _http(_json(_READY)),
    "http/2": _HTTP2,
    "journey": _http(_json(_READY)),
    "health_metrics": _http(_json(_READY)),
    "metrics": _http(b'# TYPE http_requests_total counter\nhttp_requests_total{status="200"} 3\n'),
    "promql": _http(
        _json({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "0.5"]}]}})
    ),
    "ai": (_STREAM, *_http(_json(_PIECE))),
    "ai/gemini": _http(_json(_GEMINI)),
    "booking": _http(_json(_BOOKING)),
    "websocket": _WEBSOCKET,
    "grpc": _GRPC,
    "tcp": _PLAIN,
    "tcp/dialogue": _PLAIN,
    "tcp/starttls": _PLAIN,
    "tls": _PLAIN,
    "dns": _DNS,
    "dns/udp": _DNS,
    "postgres": _POSTGRES,
    "redis": _REDIS,
}
MORE: Mapping[str, Mapping[str, object]] = {  # settings that make a way of asking look at more of a response
    "http": {
        "expect": {"text": "ready", "not_regex": "panic", "json": {"$.status": "ready", "$..a": {"count": 1}}},
    },
    "http/2": {"expect": {"json": {"$.db_healthy": True, "$.n[?@ > 1]": {"count": 1}}}},
    "postgres": {"expect": {"value": 7}},
}
WITHOUT = {"icmp": "only this machine's kernel answers; tests/probes/test_icmp.py reads whatever it may hand over"}
ODD: tuple[bytes, ...] = (
    *(
        b"\0",
        b"\xff",
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"=",
        b"%",
        b"%%",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b"-1", b"0", b"00", b"+1", b"1e999", b"0x1f", b"NaN", b"Infinity", b"9" * 19, b"9" * 400, b"-" + b"9" * 25, b"1.", b"\xd9\xa1"),
    *(b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff", b"\x7f\xff", b"\xc0\x0c", b"\xc0\0", b"\x3f" * 70),
    *(
        b"\xc3\xa9",
        "日本".encode(),
        b"\xed\xa0\x80",
        b'"\\ud800"',
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\xfe\xff",
        b"\x1b[31m",
        "\u202e".encode(),
    ),
    *(
        b"null",
        b"true",
        b"[" * 2000,
        b'{"a":' * 600,
        b"charset=idna",
        b"charset=undefined",
        b"charset=punycode",
        b"charset=utf-16",
        b"xn--a",
    ),
    *(b"gzip", b"br", b"zstd", b"deflate", b"chunked", b"close", b"http://[::1", b"//", b"file:///", b"http://x:99999999/", b"\xe9"),
    SECRET.encode(),
)
