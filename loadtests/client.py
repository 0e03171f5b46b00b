"""The client that a load is sent with: FastHttpUser's own, which sends each request once, to addresses that may be reached.

geventhttpclient sends a GET again for as long as the server closes the connection, thousands of times: nobody has paid for those, and
an answer to the last of them is no good one.
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
from loadtests.sending import Refused
from probes.wire.addresses import refusal
from probes.wire.tls import Tls

_IDLE = 1.0  # seconds: a connection that was idle for longer may be about to be closed by the server, and no request is sent twice


class Client(HTTPClient):
    """Sends a request once, on a connection that was used a moment ago or is new."""

    def request(self, method: str, request_uri: str, body: bytes | None = None, headers: Any = None) -> HTTPSocketPoolResponse:  # type: ignore[override]
        """The head of the answer; its body is read from it. Raises what the network says, and ValueError for what HTTP can't carry."""
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


class _Careful:
    """A pool's own rules: which addresses may be reached, looked at behind each resolution, and for how long an idle connection is good."""

    allowed: tuple[str, ...] = ()
    _idle_since: dict[int, float]

    def _resolve(self) -> Any:
        found = super()._resolve()  # type: ignore[misc]
        host = self._request_host  # type: ignore[attr-defined]
        for *_, address in found:
            if said := refusal(str(address[0]), host, self.allowed):
                raise Refused(said)
        return found

    def return_socket(self, sock: gevent.socket.socket) -> None:
        self._idle_since[sock.fileno()] = time.monotonic()
        super().return_socket(sock)  # type: ignore[misc]

    def _is_socket_alive(self, sock: gevent.socket.socket) -> bool:
        since = self._idle_since.pop(sock.fileno(), 0.0)
        return time.monotonic() - since < _IDLE and bool(super()._is_socket_alive(sock))  # type: ignore[misc]


class _Pool(_Careful, ConnectionPool):
    """Of plain connections."""


class _TlsPool(_Careful, SSLConnectionPool):
    """Of TLS connections."""


def client_of(order: Order) -> Client:
    """A client with as many connections as may be under way. A certificate counts as it does for the journeys of checks.yaml."""
    split = urlsplit(str(order.target["url"]))
    secure, host = split.scheme == "https", split.hostname or ""
    port = split.port or (443 if secure else 80)
    client = Client(host, port)
    times = {"connection_timeout": order.longest, "network_timeout": order.longest}
    client._connection_pool = _pool(order, host, port, secure, {"size": max(order.most_in_flight, order.users, 1), **times})  # noqa: SLF001 - it has no door for it
    return client


def _pool(order: Order, host: str, port: int, secure: bool, options: dict[str, Any]) -> ConnectionPool:  # noqa: FBT001 - as its caller has it
    tls = Tls.model_validate(order.tls)
    pool: _Pool | _TlsPool
    if secure:
        names = {"server_hostname": tls.server_name or host}
        pool = _TlsPool(
            host, port, host, port, insecure=not tls.verify, ssl_context_factory=lambda **_: context_of(tls), ssl_options=names, **options
        )
    else:
        pool = _Pool(host, port, host, port, **options)
    pool.allowed = order.allow_addresses
    pool._idle_since = {}  # noqa: SLF001 - ours
    return pool


def context_of(tls: Tls) -> ssl.SSLContext:
    """As a probe's, and the oldest version is a matter of the handshake: nobody asks a load for the facts of a certificate."""
    made = tls.context()
    if tls.minimum == "1.3":
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made
