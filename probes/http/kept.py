"""Connections that outlive a run, for the check's next one (`keep_alive: true`)."""

from __future__ import annotations

from dataclasses import dataclass

from probes.http.exchange import Connection
from probes.http.route import HttpRoute


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """The check that uses a kept connection, where it leads, and how: no other request may use it."""

    check: str
    origin: tuple[str, str, int]  # scheme, host, port
    route: HttpRoute


class KeptConnections:
    """At most one open connection for each key. Shared by the runs of one wire: `wire.shared(KeptConnections)`."""

    def __init__(self) -> None:
        self._connections: dict[ConnectionKey, Connection] = {}
        self._closed = False

    def take(self, key: ConnectionKey) -> Connection | None:
        """Returns and forgets the connection that an earlier run kept; None where there is none or the server has closed it."""
        connection = self._connections.pop(key, None)
        if connection is None or connection.alive():
            return connection
        connection.stream.abort()
        return None

    def keep(self, key: ConnectionKey, connection: Connection) -> None:
        """Keeps a connection for the next run, instead of the one that was kept before."""
        if before := self._connections.pop(key, None):
            before.stream.abort()
        if self._closed or not connection.alive():
            connection.stream.abort()
        else:
            self._connections[key] = connection

    def close(self) -> None:
        """Closes all connections; from now on none is kept."""
        self._closed = True
        for connection in self._connections.values():
            connection.stream.abort()
        self._connections.clear()
