"""TLS: the settings, contexts made once, what a server's certificates say, and why a handshake failed in exact words."""

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
from probes.families import Family, fact_family, info_family
from probes.fields import OptionalFile

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_EXPIRED, _NOT_YET = {10}, {9}
_HOSTNAME = {62, 64}
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 18, 19
_NO_ISSUER = {2, 20, 21}
_OUR_CERTIFICATE: Mapping[str, str] = {  # what a server's alert says of the certificate that we show, by OpenSSL's names
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
    """How a check speaks TLS. The system's authorities count, or those of SSL_CERT_FILE, or those of `ca`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ca: OptionalFile = Field(default=None, description="A PEM file with the authorities to trust instead of the system's.")
    server_name: str | None = Field(default=None, description="The name to request (SNI) and to verify, instead of the host's.")
    verify: bool = Field(default=True, description="false accepts any certificate; its facts are recorded in any case.")
    cert: OptionalFile = Field(default=None, description="A PEM file with the client certificate, for a server that requires one.")
    key: OptionalFile = Field(default=None, description="A PEM file with the certificate's key, if `cert` doesn't have it.")
    minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest TLS version that is accepted.")

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> Self:
        if self.key and not self.cert:
            raise ValueError("key belongs to a cert; give that, too")
        return self

    def stamp(self) -> tuple[float, ...]:
        """When the files were last changed: a context made before is stale. Looks at the disk."""
        files = (self.ca or os.environ.get("SSL_CERT_FILE"), self.cert, self.key)
        return tuple(Path(file).stat().st_mtime for file in files if file and Path(file).exists())

    def judge_version(self, spoken: str | None) -> None:
        """Raises Failed(tls) for an older version (as OpenSSL names it) than is accepted; before a byte of ours is sent in it."""
        if self.minimum == "1.3" and spoken != "TLSv1.3":
            raise Failed(Reason.TLS, f"the server speaks {spoken}, expected at least TLSv1.3")

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A client's context. Reads files and takes some 13 ms: the wire makes each once, in a thread.

        Raises Failed(UNTRUSTED) where a file can't be read: without its authorities nothing can be trusted.
        """
        try:
            made = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                made.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f"{name} ({file})" for name, file in (("ca", self.ca), ("cert", self.cert), ("key", self.key)) if file)
            raise Failed(Reason.UNTRUSTED, f"can't use tls: {files}: {error.strerror or error}") from error
        made.minimum_version = ssl.TLSVersion.TLSv1_2  # `minimum` is judged behind the handshake, when the certificate is known
        if not self.verify:
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        if alpn:
            made.set_alpn_protocols(list(alpn))
        return made


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says."""

    subject: str
    issuer: str
    names: tuple[str, ...]  # DNS names and addresses that it is for
    not_before: float  # seconds since the epoch
    not_after: float
    serial: str
    fingerprint: str  # SHA-256, hex
    issuer_at: str = ""  # where its issuer's certificate can be had, by its own word: authorities' roots need no such place

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """Reads a certificate in DER. Raises ValueError for what is none."""
        cert = x509.load_der_x509_certificate(der)
        try:
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            listed = [str(n) for kind in (x509.DNSName, x509.IPAddress) for n in names.get_values_for_type(kind)]
        except x509.ExtensionNotFound:
            listed = []
        return cls(
            subject=cert.subject.rfc4514_string(),
            issuer=cert.issuer.rfc4514_string(),
            names=tuple(listed),
            not_before=cert.not_valid_before_utc.timestamp(),
            not_after=cert.not_valid_after_utc.timestamp(),
            serial=f"{cert.serial_number:x}",
            fingerprint=cert.fingerprint(SHA256()).hex(),
            issuer_at=_issuer_at(cert),
        )

    def shown(self) -> dict[str, Any]:
        """What evidence keeps of it."""
        return {"subject": self.subject, "issuer": self.issuer, "names": list(self.names), "not_after": _day(self.not_after)}


def _issuer_at(cert: x509.Certificate) -> str:
    try:
        told = cert.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ""
    return next((str(a.access_location.value) for a in told if a.access_method == AuthorityInformationAccessOID.CA_ISSUERS), "")


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
    """What metrics and people want to know of a handshake, by the names of the facts; nothing where nothing was shown."""
    noted: dict[str, Any] = {"tls_version": tls.version(), "tls_cipher": (tls.cipher() or (None,))[0]}
    if chain:
        leaf = chain[0]
        noted |= {
            "cert_expiry": min(c.not_after for c in chain),
            "cert_not_before": leaf.not_before,
            "cert_subject": leaf.subject,
            "cert_issuer": leaf.issuer,
            "cert_names": ", ".join(leaf.names),
            "cert_serial": leaf.serial,
            "cert_fingerprint": leaf.fingerprint,
        }
    if trusted:
        noted["chain_expiry"] = min(c.not_after for c in trusted)
    return {name: value for name, value in noted.items() if value is not None}


def ago(seconds: float) -> str:
    """A stretch of time in the largest unit that says enough: 40 s, 3 min, 5 h, 12 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length * (2 if unit == "d" else 1):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def failure(error: ssl.SSLError, chain: Sequence[Certificate], host: str, now: float) -> Failed:
    """Why a handshake failed: the exact reason, with since when, which names, whose signature."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _mistrust(error.verify_code, error.verify_message, chain, host, now)
    return broken(error)


def broken(error: ssl.SSLError) -> Failed:
    """What broke TLS, where it is no certificate of the server's: while hands are shaken, or (in TLS 1.3, over ours) behind that."""
    text = getattr(error, "reason", None) or str(error)
    if words := _OUR_CERTIFICATE.get(text):
        return Failed(Reason.AUTH, words)
    return Failed(Reason.TLS, _BROKEN.get(text, f"TLS failed: {text.lower().replace('_', ' ')}"))


def _mistrust(code: int, text: str, chain: Sequence[Certificate], host: str, now: float) -> Failed:
    if not chain:
        return Failed(Reason.UNTRUSTED, f"the certificate is not valid: {text}")
    if code in _EXPIRED:
        return _expired(chain, now)
    if code in _NOT_YET:
        return Failed(Reason.NOT_YET_VALID, f"the certificate is not valid until {_day(chain[0].not_before)}")
    if code in _HOSTNAME:
        return Failed(Reason.HOSTNAME, f"the certificate is for {', '.join(chain[0].names[:8]) or 'no name'}, not for {host}")
    return _unknown_issuer(code, text, chain)


def _expired(chain: Sequence[Certificate], now: float) -> Failed:
    dead = next((c for c in chain if c.not_after < now), chain[0])
    whose = "" if dead is chain[0] else f" of {dead.subject}"
    return Failed(Reason.EXPIRED, f"the certificate{whose} expired {ago(now - dead.not_after)} ago, on {_day(dead.not_after)}")


def _unknown_issuer(code: int, text: str, chain: Sequence[Certificate]) -> Failed:
    last = chain[-1]
    if code == _SELF_SIGNED:
        return Failed(Reason.UNTRUSTED, f"the certificate is self-signed ({last.subject})")
    if code == _SELF_SIGNED_IN_CHAIN:
        return Failed(Reason.UNTRUSTED, f"the chain ends at an authority that the runner doesn't trust ({last.subject})")
    if code in _NO_ISSUER and last.issuer_at:
        return Failed(Reason.CHAIN, f"the server left out the certificate of {last.issuer}, which is at {last.issuer_at}")
    if code in _NO_ISSUER:
        return Failed(Reason.UNTRUSTED, f"the runner doesn't trust the issuer of the chain ({last.issuer})")
    return Failed(Reason.UNTRUSTED, f"the certificate is not valid: {text}")


def tls_families() -> tuple[Family, ...]:
    """What every kind that shakes hands knows, also where the handshake failed; the names are the blackbox_exporter's."""
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
        info_family("probe_tls_version_info", "The TLS version in use", version="tls_version"),
        info_family("probe_tls_cipher_info", "The cipher suite in use", cipher="tls_cipher"),
    )
