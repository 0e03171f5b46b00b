"""Fixtures: a Grafana that is up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.grafana import StandInGrafana, standing_in


@pytest.fixture
async def grafana() -> AsyncIterator[StandInGrafana]:
    """A stand-in that is up."""
    async with standing_in() as up:
        yield up
