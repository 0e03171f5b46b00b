"""A runner's web around made-up observations, asked without a socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import httpx
from prometheus_client.process_collector import ProcessCollector

from judge.observation import Check, Observation
from runner.config.errors import RefusedFile
from runner.config.plan import Plan, Server
from runner.sinks.evidence import Evidence
from runner.sinks.health import Health
from runner.web.app import app
from runner.web.pages import Pages
from tests.support.metrics import Counted
from tests.support.observations import Hands, made_check, made_plan


@cache
def _pages() -> Pages:
    """The templates, compiled once for all tests."""
    return Pages()


@dataclass
class Site:
    """The sinks, the plan and the application that shows them. Make it outside the loop: it reads its templates."""

    plan: Plan
    clock: Hands = field(default_factory=Hands)
    is_ready: bool = True
    wrong: Sequence[str] = ()  # what a reload finds wrong
    refused_file: RefusedFile | None = None
    reloads: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)  # seconds by which responses were slowed

    def __post_init__(self) -> None:
        self.health = Health(self.plan, self.clock)
        self.evidence = Evidence()
        self.metrics = Counted(self.clock)
        self.metrics.plan(self.plan)
        ProcessCollector(registry=self.metrics.registry)
        self.app = app(
            plan=lambda: self.plan,
            registry=self.metrics.registry,
            health=self.health,
            evidence=self.evidence,
            reload=self._reload,
            ready=lambda: self.is_ready,
            clock=self.clock,
            version="0.1.0",
            pages=_pages(),
            refused=lambda *refusal: self.refused.append(refusal),
            wait=self._wait,
            refused_file=lambda: self.refused_file,
        )

    async def _wait(self, seconds: float) -> None:
        self.waited.append(seconds)

    async def _reload(self) -> Sequence[str]:
        self.reloads += 1
        return self.wrong

    def saw(self, *seen: Observation) -> Site:
        """Hands observations to every sink."""
        for one in seen:
            for sink in (self.health, self.evidence, self.metrics):
                sink(one)
        return self

    def guarded(self, **server: object) -> Site:
        """The same site with tokens or names."""
        self.plan = replace(self.plan, server=replace(Server(), **server))  # type: ignore[arg-type]
        return self

    async def ask(self, path: str, method: str = "GET", **more: object) -> httpx.Response:
        """One request from this machine."""
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9797") as client:
            return await client.request(method, path, **more)  # type: ignore[arg-type]


def site(*checks: Check, parts: dict[str, tuple[Check, ...]] | None = None) -> Site:
    """A site of these checks, or of one called api."""
    return Site(made_plan(*(checks or (made_check(),)), parts=parts))
