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
        Planned(
            made_check(name, target=name), Http.model_validate({"target": target, "path": "/"}), Every(30.0), 5.0, target.url, target=target
        )
        for name, target in targets.items()
    ]
    return replace(made_plan(), checks=tuple(checks), targets=targets)


@dataclass
class Release:
    """In the place of the engine: every target answers with this revision, and something may happen meanwhile."""

    clock: FakeClock
    revision: str = "3f2c91a"
    meanwhile: Callable[[], None] = lambda: None
    asked: list[str] = field(default_factory=list)

    async def observe(self, planned: Planned, **_: Any) -> tuple[Observation, ...]:
        """As the engine."""
        self.asked.append(planned.check.target)
        self.meanwhile()
        return (replace(passed(planned.check, facts={"gate_revision": self.revision}), at=self.clock.time()),)


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
    clock = FakeClock()
    release = Release(clock)
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


def info(target: str, revision: str) -> str:
    """The line of a target's release."""
    return f'deployment_info{{revision="{revision}",target="{target}",version=""}} 1.0'


async def test_a_release_is_told_while_a_target_tells_it() -> None:
    """G3b: of each target its own; a reload keeps those that are still asked, and without its target no series stays."""
    async with looking(asking(api="https://api", model="https://model")) as desk:
        assert desk.series() == [info("api", "3f2c91a"), info("model", "3f2c91a")]
        desk.reload(asking(model="https://model"))
        assert desk.series() == [info("model", "3f2c91a")]
        desk.reload(asking(api="https://api"))
        assert desk.series() == []


async def test_another_address_is_no_release() -> None:
    """A target that leads elsewhere after a reload answers with another revision: it is told, and no moment with it."""
    async with looking(asking(api="https://api")) as desk:
        desk.reload(asking(api="https://staging"))
        desk.release.revision = "91be20d"
        await desk.deployments.poll_revisions()
        assert desk.series() == [info("api", "91be20d")]
        desk.release.revision = "4c1f00d"
        await desk.deployments.poll_revisions()
        assert [line.split("{")[0] for line in desk.series()] == ["deployment_info", "deployment_timestamp_seconds"]


async def test_a_rollback_is_what_metrics_name() -> None:
    """G3: the bad release answered for three minutes; when only the old one answers again, it is the release, since it did."""
    async with looking(asking(api="https://api")) as desk:
        for revision, minutes in (("91be20d", 3), ("3f2c91a", 6)):
            desk.release.revision = revision
            for _ in range(2 * minutes):
                desk.release.clock.advance(30)
                await desk.deployments.poll_revisions()
        back = desk.release.clock.time() - 6 * 60 + 30
        assert desk.series()[0] == info("api", "3f2c91a")
        assert float(desk.series()[1].removeprefix('deployment_timestamp_seconds{target="api"} ')) == back


async def test_what_a_target_answered_before_a_reload_is_not_told_of_another() -> None:
    """The reload comes while it is asked; what it answers says nothing of what stands under its name now."""
    async with looking(asking(api="https://api")) as desk:
        desk.release.revision = "91be20d"
        desk.release.meanwhile = lambda: desk.reload(asking(api="https://staging"))
        await desk.deployments.poll_revisions()
        assert (desk.release.asked, desk.series()) == (["api", "api"], [])
