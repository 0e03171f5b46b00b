"""One-time passwords by the time (RFC 6238): `{{totp}}` in the steps of a login with a second factor."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from probes.fields import Duration, Key


def _decoded(text: str) -> bytes:
    """The bytes of a secret as authenticator apps show it: base32, with blanks and small letters, without padding."""
    bare = "".join(text.split()).replace("-", "").upper().rstrip("=")
    return base64.b32decode(bare + "=" * (-len(bare) % 8))


def _readable(secret: SecretStr) -> SecretStr:
    try:
        decoded = _decoded(secret.get_secret_value())
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError("is not base32, as an authenticator app shows it: letters A to Z and digits 2 to 7")
    return secret


class Totp(BaseModel):
    """The second factor of an account: its secret, and how codes are made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: Annotated[Key, AfterValidator(_readable)] = Field(description="The secret in base32, as it is shown to authenticator apps.")
    digits: Literal[6, 7, 8] = Field(default=6, description="The digits of a code.")
    period: Duration = Field(default=30.0, description="How long a code is valid.")
    algorithm: Literal["sha1", "sha256", "sha512"] = Field(default="sha1", description="The hash function: sha1 for most.")

    def code(self, now: float) -> str:
        """The code at a moment, in seconds since the epoch."""
        counter = int(now // self.period).to_bytes(8, "big")
        digest = hmac.new(_decoded(self.secret.get_secret_value()), counter, self.algorithm).digest()
        at = digest[-1] & 0x0F
        number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
        return str(number % 10**self.digits).zfill(self.digits)


def _secret_alone(value: Any) -> Any:
    return {"secret": value} if isinstance(value, str) else value


TotpField = Annotated[Totp, BeforeValidator(_secret_alone, json_schema_input_type=str | Totp)]
