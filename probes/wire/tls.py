"""TLS: settings, contexts, the facts of a handshake, and exact messages for handshakes that fail."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from probes.core import Failed, Reason
from probes.fields import Host, OptionalFile
from probes.wire.certificate import Certificate

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_EXPIRED, _NOT_YET = {10}, {9}
_HOSTNAME = {62, 64}
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 18, 19
_NO_ISSUER = {2, 20, 21}
_NAMELESS = "has no name (SAN); its CN doesn't count"
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
_OPENSSL_VERSIONS: Mapping[str, str] = {"1.0": "TLSv1", "1.1": "TLSv1.1", "1.2": "TLSv1.2", "1.3": "TLSv1.3"}  # the oldest first

Version = Annotated[
    Literal["1.0", "1.1", "1.2", "1.3"],
    BeforeValidator(lambda version: str(version) if isinstance(version, float) else version),  # what 1.2 is to YAML
    WithJsonSchema({"enum": ["1.0", "1.1", "1.2", "1.3", 1.0, 1.1, 1.2, 1.3]}),
]


class Tls(BaseModel):
    """A check's TLS settings. It trusts the system's authorities, or those of SSL_CERT_FILE, or those of `ca`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ca: OptionalFile = Field(default=None, description="A PEM file with the authorities to trust instead of the system's.")
    server_name: Host | None = Field(default=None, description="The name to request (SNI) and to verify, instead of the host's.")
    verify: bool = Field(default=True, description="false accepts any certificate; its facts are recorded in any case.")
    check_name: bool = Field(default=True, description="false accepts a trusted certificate for any name, as sslmode=verify-ca does.")
    cert: OptionalFile = Field(default=None, description="A PEM file with the client certificate, for a server that requires one.")
    key: OptionalFile = Field(default=None, description="A PEM file with the certificate's key, if `cert` doesn't have it.")
    minimum: Version = Field(default="1.2", description="The oldest TLS version that is accepted; 1.0 and 1.1 are for old devices.")

    @field_validator("ca")
    @classmethod
    def _read_authorities(cls, ca: Path | None, info: ValidationInfo) -> Path | None:
        if (info.context or {}).get("files"):
            judge_authorities(ca)
        return ca

    @model_validator(mode="after")
    def _read_certificate(self, info: ValidationInfo) -> Self:
        if self.key and not self.cert:
            raise ValueError("key belongs to a cert; give that, too")
        if (info.context or {}).get("files"):
            self.judge_certificate()
        return self

    def judge_certificate(self) -> None:
        """Raises ValueError where the client certificate or its key can't be used. Reads the disk."""
        if self.cert:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self.cert, self.key, _refuse_password)
            except OSError as error:
                raise ValueError(_unusable(error, {"cert": self.cert, "key": self.key})) from None

    def stamp(self) -> tuple[float, ...]:
        """When each of the files was last changed: a context from before is stale. Reads the disk."""
        files = (self.ca or os.environ.get("SSL_CERT_FILE"), self.cert, self.key)
        return tuple(Path(file).stat().st_mtime for file in files if file and Path(file).exists())

    def judge_version(self, spoken: str | None) -> None:
        """Raises Failed(tls) for an older version (by OpenSSL's name) than `minimum`, before anything is sent in it."""
        if spoken in [name for version, name in _OPENSSL_VERSIONS.items() if version < self.minimum]:
            raise Failed(Reason.TLS, f"the server speaks {spoken}, expected at least {_OPENSSL_VERSIONS[self.minimum]}")

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A client's context. Reads files and takes about 13 ms: the wire creates each once, in a thread.

        Raises Failed(INTERNAL) where a file can't be used, or where there are no authorities: that says nothing of the target.
        """
        authorities = self.ca or os.environ.get("SSL_CERT_FILE")
        try:
            if self.verify and authorities:
                _judge_authorities(authorities)
            context = ssl.create_default_context(cafile=self.ca if self.verify else None)
            if self.verify and not (context.cert_store_stats()["x509"] or _holds_files(ssl.get_default_verify_paths().capath)):
                raise OSError("this machine has no authorities; install ca-certificates, or set tls.ca")
            if self.cert:
                context.load_cert_chain(self.cert, self.key, _refuse_password)
        except OSError as error:
            files = {"ca" if self.ca else "SSL_CERT_FILE": authorities, "cert": self.cert, "key": self.key}
            raise Failed(Reason.INTERNAL, _unusable(error, files)) from error
        # Each Python has other defaults: 3.13 takes an authority of `ca` that is no root, and refuses what is against RFC 5280.
        context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.hostname_checks_common_name = False  # as in browsers: a certificate is for its alternative names alone
        # `minimum` is judged after the handshake, when the certificate is known
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.minimum in ("1.0", "1.1"):
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # their signatures are too weak for OpenSSL's defaults
        context.check_hostname = self.verify and self.check_name
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def judge_authorities(ca: Path | None) -> None:
    """Raises ValueError where a check's own authorities can't be used."""
    if ca:
        try:
            _judge_authorities(ca)
        except OSError as error:
            raise ValueError(_unusable(error, {"ca": ca})) from None


def _judge_authorities(file: Path | str) -> None:
    """Raises OSError where the file can't be read or has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLError):
        context.load_verify_locations(file)
    if not context.cert_store_stats()["x509"]:
        raise OSError("the file has no certificate in PEM")


def _holds_files(folder: str | None) -> bool:
    return folder is not None and Path(folder).is_dir() and any(Path(folder).iterdir())


def _refuse_password() -> str:
    """Instead of OpenSSL's question on the terminal."""
    raise OSError("the key has a password; store it without one")


def _unusable(error: OSError, files: Mapping[str, Path | str | None]) -> str:
    named = ", ".join(f"{name} {file}" for name, file in files.items() if file)
    return f"can't use tls{f': {named}' if named else ''}: {error.strerror or error}"


def _ago(seconds: float) -> str:
    """A duration in its largest unit alone, since the message gives the date as well: 40 s, 3 min, 5 h, 12 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length * (2 if unit == "d" else 1):
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def day(moment: float) -> str:
    """A moment (seconds since the epoch) as a message gives it: `2026-11-24 14:12 UTC`."""
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
        expired = next((c for c in chain if c.not_after is not None and c.not_after < now), leaf)
        whose = "" if expired is leaf else f" of {expired.subject}"
        since = "has expired" if expired.not_after is None else f"expired {_ago(now - expired.not_after)} ago, on {day(expired.not_after)}"
        return Failed(Reason.EXPIRED, f"the certificate{whose} {since}")
    if code in _NOT_YET:
        until = "yet" if leaf.not_before is None else f"until {day(leaf.not_before)}"
        return Failed(Reason.NOT_YET_VALID, f"the certificate is not valid {until}")
    if code in _HOSTNAME:
        named = f"is for {', '.join(leaf.names[:8])}, not for {host}"
        return Failed(Reason.HOSTNAME, f"the certificate {named if leaf.names else _NAMELESS}")
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
