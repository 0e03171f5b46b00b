"""Asking Grafana once, and what its answers mean; asking again, with patience, is `persist`."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from pydantic import SecretStr

from probes.core import Clock, Failed, Reason
from probes.http.standalone import StandaloneTransport
from probes.text import age

_MOST_BYTES = 4 * 2**20
_NOBODY_THERE = (429, 502, 503, 504)  # Grafana has no time, or isn't behind its proxy: for whichever record
_TELLS = 160  # characters of what a refusal says
_Returned = TypeVar("_Returned")


class Unavailable(Exception):  # noqa: N818 - a state of Grafana, not an accident of ours
    """Grafana can't be asked now: down, overloaded, or something else answered in its place. `again`: worth asking once more.

    `of_record`: it may be this record alone that goes wrong, and another one may be taken.
    """

    def __init__(self, message: str, *, again: bool = True, after: float = 0.0, of_record: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.again = again
        self.of_record = of_record
        self.after = after  # seconds that Grafana asks us to wait


class Refused(Exception):  # noqa: N818 - as above
    """Grafana understood, and won't: the token, a right, or the record itself."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

    @property
    def for_good(self) -> bool:
        """Whether it is the record that is refused, so that sending it again later would not help."""
        return self.status in (400, 409, 413, 422)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where Grafana is and how to come in: a token, or a name and a password in the url (the token comes first).

    `namespace` is that of the new API: default, org-N or stack-N.
    """

    url: str = field(repr=False)
    token: SecretStr = field(default_factory=lambda: SecretStr(""))
    api: Literal["auto", "legacy", "apis"] = "auto"
    namespace: str = "default"
    timeout: float = 5.0  # seconds, for each request

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("grafana's url is not an http or https address")

    @property
    def place(self) -> str:
        """The address for a person, without what may be a secret in it."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "") + parts.path.rstrip("/")

    @property
    def authorization(self) -> str:
        """The header's value; "" for an open Grafana."""
        if token := self.token.get_secret_value():
            return f"Bearer {token}"
        parts = urlsplit(self.url)
        if not parts.username:
            return ""
        return "Basic " + base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()

    def discreet(self, text: str) -> str:
        """The text without token and password, however an answer may quote them."""
        password = urlsplit(self.url).password or ""
        secrets = (self.authorization.partition(" ")[2], self.token.get_secret_value(), unquote(password), password)
        for secret in secrets:
            text = text.replace(secret, "***") if secret else text
        return text


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to ask: waits double from `first` to `most` seconds, each drawn from zero up; `total` bounds all."""

    tries: int = 5
    first: float = 0.5
    most: float = 8.0
    total: float = 30.0


def http_client(clock: Clock, user_agent: str) -> httpx.AsyncClient:
    """The client for a Grafana, to be closed. Proxies and authorities are those of the environment."""
    return httpx.AsyncClient(transport=StandaloneTransport(clock, user_agent=user_agent, cap=_MOST_BYTES))


class Transport:
    """One question, one answer. The client is the caller's (`http_client`): opened and closed there."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, clock: Clock) -> None:
        self.place = settings.place
        self._settings = settings
        self._client = client
        self._clock = clock

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        merge: bool = False,
    ) -> Any:
        """The JSON of a 2xx answer. Raises Unavailable and Refused; `merge` sends a merge patch (RFC 7386)."""
        headers = {"Accept": "application/json"}
        if authorization := self._settings.authorization:
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if merge else "application/json"
        content = None if body is None else json.dumps(body).encode()
        url = f"{self.place}{path}"  # httpx would take a name and a password in it for more than our token
        try:
            response = await self._client.request(
                method, url, params=params, content=content, headers=headers, timeout=self._settings.timeout, follow_redirects=False
            )
        except httpx.TimeoutException:
            raise Unavailable(
                f"{self.place} didn't respond to {method} {path} within {self._settings.timeout:g} s", of_record=True
            ) from None
        except httpx.RequestError as error:
            if isinstance(error.__cause__, Failed) and error.__cause__.reason is Reason.SIZE:
                raise Unavailable(f"{self.place} returned more than {_MOST_BYTES >> 20} MiB", again=False, of_record=True) from None
            raise Unavailable(f"{self.place} can't be reached: {self._settings.discreet(str(error) or type(error).__name__)}") from None
        return self._understood(response)

    def _understood(self, response: httpx.Response) -> Any:
        status, body = response.status_code, response.content
        if response.is_success:
            try:
                return json.loads(body) if body.strip() else {}
            except ValueError:
                raise Unavailable(
                    f"{self.place} answered {status} with something that is not JSON: a login page or a proxy, not Grafana's API",
                    again=False,
                    of_record=True,
                ) from None
        if response.is_redirect:
            raise Unavailable(f"{self.place} redirects ({status}) to {_elsewhere(response)}", again=False)
        if status == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            after = self._retry_after(response)
            later = f"; it asks to come back in {age(after)}" if after else ""
            of_record = status not in _NOBODY_THERE
            raise Unavailable(f"{self.place} answered {status}{self._message(body)}{later}", after=after, of_record=of_record)
        raise Refused(f"{self.place} answered {status}{self._message(body)}{_advice(status)}", status)

    def _message(self, body: bytes) -> str:
        """What a JSON error says; nothing of an HTML page."""
        try:
            message = json.loads(body).get("message", "")
        except (ValueError, AttributeError):
            return ""
        return f" ({self._settings.discreet(str(message))[:_TELLS]})" if message else ""

    def _retry_after(self, response: httpx.Response) -> float:
        """Seconds, from either form of Retry-After; 0 where there is none that can be read."""
        written = response.headers.get("retry-after", "")
        if written.isdigit():
            return float(written)
        try:
            return max(0.0, parsedate_to_datetime(written).timestamp() - self._clock.time())
        except ValueError:
            return 0.0


def _elsewhere(response: httpx.Response) -> str:
    """Where a redirect leads: the same path elsewhere is where Grafana is; any other is a page for people."""
    try:
        to = urlsplit(response.headers.get("location", ""))
    except ValueError:
        return "what is no address"
    if to.hostname and to.path == response.request.url.path:
        return f"{to.scheme}://{to.hostname}: write that as Grafana's url"
    return f"{to.path}: a login page, not Grafana's API; see the token and the url"


def _advice(status: int) -> str:
    return {
        401: "; the token is unknown or has expired",
        403: "; the token needs annotations:create, read and write (an Editor's service account)",
        404: "; see the url: Grafana may lie below a path, and its new API may be off",
        413: "; a proxy before Grafana refuses requests of this size",
    }.get(status, "")


async def persist(
    attempt: Callable[[], Awaitable[_Returned]],
    patience: Patience,
    *,
    clock: Clock,
    sleep: Callable[[float], Awaitable[None]],
    rng: random.Random,
) -> _Returned:
    """Attempts until it succeeds, is refused, or patience ends; then raises what the last attempt raised.

    An attempt must begin by looking what is there already: one that seemed to fail may have been carried out.
    """
    ends = clock.monotonic() + patience.total
    for number in range(1, patience.tries + 1):
        try:
            async with asyncio.timeout(max(ends - clock.monotonic(), 0.0)):
                return await attempt()
        except TimeoutError:
            raise Unavailable(f"Grafana took longer than {patience.total:g} s", again=False, of_record=True) from None
        except Unavailable as error:
            wait = max(error.after, rng.uniform(0.0, min(patience.most, patience.first * 2.0 ** (number - 1))))
            if not error.again or number == patience.tries or clock.monotonic() + wait > ends:
                raise
            await sleep(wait)
    raise AssertionError("patience has at least one try")
