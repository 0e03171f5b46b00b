"""Fixtures: one PostgreSQL and one Redis for all tests of the stand-in, and a stand-in on them for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from demo._world import Delays
from demo.servers import PostgresServer, RedisServer
from demo.standin import StandIn
from tests.support.clock import FakeClock

FORWARDED = {"X-Forwarded-Proto": "https"}
QUICK = Delays(slow=0.2, first_token=0.2, token=0.001, stuck=0.1)


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[PostgresServer, RedisServer]]:
    """Both are started before the first test and ended after the last."""
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
def clock() -> FakeClock:
    """Moved by the test alone."""
    return FakeClock()


@pytest.fixture
async def standin(servers: tuple[PostgresServer, RedisServer], clock: FakeClock) -> AsyncIterator[StandIn]:
    """A fresh one, with quick delays and all limits."""
    async with StandIn(clock=clock, delays=QUICK, servers=servers) as running:
        yield running


@pytest.fixture
async def api(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API that comes through the proxy, as users do."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(
            httpx.AsyncClient(base_url=standin.api_site.url, headers=FORWARDED, trust_env=False, timeout=5, verify=False)  # noqa: S501 - plain HTTP
        )


@pytest.fixture
async def bearer(standin: StandIn, api: httpx.AsyncClient) -> dict[str, str]:
    """The header of the logged-in probe."""
    answer = await login(standin, api)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def login(standin: StandIn, api: httpx.AsyncClient, password: str | None = None) -> httpx.Response:
    """The probe's user logs in, by default with its password."""
    word = standin.world.secrets.probe_password if password is None else password
    return await api.post("/api/auth/token", data={"username": standin.environment()["PROBE_USER"], "password": word})
