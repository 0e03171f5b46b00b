"""A certificate authority for the tests, and a TLS server's context for each mistake of a certificate."""

from __future__ import annotations

import datetime as dt
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

NAMES = ("127.0.0.1", "localhost", "good.test")
DAY = dt.timedelta(days=1)
_LOCALHOST = x509.SubjectAlternativeName([x509.DNSName("localhost")])


@dataclass(frozen=True)
class Authority:
    """The CA's certificate as a file, and server contexts. Only `good`, `old`, `soon` and `offering` are as they should be.

    good: valid for 90 days, for NAMES, with its intermediate. soon: ends in 3 days. expired: ended 3 hours ago.
    not_yet: begins in a day. nameless: its CN is its only name.
    wrong_host: for other.example and *.other.example. self_signed: by itself.
    incomplete: signed by an intermediate that isn't sent. stranger: by another authority, whole.
    offering: as good, and offering HTTP/2 first.
    old: as good, and speaking nothing newer than TLS 1.2. ancient: nothing newer than TLS 1.1, which nobody should accept.
    """

    ca_file: Path
    good: ssl.SSLContext
    soon: ssl.SSLContext
    expired: ssl.SSLContext
    not_yet: ssl.SSLContext
    wrong_host: ssl.SSLContext
    self_signed: ssl.SSLContext
    incomplete: ssl.SSLContext
    stranger: ssl.SSLContext
    offering: ssl.SSLContext
    old: ssl.SSLContext
    ancient: ssl.SSLContext
    nameless: ssl.SSLContext


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def _ancient(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = _context(leaf)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def _self_signed(folder: Path, now: dt.datetime) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    return _alone(folder / "self-signed.pem", key, _leaf(name, name, key, now, _LOCALHOST).sign(key, hashes.SHA256()))


def _nameless(folder: Path, root: trustme.CA, now: dt.datetime) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    signing = serialization.load_pem_private_key(root.private_key_pem.bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    leaf = _leaf(name, x509.load_pem_x509_certificate(root.cert_pem.bytes()).subject, key, now)
    return _alone(folder / "nameless.pem", key, leaf.sign(signing, hashes.SHA256()))


def _incomplete(folder: Path, issuing: trustme.CA, now: dt.datetime) -> ssl.SSLContext:
    """As a server that forgot its intermediate; the certificate says where that one is, as public authorities' do."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(issuing.cert_pem.bytes())
    signing = serialization.load_pem_private_key(issuing.private_key_pem.bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    where = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.test/issuing.crt"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    leaf = _leaf(name, issuer.subject, key, now, _LOCALHOST, x509.AuthorityInformationAccess([where]))
    return _alone(folder / "incomplete.pem", key, leaf.sign(signing, hashes.SHA256()))


def _leaf(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, *extensions: x509.ExtensionType
) -> x509.CertificateBuilder:
    leaf = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 90 * DAY)
    )
    for extension in extensions:
        leaf = leaf.add_extension(extension, critical=False)
    return leaf


def _alone(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> ssl.SSLContext:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def make_authority(folder: Path) -> Authority:
    """Issues everything; files go to `folder`."""
    root = trustme.CA()
    issuing = root.create_child_ca()
    now = dt.datetime.now(dt.UTC)
    ca_file = folder / "ca.pem"
    root.cert_pem.write_to_path(str(ca_file))
    old = _context(issuing.issue_cert(*NAMES))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    offering = _context(issuing.issue_cert(*NAMES))
    offering.set_alpn_protocols(["h2", "http/1.1"])
    return Authority(
        ca_file=ca_file,
        good=_context(issuing.issue_cert(*NAMES, not_after=now + 90 * DAY)),
        soon=_context(issuing.issue_cert(*NAMES, not_after=now + 3 * DAY)),
        expired=_context(root.issue_cert(*NAMES, not_before=now - 30 * DAY, not_after=now - DAY / 8)),
        not_yet=_context(root.issue_cert(*NAMES, not_before=now + DAY, not_after=now + 90 * DAY)),
        wrong_host=_context(root.issue_cert("other.example", "*.other.example")),
        self_signed=_self_signed(folder, now),
        incomplete=_incomplete(folder, issuing, now),
        stranger=_context(trustme.CA().issue_cert(*NAMES)),
        offering=offering,
        old=old,
        ancient=_ancient(issuing.issue_cert(*NAMES)),
        nameless=_nameless(folder, root, now),
    )


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for the whole session: keys are slow to make."""
    return make_authority(tmp_path_factory.mktemp("ca"))
