"""Sockets: resolving, dialling and TLS, with phases at the socket's own events.

A Wire belongs to a plan and outlives its runs: it keeps the resolver and the TLS contexts. The connections of every kind come from
here, so that the phases of all kinds mean the same.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, cast

from probes.core import Failed, Measurements, PolicyRefused, Reason
from probes.facts import DNS_LOOKUP, IP, IP_PROTOCOL, TLS_VERSION
from probes.text import host_and_port
from probes.wire.addresses import in_order, record_types, refusal
from probes.wire.resolver import Resolver
from probes.wire.route import Route
from probes.wire.stream import Stream
from probes.wire.tls import Certificate, Tls, facts, failure, presented, verified

FRESH = 10.0  # seconds after which a TLS context's files are looked at again
NEXT_ADDRESS = 0.25  # RFC 8305, section 5: seconds after which the next address is tried, too


class Shared(Protocol):
    """What the runs of one wire share, such as kept connections and tokens."""

    def close(self) -> None: ...


_Shared = TypeVar("_Shared", bound=Shared)


@dataclass(frozen=True, slots=True)
class _CachedContext:
    """A TLS context, and the state of its files when it was created or they were last looked at."""

    context: ssl.SSLContext
    stamp: tuple[float, ...]
    checked_at: float  # by the loop's clock


def _refresh(tls: Tls, alpn: Sequence[str], cached: _CachedContext | None, now: float) -> _CachedContext:
    stamp = tls.stamp()
    if cached and cached.stamp == stamp:
        return replace(cached, checked_at=now)
    return _CachedContext(tls.context(alpn), stamp, now)


class Wire:
    """Opens connections, and keeps what the runs of a plan share."""

    def __init__(self, *, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or Resolver()
        self._contexts: dict[tuple[Tls, tuple[str, ...]], _CachedContext] = {}
        self._certificates: dict[bytes, Certificate] = {}
        self._allowed: set[str] = set()  # addresses that were judged before
        self._shared: dict[type[Shared], Shared] = {}
        self._closed = False

    async def aclose(self) -> None:
        """Closes what the runs share. A run under way keeps its connections until it ends."""
        self._closed = True
        for shared in self._shared.values():
            shared.close()
        self._contexts.clear()
        self._certificates.clear()

    def shared(self, kind: type[_Shared]) -> _Shared:
        """The one instance of a class that the runs of this wire share: made for the first caller, closed with the wire."""
        if kind not in self._shared:
            self._shared[kind] = kind()
            if self._closed:
                self._shared[kind].close()
        return cast("_Shared", self._shared[kind])

    async def dial(self, ctx: Measurements, host: str, port: int, route: Route | None = None) -> socket.socket:
        """A connected, non-blocking socket: phases `resolve` and `connect`, facts `ip` and `ip_protocol`.

        Addresses are tried one after the other; while an attempt takes long, the next one starts, too (RFC 8305). Raises Failed(DNS),
        PolicyRefused for an address that no check may reach, and the first attempt's OSError where no attempt connects.
        """
        addresses = await self.resolve(ctx, host, route)
        with ctx.phase("connect") as interval:
            sock, interval.end = await _first_to_connect(ctx, addresses, port)
        ip = sock.getpeername()[0]
        ctx.facts |= {IP: ip, IP_PROTOCOL: 6 if ":" in ip else 4}
        return sock

    async def resolve(self, ctx: Measurements, host: str, route: Route | None = None) -> Sequence[str]:
        """The addresses of a host, in the order in which they are tried: phase `resolve`. Raises Failed(DNS) and PolicyRefused."""
        with ctx.phase("resolve") as interval:
            addresses = await self._addresses(ctx, host, route)
        ctx.facts[DNS_LOOKUP] = ctx.facts.get(DNS_LOOKUP, 0.0) + ctx.clock.monotonic() - interval.start
        ctx.evidence["addresses"] = list(addresses)
        if not (route and route.any_address):
            exceptions = route.allowed if route else ()
            for address in addresses:
                if address not in self._allowed:
                    if why := refusal(address, host, exceptions):
                        raise PolicyRefused(why)
                    if not exceptions:
                        self._allowed.add(address)
        return addresses

    async def _addresses(self, ctx: Measurements, host: str, route: Route | None) -> Sequence[str]:
        if route is None:
            return await self._resolver.addresses(host, max(0.01, ctx.remaining() * 0.95))
        if route.resolve and route.resolve[0] == host:
            return (route.resolve[1],)
        kinds = record_types(route.ip)
        found = in_order(await self._resolver.addresses(host, max(0.01, ctx.remaining() * 0.95), kinds), route.ip)
        if not found:
            raise Failed(Reason.DNS, f"{host} has no IPv{route.ip} address")
        return found

    async def tls_context(self, tls: Tls, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """The context for these settings. Created in a thread (13 ms), and again only after one of its files has changed."""
        key = (tls, tuple(alpn))
        cached = self._contexts.get(key)
        now = asyncio.get_running_loop().time()
        if cached is None or now - cached.checked_at > FRESH:
            cached = self._contexts[key] = await asyncio.to_thread(_refresh, tls, alpn, cached, now)
        return cached.context

    async def stream(
        self, ctx: Measurements, host: str, port: int, tls: Tls | None = None, alpn: Sequence[str] = (), route: Route | None = None
    ) -> Stream:
        """A connection to host and port; where `tls` is given, with a TLS handshake (phase `tls`; its facts are there even on failure)."""
        context = await self.tls_context(tls, alpn) if tls else None
        stream = await open_stream(ctx, await self.dial(ctx, host, port, route))
        if tls and context:
            try:
                await self.secure(ctx, stream, tls, context, host)
            except BaseException:
                stream.abort()
                raise
        return stream

    async def secure(self, ctx: Measurements, stream: Stream, tls: Tls, context: ssl.SSLContext, host: str) -> None:
        """Makes the TLS handshake on an open connection. Raises Failed with the exact reason; facts and evidence have the certificates."""
        name = tls.server_name or host
        with ctx.phase("tls") as interval:
            try:
                await stream.handshake(context, name)
            except ssl.SSLError as error:
                raise failure(error, self._record_tls(ctx, stream, verified_by=None), name, ctx.clock.time()) from error
            interval.end = stream.last_read_at
        self._record_tls(ctx, stream, verified_by=context)
        tls.judge_version(ctx.facts.get(TLS_VERSION))

    def _record_tls(self, ctx: Measurements, stream: Stream, *, verified_by: ssl.SSLContext | None) -> list[Certificate]:
        """OpenSSL keeps a part of a chain even if its verification failed or was off: such a chain is not verified."""
        if stream.tls is None:
            return []
        chain = [self._read(der) for der in presented(stream.tls)]
        is_verified = verified_by is not None and verified_by.verify_mode is ssl.CERT_REQUIRED
        ctx.facts |= facts(chain, [self._read(der) for der in verified(stream.tls)] if is_verified else [], stream.tls)
        ctx.evidence["certificates"] = [
            {"subject": c.subject, "issuer": c.issuer, "not_after": c.not_after, "names": c.names} for c in chain
        ]
        return chain

    def _read(self, der: bytes) -> Certificate:
        if der not in self._certificates:
            if len(self._certificates) > 1000:  # noqa: PLR2004 - a bound, not a meaning: a server may present a new one each time
                self._certificates.clear()
            self._certificates[der] = Certificate.read(der)
        return self._certificates[der]


async def open_stream(ctx: Measurements, sock: socket.socket) -> Stream:
    """A Stream over a socket from `dial`. Closes the socket on failure."""
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(lambda: Stream(ctx.clock.monotonic), sock=sock)
    except BaseException:
        sock.close()
        raise
    return stream


async def _first_to_connect(ctx: Measurements, addresses: Sequence[str], port: int) -> tuple[socket.socket, float]:
    """The first socket that is connected, and when it was; the other attempts are cancelled."""
    if len(addresses) == 1:  # the plain case needs no tasks
        try:
            return await _connect(ctx, addresses[0], port)
        except OSError as error:
            raise _none_connected({addresses[0]: error}, port) from error
    errors: dict[str, OSError] = {}
    running: dict[asyncio.Task[tuple[socket.socket, float]], str] = {}
    waiting = list(addresses)
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_connect(ctx, address, port))] = address
            done, _ = await asyncio.wait(running, timeout=NEXT_ADDRESS if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = running.pop(task)
                if (failed := task.exception()) is None:
                    return task.result()
                if not isinstance(failed, OSError):
                    raise failed
                errors[address] = failed
    finally:
        await _cancel(running)
    raise _none_connected(errors, port)


async def _cancel(attempts: Collection[asyncio.Task[tuple[socket.socket, float]]]) -> None:
    """Cancels attempts; one that has connected meanwhile is closed."""
    for attempt in attempts:
        attempt.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, tuple):
            outcome[0].close()


async def _connect(ctx: Measurements, address: str, port: int) -> tuple[socket.socket, float]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock, ctx.clock.monotonic()


def _none_connected(errors: dict[str, OSError], port: int) -> OSError | Failed:
    """One error about all addresses: the class and number of the first one, the messages of all."""
    if not errors:
        return Failed(Reason.DNS, "the name has no address")
    first = next(iter(errors.values()))
    messages = [f"{host_and_port(address, port)}: {os.strerror(e.errno) if e.errno else e}" for address, e in errors.items()]
    if first.errno == errno.ECONNREFUSED and all(e.errno == errno.ECONNREFUSED for e in errors.values()):
        where = " and ".join(host_and_port(address, port) for address in errors)
        return ConnectionRefusedError(errno.ECONNREFUSED, f"Connection refused by {where}")
    return type(first)(first.errno, "; ".join(messages))
