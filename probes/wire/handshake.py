"""What a TLS handshake showed: certificates, version and cipher suite, as facts and as metric families."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from probes.facts import TLS_VERSION
from probes.families import Family, Samples, fact_family
from probes.text import is_address
from probes.wire.certificate import Certificate

_SUITE = re.compile(r"(?:(ECDHE|DHE)-(RSA|ECDSA|DSS)-)?(AES|ARIA|CAMELLIA)(128|256)-(?:(GCM)-)?(SHA[0-9]*)\Z")  # by OpenSSL
_DER = 2  # X509_FILETYPE_ASN1 of OpenSSL, which _ssl calls ENCODING_DER
_CHACHA = re.compile(r"(ECDHE|DHE)-(RSA|ECDSA)-CHACHA20-POLY1305\Z")


def presented(tls: ssl.SSLObject) -> list[bytes]:
    """The chain that the server presented, leaf first, in DER: also after a failed verification."""
    return _chain(tls, "get_unverified_chain")


def verified(tls: ssl.SSLObject) -> list[bytes]:
    """The chain up to a trusted authority, leaf first, in DER; empty where none was built."""
    return _chain(tls, "get_verified_chain")


def _chain(tls: Any, method: str) -> list[bytes]:
    if hasattr(tls, method):  # public since Python 3.13
        return list(getattr(tls, method)() or ())
    return [c.public_bytes(_DER) for c in getattr(tls._sslobj, method)() or ()]  # noqa: SLF001 - private until 3.13


def version_facts(tls: ssl.SSLObject) -> dict[str, str]:
    """The version and the cipher suite of a handshake, by OpenSSL's names."""
    found = {TLS_VERSION: tls.version(), "tls_cipher": (tls.cipher() or (None,))[0]}
    return {name: value for name, value in found.items() if value is not None}


def certificate_facts(chain: Sequence[Certificate], trusted: Sequence[Certificate]) -> dict[str, Any]:
    """The facts of a presented chain and of the verified one; none where the server presented no certificate."""
    found: dict[str, Any] = {}
    if chain:
        leaf = chain[0]
        found |= {
            "cert_expiry": min((c.not_after for c in chain if c.not_after is not None), default=None),
            "cert_not_before": leaf.not_before,
            "cert_subject": leaf.subject,
            "cert_issuer": leaf.issuer,
            "cert_names": ", ".join(leaf.names),
            "cert_serial": leaf.serial,
            "cert_fingerprint": leaf.fingerprint,
        }
    if trusted:
        found["chain_expiry"] = min((c.not_after for c in trusted if c.not_after is not None), default=None)
    return {name: value for name, value in found.items() if value is not None}


CERTIFICATE_FACTS = (
    "cert_expiry",
    "cert_not_before",
    "cert_subject",
    "cert_issuer",
    "cert_names",
    "cert_serial",
    "cert_fingerprint",
    "chain_expiry",
)


def expires(facts: Mapping[str, Any]) -> float:
    """When the chain of these facts expires: the verified one, since a presented one may have a cross-signature that nobody needs."""
    expiry: float = facts.get("chain_expiry", facts.get("cert_expiry", math.inf))
    return expiry


def suite(name: str) -> str:
    """The name of a cipher suite in the standards, by OpenSSL's; another name stays as it is."""
    if found := _CHACHA.match(name):
        return f"TLS_{found[1]}_{found[2]}_WITH_CHACHA20_POLY1305_SHA256"
    if not (found := _SUITE.match(name)):
        return name
    exchange = f"{found[1]}_{found[2]}" if found[1] else "RSA"
    return f"TLS_{exchange}_WITH_{found[3]}_{found[4]}_{found[5] or 'CBC'}_{found[6]}"


def _leaf_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Samples:
    known = [facts.get(name) for name in ("cert_fingerprint", "cert_subject", "cert_issuer", "cert_names", "cert_serial")]
    if None in known:
        return []
    fingerprint, subject, issuer, names, serial = map(str, known)
    dns_names = ",".join(name for name in names.split(", ") if not is_address(name))
    return [((fingerprint, subject, issuer, dns_names, serial), 1.0)]


def _version_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Samples:
    """TLS 1.3, where OpenSSL writes TLSv1.3, and TLSv1 for 1.0."""
    version = str(facts.get(TLS_VERSION, "")).removeprefix("TLSv")
    return [((f"TLS {'1.0' if version == '1' else version}",), 1.0)] if version else []


def _cipher_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Samples:
    return [((suite(facts["tls_cipher"]),), 1.0)] if "tls_cipher" in facts else []


def tls_families() -> tuple[Family, ...]:
    """The families of every kind that uses TLS, filled after a failed handshake, too; names and labels are the blackbox_exporter's."""
    return (
        fact_family(
            "probe_ssl_earliest_cert_expiry", "When the first certificate of the presented chain expires, Unix time", "cert_expiry"
        ),
        fact_family(
            "probe_ssl_last_chain_expiry_timestamp_seconds",
            "When the verified chain expires, Unix time; absent where none was verified",
            "chain_expiry",
        ),
        Family(
            "probe_ssl_last_chain_info",
            "The leaf certificate",
            _leaf_samples,
            ("fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
        ),
        Family("probe_tls_version_info", "The TLS version in use", _version_samples, ("version",)),
        Family("probe_tls_cipher_info", "The cipher suite in use", _cipher_samples, ("cipher",)),
    )
