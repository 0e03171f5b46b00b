"""Signed assertions for OAuth 2.0 (RFC 7523), as a Google service account makes them, and the end of a token that is a JWT."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

LIFE = 3600  # seconds: as long as Google accepts an assertion, and no shorter than clocks differ


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A key file as Google issues it: the issuer, the key, and where the token is requested."""

    email: str
    token_url: str
    key_id: str
    key: Any  # an RSA private key of cryptography

    @classmethod
    def read(cls, text: str) -> ServiceAccount:
        """Raises ValueError with what is wrong, and nothing of the file."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - only who uses it waits for its import
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

        try:
            fields = json.loads(text)
        except ValueError:
            raise ValueError("is no JSON; write the content of the key file, such as ${file:/run/secrets/service-account.json}") from None
        names = ("client_email", "private_key", "token_uri")
        if missing := [name for name in names if not isinstance(fields, dict) or not isinstance(fields.get(name), str)]:
            raise ValueError(f"is no key file of a service account: {missing[0]} is missing")
        try:
            key = load_pem_private_key(fields["private_key"].encode(), None)
        except Exception:  # noqa: BLE001 - whatever the library raises may repeat the key
            raise ValueError("has a private_key that can't be read") from None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("has a private_key that is no RSA key")
        return cls(fields["client_email"], fields["token_uri"], str(fields.get("private_key_id") or ""), key)

    def assertion(self, now: float, claims: dict[str, str]) -> str:
        """A JWT signed by RS256, for the token endpoint, valid for an hour from `now` (seconds since the epoch)."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above

        head = {"alg": "RS256", "typ": "JWT"} | ({"kid": self.key_id} if self.key_id else {})
        body = {"iss": self.email, "aud": self.token_url, "iat": int(now), "exp": int(now) + LIFE, **claims}
        text = f"{_encoded(head)}.{_encoded(body)}"
        return f"{text}.{_base64url(self.key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def expires_at(token: str) -> float | None:
    """When a JWT ends, in seconds since the epoch; None for a token that is none. Its signature is the target's to judge."""
    parts = token.split(".")
    try:
        end = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["exp"]
        return float(end)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _encoded(fields: dict[str, Any]) -> str:
    return _base64url(json.dumps(fields, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
