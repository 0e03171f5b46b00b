"""Asks the database as the application's two managers do: one of them believes what the last health check told it."""

from __future__ import annotations

from demo._database import Database, DatabaseDown
from demo._world import World
from demo.built.responses import Crash


class Sessions:
    """Database sessions of the routes.

    `GET /api/health/database` always tells the manager that it isn't connected. The next session then tries to connect
    three times, 4 s apart, and ends in a crash where the database is stopped.
    """

    def __init__(self, world: World, database: Database) -> None:
        self._world, self._database = world, database
        self.believed_lost = False

    async def begin(self) -> None:
        """Opens a session. Nothing is asked while the manager believes that it is connected. Raises Crash after the tries."""
        if not self.believed_lost:
            return
        try:
            await self._database.ping()
        except DatabaseDown as problem:
            await self._world.pause(self._world.delays.reconnect)
            raise Crash from problem
        self.believed_lost = False
