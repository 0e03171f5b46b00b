"""A Redis of these tests' own: the leases use keys and commands that the probe's user has no right to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from demo.servers import RedisServer


@pytest.fixture(scope="module")
def leases_redis() -> Iterator[RedisServer]:
    """An open one."""
    server = RedisServer(password="")
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())
