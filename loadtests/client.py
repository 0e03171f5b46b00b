"""The client that a load is sent with: FastHttpUser's own, which sends each request once, to addresses that may be reached.

geventhttpclient sends a GET again for as long as the server closes the connection, thousands of times: no quota counts those, and a
response to the last of them is no good one.
"""

from __future__ import annotations

import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import gevent.socket
from geventhttpclient.client import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool
from geventhttpclient.response import HTTPSocketPoolResponse

from loadtests.order import Order
from probes.core import PolicyRefused
from probes.wire.addresses import refusal
from probes.wire.tls import Tls

_IDLE = 1.0  # seconds: a connection that was idle for longer may be about to be closed by the server, and no request is sent twice


class Client(HTTPClient):
    """Sends a request once, on a connection that was used a moment ago or is new."""

    def request(self, method: str, request_uri: str, body: bytes | None = None, headers: Any = None) -> HTTPSocketPoolResponse:  # type: ignore[override]
        """The head of the response; its body is read from it. Raises errors of the network, and ValueError for what HTTP can't carry."""
        content = body or b""
        head = self._build_request(method, request_uri, body=content, headers=headers, chunked=False).encode("latin-1")
        pool = self._connection_pool
        sock = pool.get_socket()
        try:
            sock.sendall(head + content)
        except BaseException:
            pool.release_socket(sock)
            raise
        return HTTPSocketPoolResponse(sock, pool, block_size=self.block_size, method=method, headers_type=self.headers_type)


class _CheckedPool:
    """What a pool checks: after each resolution that the addresses may be reached, and that a connection wasn't idle for too long."""

    allowed: tuple[str, ...] = ()
    _idle_since: dict[int, float]

    def _resolve(self) -> Any:
        found = super()._resolve()  # type: ignore[misc]
        host = self._request_host  # type: ignore[attr-defined]
        for *_, address in found:
            if why := refusal(str(address[0]), host, self.allowed):
                raise PolicyRefused(why)
        return found

    def return_socket(self, sock: gevent.socket.socket) -> None:
        self._idle_since[sock.fileno()] = time.monotonic()
        super().return_socket(sock)  # type: ignore[misc]

    def _is_socket_alive(self, sock: gevent.socket.socket) -> bool:
        since = self._idle_since.pop(sock.fileno(), 0.0)
        return time.monotonic() - since < _IDLE and bool(super()._is_socket_alive(sock))  # type: ignore[misc]


class _Pool(_CheckedPool, ConnectionPool):
    """Connections without TLS."""


class _TlsPool(_CheckedPool, SSLConnectionPool):
    """Connections over TLS."""


def client_of(order: Order) -> Client:
    """A client with as many connections as may be under way. Its TLS settings are those of the journeys of checks.yaml."""
    split = urlsplit(order.target.url)
    secure, host, tls = split.scheme == "https", split.hostname or "", order.tls
    port = split.port or (443 if secure else 80)
    options: dict[str, Any] = {
        "size": max(order.most_in_flight, order.users, 1),
        "connection_timeout": order.longest,
        "network_timeout": order.longest,
    }
    pool: _Pool | _TlsPool
    if secure:
        options |= {"insecure": not tls.verify, "ssl_options": {"server_hostname": tls.server_name or host}}
        pool = _TlsPool(host, port, host, port, ssl_context_factory=lambda **_: context_of(tls), **options)
    else:
        pool = _Pool(host, port, host, port, **options)
    pool.allowed = order.target.allow_addresses
    pool._idle_since = {}  # noqa: SLF001 - ours
    client = Client(host, port)
    client._connection_pool = pool  # noqa: SLF001 - it takes no pool from outside
    return client


def context_of(tls: Tls) -> ssl.SSLContext:
    """A probe's context. The oldest version is a matter of the handshake here: a load notes no facts of the certificate."""
    made = tls.context()
    if tls.minimum == "1.3":
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made
