from __future__ import annotations

import datetime as dt
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from probes.core import Verdict
from probes.kinds.http import Http
from probes.kinds.tls import Handshake
from probes.wire.certificate import NAMES_CAP, TEXT_CAP, Certificate
from tests.support import odd_certificates as odd
from tests.support import servers
from tests.support.asking import answer
from tests.support.engine import Observer

ALL = odd.PINNED | odd.UNVERIFIED
KEY = ec.generate_private_key(ec.SECP256R1())
SHOWN = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs", "Cn", "Co", "Cf"))
TEXTS = st.text(SHOWN | st.sampled_from(' #,+"\\<>;='), min_size=1, max_size=20)
KINDS = st.sampled_from([NameOID.ORGANIZATION_NAME, NameOID.STREET_ADDRESS, NameOID.EMAIL_ADDRESS])


def unreadable(certificate: bytes) -> bool:
    """Whether the library that reads certificates for others refuses this one, or a part of it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            read = x509.load_der_x509_certificate(certificate)
            _ = read.subject, read.extensions, read.not_valid_after_utc, read.not_valid_before_utc, read.serial_number
    except (ValueError, x509.DuplicateExtension):
        return True
    return False


@dataclass(frozen=True)
class Odd:
    """An odd certificate, a server's context with it alone, and one that sends it behind a sound one, which `sound` pins."""

    path: Path
    der: bytes
    alone: ssl.SSLContext
    behind: ssl.SSLContext
    sound: Path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Odd]:
    """All odd certificates."""
    folder, made = tmp_path_factory.mktemp("odd"), {}
    for number, (which, parts) in enumerate(ALL.items()):
        path, sound = folder / f"{number}.pem", folder / f"{number}-sound.pem"
        certificate = odd.write(path, parts)
        odd.write(sound, odd.Parts(), certificate)
        contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[0].load_cert_chain(path)
        contexts[1].load_cert_chain(sound)
        made[which] = Odd(path, certificate, *contexts, sound)
    return made


def test_the_table_has_what_libraries_refuse(table: dict[str, Odd]) -> None:
    """W1b: the table of odd certificates has a dozen that the library refuses, so that it proves something."""
    assert sum(unreadable(one.der) for one in table.values()) >= 12


@pytest.mark.parametrize("which", ALL)
async def test_an_odd_certificate_unverified(runs: Observer, table: dict[str, Odd], which: str) -> None:
    """W1b: with verify: false any certificate that OpenSSL accepts passes, for tls and http, and is evidence."""
    async with servers.canned(answer(b"ok"), tls=table[which].alone) as server:
        for probe in (
            Handshake.model_validate({"host": "localhost", "port": server.port, "tls": {"verify": False}}),
            Http.model_validate({"url": f"https://localhost:{server.port}/", "tls": {"verify": False}}),
        ):
            seen = await runs.observe(probe)
            assert seen.verdict is Verdict.PASS, seen.message
            assert len(seen.facts["cert_fingerprint"]) == 64
            assert seen.evidence["certificates"]
            for family in probe.families:
                list(family.read(seen.phases, seen.facts))


@pytest.mark.parametrize("which", odd.PINNED)
async def test_an_odd_certificate_pinned(runs: Observer, table: dict[str, Odd], which: str) -> None:
    """W1b: an odd certificate passes verification where it is the one that `ca` names, and its dates are known."""
    async with servers.canned(answer(b"ok"), tls=table[which].alone) as server:
        for probe in (
            Handshake.model_validate({"host": "localhost", "port": server.port, "tls": {"ca": str(table[which].path)}}),
            Http.model_validate({"url": f"https://localhost:{server.port}/", "tls": {"ca": str(table[which].path)}}),
        ):
            seen = await runs.observe(probe)
            assert seen.verdict is Verdict.PASS, seen.message
            assert seen.facts["cert_expiry"] == seen.facts["chain_expiry"] > seen.at


@pytest.mark.parametrize("which", ALL)
async def test_an_odd_certificate_is_judged(runs: Observer, table: dict[str, Odd], which: str) -> None:
    """W1b: an odd certificate that nobody trusts is the target's failure, never the runner's."""
    async with servers.silent(tls=table[which].alone) as server:
        seen = await runs.observe(Handshake.model_validate({"host": "localhost", "port": server.port, "expect": {"valid_for": "1d"}}))
        assert seen.verdict is Verdict.FAIL, seen.message
        loose = {"tls": {"verify": False}, "expect": {"valid_for": "1d"}}
        seen = await runs.observe(Handshake.model_validate({"host": "localhost", "port": server.port} | loose))
        assert seen.verdict is not Verdict.UNKNOWN, seen.message


@pytest.mark.parametrize("which", ALL)
async def test_an_odd_certificate_in_the_chain(runs: Observer, table: dict[str, Odd], which: str) -> None:
    """W1b: an odd certificate that a server sends beside a good chain changes no verdict."""
    async with servers.canned(answer(b"ok"), tls=table[which].behind) as server:
        tls = {"ca": str(table[which].sound)}
        seen = await runs.observe(Http.model_validate({"url": f"https://localhost:{server.port}/", "tls": tls}))
    assert seen.verdict is Verdict.PASS, seen.message
    assert len(seen.evidence["certificates"]) == 2


@given(
    subject=st.lists(st.tuples(KINDS, TEXTS), max_size=4),
    before=st.integers(-20 * 365, 79 * 365),
    life=st.integers(0, 2_900_000),
    serial=st.integers(1, 2**150),
    listed=st.lists(st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9-]{1,20}){0,3}", fullmatch=True), min_size=1, max_size=5),
)
def test_a_sound_certificate_is_read_as_the_library_reads_it(
    subject: list[tuple[x509.ObjectIdentifier, str]], before: int, life: int, serial: int, listed: list[str]
) -> None:
    """Subject, dates, names, serial number and fingerprint are those that the library reads."""
    begins = dt.datetime(1970, 1, 1, 12, 34, 56, tzinfo=dt.UTC) + dt.timedelta(days=before)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(kind, text) for kind, text in subject]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]))
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=life))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in listed]), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    read = Certificate.read(made.public_bytes(Encoding.DER))
    assert (read.subject, read.issuer) == (made.subject.rfc4514_string(), "CN=issuer")
    assert read.not_before == made.not_valid_before_utc.timestamp()
    assert read.not_after == made.not_valid_after_utc.timestamp()
    assert (int(read.serial, 16), read.fingerprint) == (serial, made.fingerprint(hashes.SHA256()).hex())
    assert read.names == tuple(listed)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    """W1b: nothing that stands where a certificate is expected raises."""
    read = Certificate.read(data)
    assert len(read.subject) <= TEXT_CAP


def test_a_certificate_cut_or_changed_anywhere_is_read(tmp_path: Path) -> None:
    """W1b: no byte of a certificate matters so much that reading it raises, and no text has signs that can't be shown."""
    certificate = odd.write(tmp_path / "odd.pem", odd.PINNED["an issuer's address in Latin-1"])
    for changed in odd.cut_and_flipped(certificate):
        read = Certificate.read(changed)
        assert "".join((read.subject, read.issuer, *read.names, read.issuer_at)).isprintable()


def test_a_certificate_with_very_many_names(tmp_path: Path) -> None:
    """XM7: what is kept of a certificate is bounded, however many names it has and however long they are."""
    long = odd.name(*[(odd.ORGANIZATION, 0x0C, b"\x01" * 5000)] * 5)
    parts = odd.Parts(subject=long, extensions=(odd.names(*[(0x82, b"a" * 1000)] * 5000),))
    certificate = odd.write(tmp_path / "odd.pem", parts)
    read = Certificate.read(certificate)
    assert len(read.names) == NAMES_CAP
    assert max(map(len, read.names)) <= 255
    assert len(read.subject) == TEXT_CAP
