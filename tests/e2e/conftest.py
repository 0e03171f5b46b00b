"""Fixtures: one PostgreSQL and one Redis for the tests of a file, a release on them, and a Grafana."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from demo._site import Site
from demo.servers import PostgresServer, RedisServer
from demo.standin import StandIn
from tests.support.balancer import Release
from tests.support.ca import authority
from tests.support.grafana import StandInGrafana, standing_in
from tests.support.road import NEW, Road

__all__ = ["authority"]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, RedisServer]]:
    """One PostgreSQL and one Redis for all tests here."""
    both = (PostgresServer(), RedisServer())

    async def start() -> None:
        await asyncio.gather(*(server.start() for server in both))

    async def close() -> None:
        await asyncio.gather(*(server.close() for server in both))

    asyncio.run(start())
    try:
        yield both
    finally:
        asyncio.run(close())


@pytest.fixture
async def road(servers: tuple[PostgresServer, RedisServer], tmp_path: Path) -> AsyncIterator[Road]:
    """The new release, well, behind no balancer."""
    async with StandIn(servers=servers) as standin:
        release = Release(standin.api, NEW)
        site = Site(release)
        await site.start()
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "GRAFANA_"))}
        environ = {**ours, **standin.environment(), "API_URL": site.url, "STATE_DIR": str(tmp_path / "state"), "API_LIMIT": "100000/1h"}
        try:
            yield Road(standin, release, site, tmp_path, environ)
        finally:
            await site.stop()


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up
