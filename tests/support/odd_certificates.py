"""Certificates that OpenSSL accepts and libraries refuse: written byte by byte, each odd in one part."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SAN, AIA, POLICIES, EXTENDED_USAGE = "551d11", "2b06010505070101", "551d20", "551d25"
COMMON_NAME, COUNTRY, ORGANIZATION = "550403", "550406", "55040a"
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def der(tag: int, *parts: bytes) -> bytes:
    """An element."""
    data = b"".join(parts)
    length = len(data).to_bytes(max(1, (len(data).bit_length() + 7) // 8))
    return bytes([tag]) + (length if len(data) < 0x80 else bytes([0x80 | len(length)]) + length) + data


def name(*attributes: tuple[str, int, bytes]) -> bytes:
    """A distinguished name of (type, the text's tag, text)."""
    return der(0x30, *(der(0x31, der(0x30, der(0x06, bytes.fromhex(kind)), der(tag, text))) for kind, tag, text in attributes))


def extension(number: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension with its value as it is."""
    return der(0x30, der(0x06, bytes.fromhex(number)), b"\x01\x01\xff" if critical else b"", der(0x04, value))


def names(*listed: tuple[int, bytes]) -> bytes:
    """A SAN of (tag, value)."""
    return extension(SAN, der(0x30, *(der(tag, value) for tag, value in listed)))


LOCALHOST = (0x82, b"localhost")
PLAIN = names(LOCALHOST, (0x87, bytes([127, 0, 0, 1])))


@dataclass(frozen=True)
class Parts:
    """The parts of a certificate, by default sound ones; None leaves a part out."""

    version: bytes | None = bytes.fromhex("a003020102")
    serial: bytes = bytes.fromhex("02020815")
    subject: bytes = name((COMMON_NAME, 0x0C, b"localhost"))
    not_before: bytes = der(0x17, b"260101000000Z")
    not_after: bytes = der(0x18, b"20600101000000Z")
    extensions: tuple[bytes, ...] = (PLAIN,)


# Those that OpenSSL verifies for localhost where they are pinned
PINNED: dict[str, Parts] = {
    "a DNS name in Latin-1": Parts(extensions=(names((0x82, b"m\xfcnchen.test"), LOCALHOST),)),
    "a DNS name in UTF-8": Parts(extensions=(names((0x82, "münchen.test".encode()), LOCALHOST),)),
    "a DNS name with a line break": Parts(extensions=(names((0x82, b"a\r\nb.test"), LOCALHOST),)),
    "an address of three bytes": Parts(extensions=(names((0x87, b"\x7f\0\0"), LOCALHOST),)),
    "an address without bytes": Parts(extensions=(names((0x87, b""), LOCALHOST),)),
    "an odd URI": Parts(extensions=(names((0x86, b"http://[::\xff"), LOCALHOST),)),
    "an address of mail beyond ASCII": Parts(extensions=(names((0x81, b"jos\xe9@x.test"), LOCALHOST),)),
    "access that is no list": Parts(extensions=(PLAIN, extension(AIA, b"\x04\x01a"))),
    "access that is cut": Parts(extensions=(PLAIN, extension(AIA, b"\x30\x20\x30"))),
    "an issuer's address in Latin-1": Parts(
        extensions=(PLAIN, extension(AIA, der(0x30, der(0x30, der(0x06, bytes.fromhex("2b06010505073002")), der(0x86, b"http://x/\xe9")))))
    ),
    "policies that are none": Parts(extensions=(PLAIN, extension(POLICIES, b"\x02\x01\x01"))),
    "an extension twice": Parts(extensions=(PLAIN, extension("2a0304", b"\x05\0"), extension("2a0304", b"\x05\0"))),
    "a subject in Latin-1": Parts(subject=name((COMMON_NAME, 0x13, b"caf\xe9"))),
    "a subject in wide characters": Parts(subject=name((COMMON_NAME, 0x1E, b"\x01\x00\x00a"))),
    "a country of three letters": Parts(subject=name((COUNTRY, 0x13, b"DEU"), (COMMON_NAME, 0x0C, b"x"))),
    "an organisation with signs to escape": Parts(subject=name((ORGANIZATION, 0x0C, b'#a, "b"+<c>;\\\x00\n '))),
    "no subject": Parts(subject=name()),
    "a negative serial": Parts(serial=bytes.fromhex("0201ff")),
    "serial 0": Parts(serial=bytes.fromhex("020100")),
    "a serial of 40 bytes": Parts(serial=der(0x02, b"\x11" * 40)),
    "valid to the end of the calendar": Parts(not_after=der(0x18, b"99991231235959Z")),
    "valid from the year 0": Parts(not_before=der(0x18, b"00000101000000Z")),
}
# Those that can only be looked at with `verify: false`
UNVERIFIED: dict[str, Parts] = {
    "an empty SAN": Parts(extensions=(names(),)),
    "no SAN": Parts(extensions=()),
    "dates that are none": Parts(not_after=der(0x17, b"tomorrow")),
    "a date in February 30": Parts(not_after=der(0x17, b"600230000000Z")),
    "a date without seconds": Parts(not_after=der(0x17, b"4901010000Z")),
    "a date with an offset": Parts(not_after=der(0x18, b"99991231235959-2359")),
    "an empty date": Parts(not_before=der(0x17)),
    "usage that is none": Parts(extensions=(PLAIN, extension(EXTENDED_USAGE, b"\x30\x03\x06\x01\x2a", critical=True))),
    "an unknown extension that is critical": Parts(extensions=(PLAIN, extension("2a0304", b"\x05\0", critical=True))),
}


def write(path: Path, parts: Parts, *others: bytes) -> bytes:
    """A certificate, signed by itself; and a file with its key, the certificate, and others that a server sends with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = der(
        0x30,
        *(parts.version or b"", parts.serial, _ECDSA_WITH_SHA256, parts.subject, der(0x30, parts.not_before, parts.not_after)),
        *(parts.subject, public, der(0xA3, der(0x30, *parts.extensions)) if parts.extensions else b""),
    )
    certificate = der(0x30, body, _ECDSA_WITH_SHA256, der(0x03, b"\0", key.sign(body, ec.ECDSA(hashes.SHA256()))))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(pem + "".join(map(ssl.DER_cert_to_PEM_cert, (certificate, *others))).encode())
    return certificate


def cut_and_flipped(certificate: bytes) -> Iterator[bytes]:
    """The certificate cut at each byte, and with each byte changed."""
    for at in range(len(certificate)):
        yield certificate[:at]
        yield certificate[:at] + bytes([certificate[at] ^ 0xFF]) + certificate[at + 1 :]
