"""The contents of a certificate. OpenSSL has accepted it: a part that can't be read stays empty, and nothing here raises.

The libraries refuse a whole certificate for one part that is against its standard, such as a name with a byte beyond ASCII.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from probes.text import address_text

TEXT_CAP = 1024  # characters of a subject, an issuer or an address: a server may write anything into them
NAMES_CAP = 500  # names
_OCTETS, _OID = 0x04, 0x06
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # context tags of TBSCertificate (RFC 5280, 4.1)
_DNS_NAME, _URI, _IP_ADDRESS = 0x82, 0x86, 0x87  # of GeneralName (RFC 5280, 4.2.1.6)
_ALTERNATIVE_NAMES, _AUTHORITY_ACCESS, _ISSUERS = "2.5.29.17", "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.48.2"
_ATTRIBUTES = {  # RFC 4514, section 3; other types are written as numbers
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_CHARSETS = {  # by the tag of a text; beyond ASCII, certificates have UTF-8 where their standard allows ASCII alone
    **dict.fromkeys((0x0C, 0x12, 0x13, 0x16, 0x1A, _DNS_NAME, _URI), "utf-8"),
    0x14: "latin-1",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
_UTC_TIME = 0x17
_TIME = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?(?:Z|([+-])(\d\d)(\d\d))?\Z")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. A text is "" and a date None where the certificate has none that can be read."""

    subject: str  # as RFC 4514 writes it
    issuer: str
    names: tuple[str, ...]  # DNS names and addresses that it is for, at most NAMES_CAP
    not_before: float | None  # seconds since the epoch
    not_after: float | None
    serial: str  # hex, two digits a byte
    fingerprint: str  # SHA-256, hex
    issuer_at: str = ""  # the address of its issuer's certificate, as it says itself; roots have none

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Reads a certificate in DER."""
        parts = [part for part in _inside(_first(_first(der))) if part[0] != _VERSION]
        fields = [value for _, value in parts] + [b""] * 5
        serial, issuer, validity, subject = fields[0], fields[2], fields[3], fields[4]
        dates = [_moment(tag, value) for tag, value in _inside(validity)] + [None, None]
        extensions = dict(_extensions(next((value for tag, value in parts if tag == _EXTENSIONS), b"")))
        access = (list(_inside(value)) for _, value in _inside(_first(extensions.get(_AUTHORITY_ACCESS, b""))))
        issuers = (at[1][1] for at in access if [tag for tag, _ in at] == [_OID, _URI] and _number(at[0][1]) == _ISSUERS)
        return cls(
            subject=_distinguished_name(subject),
            issuer=_distinguished_name(issuer),
            names=tuple(_names(_first(extensions.get(_ALTERNATIVE_NAMES, b"")))),
            not_before=dates[0],
            not_after=dates[1],
            serial=serial.lstrip(b"\0").hex()[:TEXT_CAP],
            fingerprint=hashlib.sha256(der).hexdigest(),
            issuer_at=_text(next(issuers, b""), _URI),
        )


def _inside(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and contents of each element, up to the first that is not DER."""
    at = 0
    while at + 2 <= len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:  # the length has bytes of its own
            digits = length & 0x7F
            length, at = int.from_bytes(data[at : at + digits]), at + digits
        if at + length > len(data):
            return
        yield tag, data[at : at + length]
        at += length


def _first(data: bytes) -> bytes:
    return next((value for _, value in _inside(data)), b"")


def _extensions(data: bytes) -> Iterator[tuple[str, bytes]]:
    for _, extension in _inside(_first(data)):
        parts = list(_inside(extension))
        if len(parts) > 1 and parts[0][0] == _OID and parts[-1][0] == _OCTETS:
            yield _number(parts[0][1]), parts[-1][1]


def _names(data: bytes) -> Iterator[str]:
    """The DNS names, then the addresses."""
    listed = list(_inside(data))[:NAMES_CAP]
    yield from (_text(value, _DNS_NAME)[:255] for tag, value in listed if tag == _DNS_NAME)
    for value in (value for tag, value in listed if tag == _IP_ADDRESS):
        if len(value) in (4, 16):
            yield address_text(value)


def _number(data: bytes) -> str:
    """An object identifier in its dotted form."""
    numbers, number = [], 0
    for byte in data[:64]:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, [first, numbers[0] - first * 40, *numbers[1:]])) if numbers else ""


def _text(data: bytes, tag: int) -> str:
    """A text of at most TEXT_CAP characters, all of which can be shown."""
    return _printable(data[: 4 * TEXT_CAP].decode(_CHARSETS[tag], "backslashreplace"))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\{ord(letter):02x}" for letter in text[:TEXT_CAP])[:TEXT_CAP]


def _distinguished_name(data: bytes) -> str:
    """A name as RFC 4514 writes it: the last part first."""
    parts = []
    for _, attributes in _inside(data):
        pairs = [list(_inside(pair)) for _, pair in _inside(attributes)]
        parts.append("+".join(f"{_ATTRIBUTES.get(number := _number(p[0][1]), number)}={_escaped(*p[1])}" for p in pairs if len(p) > 1))
        if len(parts) > 100:  # noqa: PLR2004 - a bound, not a meaning
            break
    return ",".join(reversed(parts))[:TEXT_CAP]


def _escaped(tag: int, data: bytes) -> str:
    if tag not in _CHARSETS:
        return f"#{data[:TEXT_CAP].hex()}"
    text = _printable(re.sub(r'([\\"+,;<>])', r"\\\1", data[: 4 * TEXT_CAP].decode(_CHARSETS[tag], "replace")))
    if text[:1] == "#" or (text[:1] == " " and len(text) > 1):
        text = f"\\{text}"
    return f"{text[:-1]}\\ " if text[-1:] == " " else text


def _moment(tag: int, data: bytes) -> float | None:
    """Seconds since the epoch of a UTCTime or a GeneralizedTime; None for one that names no moment."""
    if tag == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: two digits of the year, from 1950 to 2049
        data = (b"19" if data[:2] >= b"50" else b"20") + data
    if not (found := _TIME.match(data)):
        return None
    try:
        offset = timedelta(hours=int(found[8] or 0), minutes=int(found[9] or 0)) * (-1 if found[7] == b"-" else 1)
        year, month, day, hour, minute, second = (int(digits or 0) for digits in found.groups()[:6])
        return (datetime(year, month, day, hour, minute, second, tzinfo=UTC) - offset).timestamp()
    except (ValueError, OverflowError):
        return None
