"""A certificate authority of the stand-in's own, and the three certificates of its TLS front: good, expired, for another host."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOSTS = ("localhost", "127.0.0.1")
ELSEWHERE = ("www.elsewhere.example",)
VALID = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate to trust, and the front's (each with its key in the same file)."""

    ca: Path
    good: Path
    expired: Path
    wrong_host: Path


def make_certificates(folder: Path, *times: float) -> Certificates:
    """Makes them all and writes them into the folder.

    `times` in seconds since the epoch: the good one is valid, and the expired one expired, at each. A simulated clock has
    one time and the TLS library, which asks the machine, another.
    """
    first, last = datetime.fromtimestamp(min(times), UTC), datetime.fromtimestamp(max(times), UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Road Trip stand-in CA")
    ca = (
        _begin(issuer, issuer, key, first - timedelta(days=365), last + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made = {}
    for word, hosts, start, end in (
        ("good", HOSTS, first - timedelta(days=1), last + VALID),
        ("expired", HOSTS, first - VALID, first - timedelta(days=1)),
        ("wrong_host", ELSEWHERE, first - timedelta(days=1), last + VALID),
    ):
        made[word] = folder / f"{word}.pem"
        made[word].write_bytes(_leaf(issuer, key, hosts, start, end))
        made[word].chmod(0o600)
    return Certificates(ca_file, **made)


def server_context(pem: Path) -> ssl.SSLContext:
    """A server's TLS context with this certificate; loading another one later changes every new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # a resumed session would hide a changed certificate
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(pem)
    return context


def _leaf(issuer: x509.Name, authority: ec.EllipticCurvePrivateKey, hosts: tuple[str, ...], start: datetime, end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begin(_name(hosts[0]), issuer, key, start, end)
        .add_extension(x509.SubjectAlternativeName([_general(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .add_extension(_usage(authority=False), critical=True)
        .sign(authority, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
