"""gRPC's messages, pure: the health protocol's two messages in protobuf, their frames, and the status codes."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from probes import Failed, Reason
from probes.expect.patterns import shown

CHECK = "/grpc.health.v1.Health/Check"
SERVING = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")  # by number
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"),
    *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
_REASONS = {
    "DEADLINE_EXCEEDED": Reason.TIMEOUT,
    "PERMISSION_DENIED": Reason.AUTH,
    "RESOURCE_EXHAUSTED": Reason.THROTTLED,
    "UNAUTHENTICATED": Reason.AUTH,
}
_PREFIX = 5  # bytes before a message: whether it is compressed, and its length
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types


def check_request(service: str) -> bytes:
    """HealthCheckRequest{service}, framed as a message of gRPC."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4) + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def serving_status(body: bytes) -> str:
    """The serving status in a HealthCheckResponse, the only message of the body. Raises Failed(truncated, protocol)."""
    if len(body) < _PREFIX or len(body) < _PREFIX + int.from_bytes(body[1:_PREFIX]):
        raise Failed(Reason.TRUNCATED, f"the response ended after {len(body)} bytes, in the middle of its message")
    if body[0]:
        raise Failed(Reason.PROTOCOL, "the message in the response is compressed, which the request didn't ask for")
    if len(body) > _PREFIX + int.from_bytes(body[1:_PREFIX]):
        raise Failed(Reason.PROTOCOL, "the response has more than one message")
    number = 0
    for field, value in _fields(body[_PREFIX:]):
        number = value if field == 1 and value is not None else number
    return SERVING[number] if number < len(SERVING) else str(number)


def _fields(message: bytes) -> Iterator[tuple[int, int | None]]:
    """Number of each field, and its value where that is a varint; other values are skipped and None."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind, value = key & 7, None
        if kind == _VARINT:
            value, at = _read_varint(message, at)
        elif kind == _BYTES:
            length, at = _read_varint(message, at)
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise Failed(Reason.PROTOCOL, "the response is not a HealthCheckResponse")
        if at > len(message):
            raise Failed(Reason.PROTOCOL, "the response is not a HealthCheckResponse: it ends in the middle of a field")
        yield key >> 3, value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for length, byte in enumerate(message[at : at + 10]):
        number |= (byte & 0x7F) << 7 * length
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            return number, at + length + 1
    raise Failed(Reason.PROTOCOL, "the response is not a HealthCheckResponse: a number has no end")


def judge_code(code: int, message: str, service: str) -> None:
    """Raises Failed for any status but OK: auth, throttled, timeout, and status for all others."""
    if code == 0:
        return
    name = CODES[code] if code < len(CODES) else str(code)
    decoded = unquote(message, errors="replace")
    text = f": {shown(decoded, 160)}" if decoded else ""
    hint = {
        "UNIMPLEMENTED": "; the server doesn't offer grpc.health.v1.Health",
        "NOT_FOUND": f"; the server doesn't know the health of {shown(service)}",
    }.get(name, "")
    raise Failed(_REASONS.get(name, Reason.STATUS), f"{name}{text}{hint}", answered=True)
