"""A kind from outside, which asks by httpx over the run's transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import httpx
from pydantic import PrivateAttr

from probes.core import Ask, Reason, Result
from probes.http.route import HttpRoute
from probes.http.transport import HTTPX_ERRORS, HttpTransport
from probes.probe import Context, Probe
from probes.target import Target

Asking = Callable[[httpx.AsyncClient, str], Awaitable[object]]


class Outside(Probe):
    """What somebody writes who knows httpx, and as much of us as CONTRIBUTING.md says."""

    errors: ClassVar[dict[type[Exception], Reason]] = {**HTTPX_ERRORS}

    url: str
    method: str = "GET"
    target: Target | None = None
    _asking: Asking | None = PrivateAttr(default=None)
    _route: HttpRoute | None = PrivateAttr(default=None)
    _client: dict[str, Any] = PrivateAttr(default={})

    def address(self) -> str:
        return self.url

    def asks(self) -> tuple[Ask, ...]:
        return (Ask(self.method, self.url),)

    async def run(self, ctx: Context) -> Result:
        async with httpx.AsyncClient(transport=HttpTransport(ctx, self._route), **self._client) as client:
            if self._asking is not None:
                return Result.passed(str(await self._asking(client, self.url)))
            return Result.passed((await client.request(self.method, self.url)).raise_for_status().text)


def outside(url: str, asking: Asking | None = None, *, route: HttpRoute | None = None, client: Any = None, **settings: Any) -> Outside:
    """The kind, with what it does and how."""
    probe = Outside(url=url, **settings)
    probe._asking, probe._route, probe._client = asking, route, client or {}
    return probe
