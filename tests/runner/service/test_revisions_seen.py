"""What an always-on runner tells of the releases that it sees by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from judge.observation import Observation
from probes.kinds.http import Http
from probes.target import Target
from runner.config.plan import Every, Plan, Planned
from runner.engine.execute import Execute
from runner.service.deployments import Deployments
from runner.sinks.health import Health
from runner.state import open_ledger
from tests.support.clock import FakeClock
from tests.support.metrics import Counted
from tests.support.observations import made_check, made_plan, passed


def asking(**urls: str) -> Plan:
    """A plan with a check of each target, which tells its revision below an address of its own."""
    targets = {name: Target.model_validate({"name": name, "url": url, "revision": {"json": "$.version"}}) for name, url in urls.items()}
    checks = [
        Planned(made_check(name, target=name), Http.model_validate({"target": target, "path": "/"}), Every(30.0), 5.0, target.url, target)
        for name, target in targets.items()
    ]
    return replace(made_plan(), checks=tuple(checks), targets=targets)


@dataclass
class Release:
    """In the place of the engine: every target answers with this revision, and something may happen meanwhile."""

    revision: str = "3f2c91a"
    meanwhile: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)

    async def observe(self, planned: Planned, **_: Any) -> tuple[Observation, ...]:
        """As the engine."""
        self.asked.append(planned.check.target)
        self.meanwhile()
        return (passed(planned.check, facts={"gate_revision": self.revision}),)


@dataclass
class Desk:
    """The part of a runner that looks at releases, its plan, and its metrics."""

    deployments: Deployments
    metrics: Counted
    release: Release
    plan: Plan

    def reload(self, plan: Plan) -> None:
        """As a runner does."""
        self.deployments.plan(plan)
        self.plan = plan

    def series(self) -> list[str]:
        """What /metrics says of the release."""
        return [line for line in self.metrics.page().decode().splitlines() if line.startswith("deployment_")]


@asynccontextmanager
async def looking(plan: Plan) -> AsyncIterator[Desk]:
    """One that has looked once."""
    clock, release = FakeClock(), Release()
    ledger = await asyncio.to_thread(open_ledger, None, clock)
    metrics = Counted(clock)
    deployments = Deployments(
        lambda: desk.plan,
        lambda _: cast("Execute", release),
        health=lambda: Health(desk.plan, clock),
        metrics=metrics,
        ledger=ledger,
        file="checks.yaml",
        clock=clock,
        log=lambda _, __: None,
    )
    desk = Desk(deployments, metrics, release, plan)
    desk.reload(plan)
    await deployments.poll_revisions()
    yield desk
    await ledger.aclose()


async def test_a_release_is_told_while_a_target_tells_it() -> None:
    """A reload keeps it; without the target that told it no series stays."""
    async with looking(asking(api="https://api", model="https://model")) as desk:
        told = ['deployment_info{revision="3f2c91a",version=""} 1.0']
        assert desk.series() == told
        desk.reload(asking(model="https://model"))
        assert desk.series() == told
        desk.reload(asking(api="https://api"))
        assert desk.series() == []


async def test_another_address_is_no_release() -> None:
    """A target that leads elsewhere after a reload answers with another revision: it is told, and no moment with it."""
    async with looking(asking(api="https://api")) as desk:
        desk.reload(asking(api="https://staging"))
        desk.release.revision = "91be20d"
        await desk.deployments.poll_revisions()
        assert desk.series() == ['deployment_info{revision="91be20d",version=""} 1.0']
        desk.release.revision = "4c1f00d"
        await desk.deployments.poll_revisions()
        assert [line.split("{")[0].split(" ")[0] for line in desk.series()] == ["deployment_info", "deployment_timestamp_seconds"]


async def test_what_a_target_answered_before_a_reload_is_not_told_of_another() -> None:
    """The reload comes while it is asked; what it answers says nothing of what stands under its name now."""
    async with looking(asking(api="https://api")) as desk:
        desk.release.revision = "91be20d"
        desk.release.meanwhile = lambda: desk.reload(asking(api="https://staging"))
        await desk.deployments.poll_revisions()
        assert (desk.release.asked, desk.series()) == (["api", "api"], [])
