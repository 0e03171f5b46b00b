"""OAuth 2.0: client credentials (RFC 6749, 4.4) and service accounts (RFC 7523). Settings, requests, responses, and tokens kept."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self
from urllib.parse import quote_plus, urlencode

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from probes.core import Failed, Reason
from probes.fields import Secret, split_url
from probes.http.jwt import ServiceAccount, expires_at
from probes.http.message import Request, Response
from probes.text import clipped
from probes.wire.tls import Tls

EARLY = 30.0  # seconds before its end from which a token is no longer used; at most a tenth of its life
DEFAULT_LIFE = 300.0  # seconds for which a token without expires_in is used (RFC 6749, 5.1 recommends expires_in)
_ERROR_FIELDS = ("error", "error_description")
_DESCRIPTION = 200  # characters of an error's description that a message carries


class OAuth2(BaseModel):
    """The token endpoint and the client's credentials, or the key file of a service account, which names the endpoint itself.

    The endpoint is not a target: only the request for a token goes there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token_url: str = Field(
        default="",
        description="The address of the token endpoint; a service account's own by default.",
        examples=["https://login.roadtrip.app/token"],
    )
    client_id: str = Field(default="", description="The client's name at the token endpoint.")
    client_secret: SecretStr | None = Field(default=None, description="The client's secret.")
    service_account: Secret | None = Field(
        default=None, description="The key file of a Google service account (JSON), instead of client_id and client_secret."
    )
    subject: str = Field(default="", description="The user for whom a service account acts, where it may (domain-wide delegation).")
    id_token: bool = Field(
        default=False, description="true: send an ID token for `audience`, as Cloud Run and Identity-Aware Proxy want it, no access token."
    )
    scope: str = Field(default="", description="The scope of the token; separate several by spaces.")
    audience: str = Field(default="", description="The audience of the token, if the endpoint requires one.")
    auth: Literal["basic", "post"] = Field(default="basic", description="Where the secret is sent: in a header, or in the form.")
    tls: Tls = Field(default=Tls(), description="TLS settings for the token endpoint: authorities, name and versions.")

    @field_validator("token_url")
    @classmethod
    def _address(cls, url: str) -> str:
        split_url(url, example="https://login.roadtrip.app/token")
        return url

    @field_validator("service_account")
    @classmethod
    def _key_file(cls, text: SecretStr | None) -> SecretStr | None:
        if text is not None:
            split_url(ServiceAccount.read(text.get_secret_value()).token_url)
        return text

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.service_account is None:
            given = {"token_url": self.token_url, "client_id": self.client_id, "client_secret": self.client_secret is not None}
            if missing := [name for name, there in given.items() if not there]:
                raise ValueError(f"{missing[0]} is missing")
            if self.subject or self.id_token:
                raise ValueError(f"{'subject' if self.subject else 'id_token'} goes with service_account")
        elif self.client_id or self.client_secret:
            raise ValueError("give either client_id and client_secret, or service_account")
        elif self.id_token and (not self.audience or self.scope):
            raise ValueError("an ID token has an audience, such as the address of the service, and no scope")
        elif not self.id_token and not self.scope:
            raise ValueError("a service account needs a scope, or an audience and id_token: true")
        return self

    @cached_property
    def _account(self) -> ServiceAccount | None:
        return ServiceAccount.read(self.service_account.get_secret_value()) if self.service_account else None

    @property
    def endpoint(self) -> str:
        """The address of the token endpoint."""
        return self.token_url or (self._account.token_url if self._account else "")

    def request(self, now: float) -> Request:
        """The request for a token. `now` is in seconds since the epoch."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self._account:
            claims = {"sub": self.subject, "target_audience" if self.id_token else "scope": self.audience if self.id_token else self.scope}
            assertion = self._account.assertion(now, {name: value for name, value in claims.items() if value})
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
            return Request("POST", self.endpoint, headers, urlencode(form).encode())
        form = {"grant_type": "client_credentials", "scope": self.scope, "audience": self.audience}
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
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


def read_token(response: Response, now: float, *, id_token: bool = False) -> Token:
    """The token in a response of the token endpoint. Raises Failed, naming the token endpoint, where there is none.

    An ID token is used until shortly before the end that it contains itself.
    """
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
    name = "id_token" if id_token else "access_token"
    value, kind = fields.get(name), fields.get("token_type", "bearer")
    if not isinstance(value, str) or not value or any(not 0x21 <= ord(c) <= 0x7E for c in value):  # noqa: PLR2004 - RFC 6749, A.12
        raise Failed(Reason.SCHEMA, f"the token endpoint's response has no {name}{error}")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Failed(Reason.SCHEMA, f"the token endpoint returned a token of type {kind!r}, but Outrider knows only bearer")
    end = expires_at(value) if id_token else None
    try:
        life = max(0.0, float(fields.get("expires_in", DEFAULT_LIFE)) if end is None else end - now)
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
