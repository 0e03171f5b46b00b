"""httpx on the wire for requests outside of a check's run: to Grafana, and to the runner that carries out a gate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from probes.core import Clock, Failed, PolicyRefused, QuotaRefused, Sender
from probes.http.decoding import ENCODINGS
from probes.http.plain import PORTS
from probes.http.pool import BODY_CAP, ConnectionPool
from probes.http.route import HttpRoute
from probes.http.transport import as_httpx, send
from probes.probe import Context
from probes.wire.proxy import Proxy
from probes.wire.wire import Wire

_LONGEST = 86400.0  # seconds that a request without a timeout may take


class StandaloneTransport(httpx.AsyncBaseTransport):
    """For requests to addresses that an operator names: no permit is needed, no address is refused, nothing is counted.

    - httpx's read timeout is the timeout of the whole request, from resolving to the last byte of its response.
    - It reads the same environment variables as httpx's own transport: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; SSL_CERT_FILE
      and SSL_CERT_DIR. Without the last two it trusts the system's authorities, not certifi's.
    - Every failure is an httpx.TransportError. Nothing is sent a second time: the caller decides about that.
    """

    def __init__(self, clock: Clock, *, user_agent: str, cap: int = BODY_CAP) -> None:
        self._clock = clock
        self._sender = Sender(user_agent, "", "", "")
        self._cap = cap
        self._wire = Wire()
        self._pools: dict[Proxy | None, ConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = request.extensions.get("timeout", {}).get("read")
        ctx = Context(
            check="",
            wire=self._wire,
            clock=self._clock,
            ledger=_NoLedger(),
            sender=self._sender,
            permit=_permit_any,
            deadline=self._clock.monotonic() + (_LONGEST if seconds is None else seconds),
            rng=random.SystemRandom(),
        )
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds
        try:
            return await send(ctx, self._pool(request.url), request, cap=self._cap, until=until)
        except (Failed, OSError) as error:
            raise as_httpx(error) from error
        except PolicyRefused as refused:
            raise httpx.LocalProtocolError(refused.message) from refused

    def _pool(self, url: httpx.URL) -> ConnectionPool:
        try:
            proxy = environment_proxy(url)
        except ValueError as error:
            raise httpx.ProxyError(str(error)) from error
        if proxy not in self._pools:
            self._pools[proxy] = ConnectionPool(HttpRoute(proxy=proxy, encodings=ENCODINGS, any_address=True), resends=False)
        return self._pools[proxy]

    async def aclose(self) -> None:
        """Closes all connections."""
        for pool in self._pools.values():
            pool.close()
        await self._wire.aclose()


def environment_proxy(url: httpx.URL) -> Proxy | None:
    """The proxy that the environment names for an address. Raises ValueError with what to write where its value can't be used."""
    named, host = getproxies(), url.raw_host.decode("ascii")
    text = named.get(url.scheme) or named.get("all")
    if not text or proxy_bypass(host) or proxy_bypass(f"{host}:{url.port or PORTS.get(url.scheme)}"):
        return None
    try:
        return Proxy.read(text if "://" in text else f"http://{text}", port=80)
    except ValueError as error:
        raise ValueError(f"the environment's proxy for {url.scheme}:// {error}") from None


async def _permit_any(method: str, url: str) -> None:
    """Permits every request: the operator named the address."""


class _NoLedger:
    """Implements probes.core.Ledger for requests that have no budget."""

    async def reserve(self, budget: str, amount: float, most: float, window: float) -> int:  # noqa: ARG002 - the protocol's
        raise QuotaRefused("a request outside of a run has no budget")

    async def settle(self, reservation: int, amount: float) -> None:
        """Does nothing: nothing was reserved."""

    async def hold(self, key: str, seconds: float, why: str) -> None:
        """Does nothing: no key is ever held."""

    async def held(self, key: str) -> None:
        """Does nothing: no key is ever held."""

    async def remember(self, check: str, name: str, body: Mapping[str, Any], seconds: float) -> None:
        """Keeps nothing: a standalone request holds nothing."""

    async def remembered(self, check: str) -> Mapping[str, Mapping[str, Any]]:  # noqa: ARG002 - the protocol's
        """There are no records."""
        return {}

    async def forget(self, check: str, name: str) -> None:
        """There is nothing to forget."""

    async def recall(self, topic: str, name: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - as above
        """Keeps nothing."""
        return otherwise
