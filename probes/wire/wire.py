"""Sockets: resolving, dialling and TLS, with phases at the socket's own events.

A Wire belongs to a plan and outlives its runs: it keeps the resolver and the TLS contexts. The connections of every kind come from
here, so that the phases of all kinds mean the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, cast, runtime_checkable

from probes.core import Failed, Measurements, PolicyRefused, Reason
from probes.facts import DNS_LOOKUP, IP, IP_PROTOCOL, TLS_VERSION
from probes.text import ascii_host, is_address
from probes.wire.addresses import in_order, record_types, refusal
from probes.wire.certificate import Certificate
from probes.wire.dial import connect_locally, first_to_connect, none_connected
from probes.wire.handshake import CERTIFICATE_FACTS, certificate_facts, expires, presented, verified, version_facts
from probes.wire.once import Once
from probes.wire.resolver import Resolver
from probes.wire.route import Route
from probes.wire.stream import Stream
from probes.wire.tls import Tls, failure

CERTIFICATES_CAP = 512 * 1024  # bytes in DER of the certificates that are kept
FRESH = 10.0  # seconds after which a TLS context's files are looked at again


class Shared(Protocol):
    """What the runs of one wire share, such as kept connections and tokens."""

    def close(self) -> None: ...


@runtime_checkable
class GivesBack(Protocol):
    """What the runs of one wire share and a target lets go of when it is told, such as sessions."""

    async def leave(self) -> None:
        """Tells it, within seconds, and raises nothing."""
        ...


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
        self._certificates: dict[bytes, Certificate] = {}  # by the hash of their DER
        self._certificate_bytes = 0  # of the DER of those
        self._shared: dict[type[Shared], Shared] = {}
        self._closed = False

    async def leave(self) -> None:
        """Gives back what targets hold for the runs. What is needed later is made anew."""
        for shared in tuple(self._shared.values()):
            if isinstance(shared, GivesBack):
                await shared.leave()

    async def aclose(self) -> None:
        """Closes what the runs share, and gives back what targets hold. A run under way keeps its connections until it ends."""
        await self.leave()
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
            sock, interval.end = await first_to_connect(ctx.clock.monotonic, addresses, port)
        ip = sock.getpeername()[0]
        ctx.facts |= {IP: ip, IP_PROTOCOL: 6 if ":" in ip else 4}
        return sock

    async def local(self, ctx: Measurements, path: str) -> socket.socket:
        """A non-blocking socket that is connected to a Unix socket: phase `connect`. Raises Failed where there is none, and OSError."""
        with ctx.phase("connect") as interval:
            try:
                sock = await connect_locally(path)
            except FileNotFoundError:
                raise Failed(Reason.REFUSED, f"there is no socket {path}; the server is down, or it has another one") from None
            except ConnectionRefusedError:
                raise Failed(Reason.REFUSED, f"nobody listens at the socket {path}") from None
            except PermissionError:
                raise Failed(Reason.INTERNAL, f"the runner's account may not open the socket {path}") from None
            interval.end = ctx.clock.monotonic()
        return sock

    async def once(self, ctx: Measurements, host: str, port: int, request: bytes, route: Route) -> Once:
        """A plain connection over which `request` was sent, when the first bytes of its response have come.

        It measures and raises what `dial` does, with fewer turns of the loop. Where it is cut short, phase `processing` began when
        the request was given to the kernel.
        """
        addresses = await self.resolve(ctx, host, route)
        once, started, dialled = Once(ctx.clock.monotonic), ctx.clock.monotonic(), len(addresses) > 1
        try:
            if dialled:
                with ctx.phase("connect") as interval:
                    sock, interval.end = await first_to_connect(ctx.clock.monotonic, addresses, port)
                once.adopt(sock, interval.end, request)
            else:
                once.connect(addresses[0], port, request)
            await once.first_bytes()
            if once.not_connected:
                raise none_connected({addresses[0]: once.not_connected}, port) from once.not_connected
        except BaseException:
            now = ctx.clock.monotonic()
            if once.connected_at:
                ctx.mark("processing", once.asked_at or once.connected_at, now)
            if not ctx.halted_in:
                ctx.halted_in, ctx.halted_step = "processing" if once.connected_at else "connect", ctx.step
            once.abort()
            raise
        finally:
            if not dialled:
                ctx.mark("connect", started, once.connected_at or ctx.clock.monotonic())
            if once.peer:
                ctx.facts |= {IP: once.peer, IP_PROTOCOL: 6 if ":" in once.peer else 4}
        return once

    async def resolve(self, ctx: Measurements, host: str, route: Route | None = None) -> Sequence[str]:
        """The addresses of a host, in the order in which they are tried: phase `resolve`. Raises Failed(DNS) and PolicyRefused."""
        if not is_address(host) and not (route and route.resolve and route.resolve[0] == host):
            await self._resolver.system_names()
        with ctx.phase("resolve") as interval:
            try:
                addresses = await self._addresses(ctx, host, route)
            finally:
                ctx.facts[DNS_LOOKUP] = ctx.facts.get(DNS_LOOKUP, 0.0) + ctx.clock.monotonic() - interval.start
        ctx.evidence["addresses"] = list(addresses)
        if not (route and route.any_address):
            exceptions = route.allowed if route else ()
            for address in addresses:
                if why := refusal(address, host, exceptions):
                    raise PolicyRefused(why)
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
        try:  # the last dot belongs to DNS: neither SNI (RFC 6066, section 3) nor certificates have it
            name = host if is_address(host) and not tls.server_name else ascii_host(tls.server_name or host).rstrip(".")
        except ValueError as error:
            raise Failed(Reason.HOSTNAME, f"no certificate can be for the host: {error}") from None
        with ctx.phase("tls") as interval:
            try:
                await stream.handshake(context, name)
            except ssl.SSLError as error:
                raise failure(error, self._record_tls(ctx, stream, verified_by=None), name, ctx.clock.time()) from error
            interval.end = stream.last_read_at
        self._record_tls(ctx, stream, verified_by=context)
        tls.judge_version(ctx.facts.get(TLS_VERSION))

    def _record_tls(self, ctx: Measurements, stream: Stream, *, verified_by: ssl.SSLContext | None) -> list[Certificate]:
        """OpenSSL keeps a part of a chain even if its verification failed or was off: such a chain is not verified.

        Of several handshakes of one run (redirects) the certificate that expires first is the run's, or the one that failed.
        """
        if stream.tls is None:
            return []
        chain = [self.read_certificate(der) for der in presented(stream.tls)]
        is_verified = verified_by is not None and verified_by.verify_mode is ssl.CERT_REQUIRED
        trusted = [self.read_certificate(der) for der in verified(stream.tls)] if is_verified else []
        ctx.facts |= version_facts(stream.tls)
        found = certificate_facts(chain, trusted)
        if verified_by is None or expires(found) <= expires(ctx.facts):
            for name in CERTIFICATE_FACTS:
                ctx.facts.pop(name, None)
            ctx.facts |= found
            ctx.evidence["certificates"] = [
                {"subject": c.subject, "issuer": c.issuer, "not_after": c.not_after, "names": c.names} for c in chain
            ]
        return chain

    def read_certificate(self, der: bytes) -> Certificate:
        """The certificate, kept for later runs; a server may present another one each time."""
        key = hashlib.sha256(der).digest()
        if (known := self._certificates.get(key)) is None:
            if self._certificate_bytes > CERTIFICATES_CAP:
                self._certificates.clear()
                self._certificate_bytes = 0
            known = self._certificates[key] = Certificate.read(der)
            self._certificate_bytes += len(der)
        return known


async def open_stream(ctx: Measurements, sock: socket.socket) -> Stream:
    """A Stream over a socket from `dial`. Closes the socket on failure."""
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(lambda: Stream(ctx.clock.monotonic), sock=sock)
    except BaseException:
        sock.close()
        raise
    return stream
