"""OAuth 2.0 client credentials (RFC 6749, 4.4): the settings, the request for a token, what its answer means, tokens kept."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from probes.core import Failed, Reason
from probes.http.message import Request, Response
from probes.wire.tls import Tls

EARLY = 30.0  # seconds before a token's end at which it is no longer used; of a short-lived one a tenth of its life
UNTOLD = 300.0  # seconds for which a token is used whose end isn't told (RFC 6749, 5.1: it should be, and needn't)
_SHOWN = 200  # characters of an error's description


class OAuth2(BaseModel):
    """Where a token is had, and for whom. The token endpoint is no target: only this request goes there."""

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
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("begins with http:// or https:// and a host")
        return url

    def request(self) -> Request:
        """What is sent to the token endpoint."""
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
    """A token, and until when it is used (`clock.time()`)."""

    value: str
    until: float


def token(answer: Response, now: float) -> Token:
    """The token that an answer carries. Raises Failed, saying that it was the token endpoint that failed."""
    said = _said(answer)
    if answer.status != 200:  # noqa: PLR2004 - RFC 6749, 5.1
        refused = Reason.THROTTLED if answer.status == 429 else Reason.AUTH  # noqa: PLR2004 - HTTP's own numbers
        reason = refused if 400 <= answer.status < 500 else Reason.STATUS  # noqa: PLR2004 - as above
        raise Failed(reason, f"the token endpoint answered {answer.status}{_error(said)}")
    value, kind = said.get("access_token"), said.get("token_type", "bearer")
    if not isinstance(value, str) or not value or any(not 0x21 <= ord(sign) <= 0x7E for sign in value):  # noqa: PLR2004 - RFC 6749, A.12
        raise Failed(Reason.SCHEMA, f"the token endpoint's response has no access_token{_error(said)}")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Failed(Reason.SCHEMA, f"the token endpoint returned a token of type {kind!r}, but Outrider knows only bearer")
    try:
        life = max(0.0, float(said.get("expires_in", UNTOLD)))
    except (TypeError, ValueError):
        life = UNTOLD
    return Token(value, now + life - min(EARLY, life / 10))


def _said(answer: Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _error(said: dict[str, Any]) -> str:
    told = [said.get(name) for name in ("error", "error_description")]
    words = ", ".join(json.dumps(word)[1:-1][:_SHOWN] for word in told if isinstance(word, str) and word)
    return f": {words}" if words else ""


class Tokens:
    """Tokens by what they were had with, fetched one at a time, and kept until shortly before their end."""

    def __init__(self) -> None:
        self._kept: dict[OAuth2, Token] = {}
        self._locks: dict[OAuth2, asyncio.Lock] = {}

    async def get(self, oauth2: OAuth2, now: Callable[[], float], fetch: Callable[[], Awaitable[Token]]) -> Token:
        """A token that still holds. Whoever waits for another run's fetch takes what that one got, or tries itself."""
        if held := self._held(oauth2, now()):
            return held
        async with self._locks.setdefault(oauth2, asyncio.Lock()):
            if held := self._held(oauth2, now()):
                return held
            fetched = self._kept[oauth2] = await fetch()
            return fetched

    def _held(self, oauth2: OAuth2, now: float) -> Token | None:
        kept = self._kept.get(oauth2)
        return kept if kept and now < kept.until else None

    def drop(self, oauth2: OAuth2, refused: Token) -> None:
        """Forgets a token that was refused; one that was fetched meanwhile stays."""
        if self._kept.get(oauth2) == refused:
            del self._kept[oauth2]

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
