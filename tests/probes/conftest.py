"""Fixtures: what the tests of the kinds use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from probes.wire.wire import Wire
from tests.support.ca import authority
from tests.support.databases import postgres, redis_server
from tests.support.engine import Observer, observer

__all__ = ["authority", "postgres", "redis_server"]


@pytest.fixture
async def runs() -> AsyncIterator[Observer]:
    """The engine, to observe a probe with: `await runs.observe(probe)`."""
    async with observer() as made:
        yield made


@pytest.fixture(name="wire")
async def _wire() -> AsyncIterator[Wire]:
    """Where a test's connections come from."""
    wire = Wire()
    yield wire
    await wire.aclose()
