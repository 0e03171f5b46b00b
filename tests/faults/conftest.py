"""Fixtures: what the fault suite uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from demo import servers as real
from tests.faults.askings import SECRET
from tests.faults.well import let_in
from tests.support.ca import authority
from tests.support.engine import Observer, observer

__all__ = ["authority"]


@pytest.fixture
async def runs() -> AsyncIterator[Observer]:
    """The engine, to observe a probe with: `await runs.observe(probe)`."""
    async with observer() as made:
        yield made


@pytest.fixture(scope="session")
def database() -> Iterator[real.PostgresServer]:
    """A PostgreSQL of the suite's own, which lets the suite's secret in."""
    server = real.PostgresServer(password=SECRET)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture(scope="session")
def cache() -> Iterator[real.RedisServer]:
    """A Redis of the suite's own, which lets the suite's secret in."""
    server = real.RedisServer()

    async def start() -> None:
        await server.start()
        await let_in(server)

    asyncio.run(start())
    yield server
    asyncio.run(server.close())
