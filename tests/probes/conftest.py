"""Fixtures: what the tests of the kinds use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.ca import authority
from tests.support.context import wire
from tests.support.databases import postgres, redis_server
from tests.support.engine import Observer, observer

__all__ = ["authority", "postgres", "redis_server", "wire"]


@pytest.fixture
async def runs() -> AsyncIterator[Observer]:
    """The engine, to observe a probe with: `await runs.observe(probe)`."""
    async with observer() as made:
        yield made
