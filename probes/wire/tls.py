"""TLS: settings, contexts, the contents of certificates, and exact messages for handshakes that fail."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID
from pydantic import BaseModel, ConfigDict, Field, model_validator

from probes.core import Failed, Reason
from probes.facts import TLS_VERSION
from probes.families import Family, fact_family, info_family
from probes.fields import OptionalFile

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_EXPIRED, _NOT_YET = {10}, {9}
_HOSTNAME = {62, 64}
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 18, 19
_NO_ISSUER = {2, 20, 21}
_OUR_CERTIFICATE: Mapping[str, str] = {  # a server's alerts about the check's own certificate, by OpenSSL's names
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server requires a client certificate (tls.cert)",
    "TLSV1_ALERT_UNKNOWN_CA": "the server doesn't know the authority of the client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server refused the client certificate: bad certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the server refused the client certificate: unsupported type",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the server refused the client certificate: revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the server refused the client certificate: expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the server refused the client certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the server accepted the client certificate but denied access",
}
_BROKEN: Mapping[str, str] = {
    "UNSUPPORTED_PROTOCOL": "the server offers only TLS versions older than tls.minimum allows",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server accepts none of the TLS versions that the check allows",
    "WRONG_VERSION_NUMBER": "the server's response is not TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection during the handshake",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server refused the handshake: no common cipher, or it requires a client certificate (tls.cert)",
    "TLSV1_UNRECOGNIZED_NAME": "the server has no certificate for this name (SNI)",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the server supports none of the protocols that the check offers (ALPN)",
}


class Tls(BaseModel):
    """A check's TLS settings. It trusts the system's authorities, or those of SSL_CERT_FILE, or those of `ca`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ca: OptionalFile = Field(default=None, description="A PEM file with the authorities to trust instead of the system's.")
    server_name: str | None = Field(default=None, description="The name to request (SNI) and to verify, instead of the host's.")
    verify: bool = Field(default=True, description="false accepts any certificate; its facts are recorded in any case.")
    cert: OptionalFile = Field(default=None, description="A PEM file with the client certificate, for a server that requires one.")
    key: OptionalFile = Field(default=None, description="A PEM file with the certificate's key, if `cert` doesn't have it.")
    minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest TLS version that is accepted.")

    @model_validator(mode="after")
    def _require_cert_for_key(self) -> Self:
        if self.key and not self.cert:
            raise ValueError("key belongs to a cert; give that, too")
        return self

    def stamp(self) -> tuple[float, ...]:
        """When each of the files was last changed: a context from before is stale. Reads the disk."""
        files = (self.ca or os.environ.get("SSL_CERT_FILE"), self.cert, self.key)
        return tuple(Path(file).stat().st_mtime for file in files if file and Path(file).exists())

    def judge_version(self, spoken: str | None) -> None:
        """Raises Failed(tls) for an older version (by OpenSSL's name) than `minimum`, before anything is sent in it."""
        if self.minimum == "1.3" and spoken != "TLSv1.3":
            raise Failed(Reason.TLS, f"the server speaks {spoken}, expected at least TLSv1.3")

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A client's context. Reads files and takes about 13 ms: the wire creates each once, in a thread.

        Raises Failed(UNTRUSTED) where a file can't be read: without its authorities no server can be trusted.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f"{name} ({file})" for name, file in (("ca", self.ca), ("cert", self.cert), ("key", self.key)) if file)
            raise Failed(Reason.UNTRUSTED, f"can't use tls: {files}: {error.strerror or error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # `minimum` is judged after the handshake, when the certificate is known
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@dataclass(frozen=True, slots=True)
class Certificate:
    """The contents of one certificate."""

    subject: str
    issuer: str
    names: tuple[str, ...]  # DNS names and addresses that it is for
    not_before: float  # seconds since the epoch
    not_after: float
    serial: str
    fingerprint: str  # SHA-256, hex
    issuer_at: str = ""  # the address of its issuer's certificate, as it says itself; roots have none

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Reads a certificate in DER. Raises ValueError where it is not one."""
        cert = x509.load_der_x509_certificate(der)
        try:
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            listed = [str(n) for kind in (x509.DNSName, x509.IPAddress) for n in names.get_values_for_type(kind)]
        except x509.ExtensionNotFound:
            listed = []
        try:
            access = cert.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
            issuers = [str(a.access_location.value) for a in access if a.access_method == AuthorityInformationAccessOID.CA_ISSUERS]
        except x509.ExtensionNotFound:
            issuers = []
        return cls(
            subject=cert.subject.rfc4514_string(),
            issuer=cert.issuer.rfc4514_string(),
            names=tuple(listed),
            not_before=cert.not_valid_before_utc.timestamp(),
            not_after=cert.not_valid_after_utc.timestamp(),
            serial=f"{cert.serial_number:x}",
            fingerprint=cert.fingerprint(SHA256()).hex(),
            issuer_at=next(iter(issuers), ""),
        )


def presented(tls: ssl.SSLObject) -> list[bytes]:
    """The chain that the server presented, leaf first, in DER: also after a failed verification."""
    return _chain(tls, "get_unverified_chain")


def verified(tls: ssl.SSLObject) -> list[bytes]:
    """The chain up to a trusted authority, leaf first, in DER; empty where none was built."""
    return _chain(tls, "get_verified_chain")


def _chain(tls: Any, method: str) -> list[bytes]:
    if hasattr(tls, method):  # public since Python 3.13
        return list(getattr(tls, method)() or ())
    return [ssl.PEM_cert_to_DER_cert(c.public_bytes()) for c in getattr(tls._sslobj, method)() or ()]  # noqa: SLF001 - private until 3.13


def facts(chain: Sequence[Certificate], trusted: Sequence[Certificate], tls: ssl.SSLObject) -> dict[str, Any]:
    """The facts of a handshake. Those of certificates are absent where the server presented none."""
    found: dict[str, Any] = {TLS_VERSION: tls.version(), "tls_cipher": (tls.cipher() or (None,))[0]}
    if chain:
        leaf = chain[0]
        found |= {
            "cert_expiry": min(c.not_after for c in chain),
            "cert_not_before": leaf.not_before,
            "cert_subject": leaf.subject,
            "cert_issuer": leaf.issuer,
            "cert_names": ", ".join(leaf.names),
            "cert_serial": leaf.serial,
            "cert_fingerprint": leaf.fingerprint,
        }
    if trusted:
        found["chain_expiry"] = min(c.not_after for c in trusted)
    return {name: value for name, value in found.items() if value is not None}


def _ago(seconds: float) -> str:
    """A duration in its largest unit alone, since the message gives the date as well: 40 s, 3 min, 5 h, 12 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length * (2 if unit == "d" else 1):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def failure(error: ssl.SSLError, chain: Sequence[Certificate], host: str, now: float) -> Failed:
    """Why a handshake failed: the exact reason, with the date, the names or the issuer."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return broken(error)
    code, text = error.verify_code, error.verify_message
    if not chain:
        return Failed(Reason.UNTRUSTED, f"the certificate is not valid: {text}")
    leaf = chain[0]
    if code in _EXPIRED:
        expired = next((c for c in chain if c.not_after < now), leaf)
        whose = "" if expired is leaf else f" of {expired.subject}"
        return Failed(Reason.EXPIRED, f"the certificate{whose} expired {_ago(now - expired.not_after)} ago, on {_day(expired.not_after)}")
    if code in _NOT_YET:
        return Failed(Reason.NOT_YET_VALID, f"the certificate is not valid until {_day(leaf.not_before)}")
    if code in _HOSTNAME:
        return Failed(Reason.HOSTNAME, f"the certificate is for {', '.join(leaf.names[:8]) or 'no name'}, not for {host}")
    return _issuer_failure(code, text, chain[-1])


def _issuer_failure(code: int, text: str, last: Certificate) -> Failed:
    if code == _SELF_SIGNED:
        return Failed(Reason.UNTRUSTED, f"the certificate is self-signed ({last.subject})")
    if code == _SELF_SIGNED_IN_CHAIN:
        return Failed(Reason.UNTRUSTED, f"the chain ends at an authority that the runner doesn't trust ({last.subject})")
    if code in _NO_ISSUER:
        if last.issuer_at:
            return Failed(Reason.CHAIN, f"the server left out the certificate of {last.issuer}, which is at {last.issuer_at}")
        return Failed(Reason.UNTRUSTED, f"the runner doesn't trust the issuer of the chain ({last.issuer})")
    return Failed(Reason.UNTRUSTED, f"the certificate is not valid: {text}")


def broken(error: ssl.SSLError) -> Failed:
    """The failure for a TLS error that is not about the server's certificate. In TLS 1.3 an alert about ours comes after the handshake."""
    text = getattr(error, "reason", None) or str(error)
    if words := _OUR_CERTIFICATE.get(text):
        return Failed(Reason.AUTH, words)
    return Failed(Reason.TLS, _BROKEN.get(text, f"TLS failed: {text.lower().replace('_', ' ')}"))


def tls_families() -> tuple[Family, ...]:
    """The families of every kind that uses TLS, filled after a failed handshake, too; the names are the blackbox_exporter's."""
    return (
        fact_family(
            "probe_ssl_earliest_cert_expiry", "When the first certificate of the presented chain expires, Unix time", "cert_expiry"
        ),
        fact_family(
            "probe_ssl_last_chain_expiry_timestamp_seconds",
            "When the verified chain expires, Unix time; absent where none was verified",
            "chain_expiry",
        ),
        info_family(
            "probe_ssl_last_chain_info",
            "The leaf certificate",
            fingerprint_sha256="cert_fingerprint",
            subject="cert_subject",
            issuer="cert_issuer",
            subjectalternative="cert_names",
            serialnumber="cert_serial",
        ),
        info_family("probe_tls_version_info", "The TLS version in use", version=TLS_VERSION),
        info_family("probe_tls_cipher_info", "The cipher suite in use", cipher="tls_cipher"),
    )
