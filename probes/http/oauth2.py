"""OAuth 2.0 client credentials (RFC 6749, 4.4): settings, the request for a token, its response, and tokens kept."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote_plus, urlencode

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from probes.core import Failed, Reason
from probes.fields import split_url
from probes.http.message import Request, Response
from probes.text import clipped
from probes.wire.tls import Tls

EARLY = 30.0  # seconds before its end from which a token is no longer used; at most a tenth of its life
DEFAULT_LIFE = 300.0  # seconds for which a token without expires_in is used (RFC 6749, 5.1 recommends expires_in)
_ERROR_FIELDS = ("error", "error_description")
_DESCRIPTION = 200  # characters of an error's description that a message carries


class OAuth2(BaseModel):
    """The token endpoint and the client's credentials. The endpoint is not a target: only the request for a token goes there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token_url: str = Field(description="The address of the token endpoint.", examples=["https://login.roadtrip.app/token"])
    client_id: str = Field(min_length=1, description="The client's name at the token endpoint.")
    client_secret: SecretStr = Field(description="The client's secret.")
    scope: str = Field(default="", description="The scope of the token; separate several by spaces.")
    audience: str = Field(default="", description="The audience of the token, if the endpoint requires one.")
    auth: Literal["basic", "post"] = Field(default="basic", description="Where the secret is sent: in a header, or in the form.")
    tls: Tls = Field(default=Tls(), description="TLS settings for the token endpoint: authorities, name and versions.")

    @field_validator("token_url")
    @classmethod
    def _address(cls, url: str) -> str:
        split_url(url, example="https://login.roadtrip.app/token")
        return url

    def request(self) -> Request:
        """The request for a token."""
        form = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = self.client_secret.get_secret_value()
        if self.auth == "post":
            form |= {"client_id": self.client_id, "client_secret": secret}
        else:  # each is form-encoded before they are joined (RFC 6749, 2.3.1)
            pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return Request("POST", self.token_url, headers, urlencode({k: v for k, v in form.items() if v}).encode())


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and until when it is used (`clock.time()`)."""

    value: str
    until: float


def read_token(response: Response, now: float) -> Token:
    """The token in a response of the token endpoint. Raises Failed, naming the token endpoint, where there is none."""
    try:
        fields = response.json()
    except ValueError:
        fields = {}
    if not isinstance(fields, dict):
        fields = {}
    error = ""
    if words := [
        clipped(json.dumps(word)[1:-1], _DESCRIPTION) for name in _ERROR_FIELDS if isinstance(word := fields.get(name), str) and word
    ]:
        error = f": {', '.join(words)}"
    if response.status != 200:  # noqa: PLR2004 - RFC 6749, 5.1
        refused = Reason.THROTTLED if response.status == 429 else Reason.AUTH  # noqa: PLR2004 - HTTP's own numbers
        reason = refused if 400 <= response.status < 500 else Reason.STATUS  # noqa: PLR2004 - as above
        raise Failed(reason, f"the token endpoint answered {response.status}{error}")
    value, kind = fields.get("access_token"), fields.get("token_type", "bearer")
    if not isinstance(value, str) or not value or any(not 0x21 <= ord(c) <= 0x7E for c in value):  # noqa: PLR2004 - RFC 6749, A.12
        raise Failed(Reason.SCHEMA, f"the token endpoint's response has no access_token{error}")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Failed(Reason.SCHEMA, f"the token endpoint returned a token of type {kind!r}, but Outrider knows only bearer")
    try:
        life = max(0.0, float(fields.get("expires_in", DEFAULT_LIFE)))
    except (TypeError, ValueError, OverflowError):
        life = DEFAULT_LIFE
    return Token(value, now + life - min(EARLY, life / 10))


class Tokens:
    """Tokens by their settings: fetched one at a time, kept until shortly before their end, shared by the runs of one wire."""

    def __init__(self) -> None:
        self._kept: dict[OAuth2, Token] = {}
        self._locks: dict[OAuth2, asyncio.Lock] = {}

    async def get(self, oauth2: OAuth2, now: Callable[[], float], fetch: Callable[[], Awaitable[Token]]) -> Token:
        """A valid token. A run that waits for another run's fetch uses its token, or fetches one itself where that failed."""
        if valid := self._valid(oauth2, now()):
            return valid
        async with self._locks.setdefault(oauth2, asyncio.Lock()):
            if valid := self._valid(oauth2, now()):
                return valid
            fetched = self._kept[oauth2] = await fetch()
            return fetched

    def _valid(self, oauth2: OAuth2, now: float) -> Token | None:
        kept = self._kept.get(oauth2)
        return kept if kept and now < kept.until else None

    def drop(self, oauth2: OAuth2, refused: Token) -> None:
        """Forgets a token that the target refused; a token that was fetched since then stays."""
        if self._kept.get(oauth2) == refused:
            del self._kept[oauth2]

    def close(self) -> None:
        """Forgets all tokens."""
        self._kept.clear()
