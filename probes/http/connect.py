"""Opens the connection that a route describes: direct, to a proxy that relays, or through a proxy's tunnel; HTTP/1.1 or HTTP/2."""

from __future__ import annotations

from probes.core import Failed, PolicyRefused, Reason
from probes.http.exchange import Connection, OutgoingRequest
from probes.http.http1 import Http1
from probes.http.http2 import Http2
from probes.http.route import HttpRoute
from probes.probe import Context
from probes.text import host_and_port
from probes.wire.addresses import literal, refusal
from probes.wire.proxy import Proxy
from probes.wire.stream import Stream

Origin = tuple[str, str, int]  # scheme, host, port


def is_relayed(route: HttpRoute, origin: Origin) -> bool:
    """Whether the proxy reads the request itself, instead of only opening a tunnel for it."""
    return route.proxy is not None and origin[0] == "http" and route.http != "2"


async def open_connection(ctx: Context, route: HttpRoute, origin: Origin) -> Connection:
    """A new connection to an origin, in the version of HTTP that both sides agree on.

    Raises what the wire raises, and Failed where a proxy opens no tunnel or the server doesn't agree to the only version allowed.
    """
    scheme, host, port = origin
    secure, strict = scheme == "https", route.framing == "strict"
    if route.proxy is None:
        stream = await ctx.wire.stream(ctx, host, port, route.tls if secure else None, route.alpn() if secure else (), route)
    elif is_relayed(route, origin):
        stream = await _connect_to_proxy(ctx, route, route.proxy, host)
    else:
        stream = await _open_tunnel(ctx, route, route.proxy, origin)
    if not secure:
        return Http2(stream, strict=strict) if route.http == "2" else Http1(stream, strict=strict)
    chosen = stream.tls.selected_alpn_protocol() if stream.tls else None
    if chosen == "h2":
        return Http2(stream, strict=strict)
    if route.http == "2":
        stream.abort()
        raise Failed(Reason.PROTOCOL, f"the server didn't agree to HTTP/2: it chose {chosen or 'nothing'} in ALPN")
    return Http1(stream, strict=strict)


async def _connect_to_proxy(ctx: Context, route: HttpRoute, proxy: Proxy, host: str) -> Stream:
    """A connection to the proxy. The proxy resolves the target's name, so only a host that is an address can be checked here."""
    address = literal(host)
    if address and not route.any_address and (why := refusal(address, host, route.allowed)):
        raise PolicyRefused(why)
    ctx.evidence["proxy"] = host_and_port(proxy.host, proxy.port)
    try:
        return await ctx.wire.stream(ctx, proxy.host, proxy.port, route=route)
    except (Failed, OSError) as error:
        raise proxy.failure(error) from error


async def _open_tunnel(ctx: Context, route: HttpRoute, proxy: Proxy, origin: Origin) -> Stream:
    """A connection through the proxy's tunnel. Phase `proxy` lasts from CONNECT sent to the proxy's response.

    Raises Failed, naming the proxy, where it opens no tunnel.
    """
    scheme, host, port = origin
    authority = host_and_port(host, port).encode()
    headers = ((b"Host", authority), *((name.encode(), value.encode()) for name, value in proxy.headers().items()))
    stream = await _connect_to_proxy(ctx, route, proxy, host)
    try:
        with ctx.phase("proxy") as interval:
            try:
                exchange = await Http1(stream).send(ctx.side_context(), OutgoingRequest("CONNECT", authority, "http", headers, b""))
                await exchange.receive_head()
            except (Failed, OSError) as error:
                raise proxy.failure(error) from error
            interval.end = stream.last_read_at
        proxy.judge_tunnel(exchange.status)
        if scheme == "https":
            context = await ctx.wire.tls_context(route.tls, route.alpn())
            await ctx.wire.secure(ctx, stream, route.tls, context, host)
    except BaseException:
        stream.abort()
        raise
    return stream
