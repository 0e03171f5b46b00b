"""A recorder of deployments whose waits are noted instead of waited, and the deployments that it records."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from runner.grafana import Deployment, Grafana, Kept, Patience, Recorder, Settings, Spool
from runner.grafana.transport import http_client
from tests.support.clock import FakeClock
from tests.support.grafana import TOKEN, StandInGrafana

STARTED = 1_795_521_600.0  # 2026-11-24 12:00:00 UTC
FINISHED = STARTED + 95.5
TAGS = {"deployment", "service:roadtrip", "environment:production", "version:1.4.2", "revision:3f2c91a", "id:github/acme/roadtrip/1/1"}


@dataclass
class Desk:
    """A recorder on a machine of its own: its clock, its spool, and how long it waited between attempts."""

    recorder: Recorder
    grafana: Grafana
    spool: Spool
    clock: FakeClock
    waits: list[float] = field(default_factory=list)

    async def waiting(self) -> tuple[Kept, ...]:
        """What is in the spool."""
        return await asyncio.to_thread(self.spool.waiting)


@asynccontextmanager
async def desk(url: str, folder: Path, *, token: str = TOKEN, patience: Patience | None = None, **settings: Any) -> AsyncIterator[Desk]:
    """A machine that records; every wait moves its clock instead of passing."""
    clock = FakeClock(STARTED)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    async with http_client(clock, "Outrider/test") as client:
        grafana = Grafana(
            Settings(url, SecretStr(token), **settings),
            client,
            clock=clock,
            sleep=sleep,
            rng=random.Random(7),  # noqa: S311 - the same jitter in every run of the test
            patience=patience or Patience(),
        )
        spool = Spool(folder)
        yield Desk(Recorder(grafana, spool, clock), grafana, spool, clock, waits)


def release(number: int = 1, **more: Any) -> Deployment:
    """A deployment of the Road Trip Storyteller, begun at noon."""
    settings: dict[str, Any] = {
        "service": "roadtrip",
        "environment": "production",
        "id": f"github/acme/roadtrip/{number}/1",
        "revision": "3f2c91a",
    }
    return Deployment(**settings | {"version": "1.4.2", "started": STARTED} | more)


def done(number: int = 1, **more: Any) -> Deployment:
    """The same, passed."""
    return release(number, **{"finished": FINISHED, "verdict": "pass"} | more)


def shown(grafana: StandInGrafana) -> list[tuple[float, float, set[str]]]:
    """Start, end and tags of all that stands in Grafana."""
    return [(a["time"] / 1000, a.get("timeEnd", a["time"]) / 1000, set(a["tags"])) for a in grafana.regions()]
