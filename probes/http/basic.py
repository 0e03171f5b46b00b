"""Basic authentication (RFC 7617)."""

from __future__ import annotations

import base64

from pydantic import BaseModel, ConfigDict, SecretStr


class Basic(BaseModel):
    """A user and a password for basic authentication (RFC 7617)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user: str
    password: SecretStr

    def header(self) -> str:
        """The value of the Authorization header."""
        pair = f"{self.user}:{self.password.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
