"""What outlives a plan: every sink that a runner registers says what a reload and a restart do to what it remembers."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from judge.observation import Observation
from runner.cli.demo import _VerdictPrinter
from runner.clock import SystemClock
from runner.config.plan import Plan, Server
from runner.service.running import running
from runner.service.service import Service
from runner.sinks.registry import TEXT, render
from tests.support.sinks import Kept

PLAN = Plan("roadtrip", "test", "here", (), server=Server(port=0))


@dataclass
class Registered:
    """A runner, its reload, and the plan that it loads."""

    service: Service
    plans: list[Plan]

    async def reload(self, plan: Plan) -> None:
        """As by SIGHUP."""
        self.plans.append(plan)
        await self.service.apply(plan)


@asynccontextmanager
async def registered(folder: Path) -> AsyncIterator[Registered]:
    """A runner with all sinks that a command registers: the demo's as well."""
    path, plans = folder / "checks.yaml", [replace(PLAN, state=folder / "state")]
    extra = (("terminal", _VerdictPrinter(path.name)),)
    async with running(lambda: plans[-1], path=path, clock=SystemClock(), version="0", journal=io.StringIO(), extra=extra) as up:
        yield Registered(up[0], plans)


def silent(sinks: Mapping[str, object]) -> list[str]:
    """The sinks that leave a reload or a restart unsaid, and what is missing."""
    breaches = []
    for name, sink in sinks.items():
        plan = getattr(type(sink), "plan", None)
        if plan is None:
            breaches.append(f"{name} has no method plan: what a reload does to what it remembers is left to chance")
            continue
        said = inspect.getdoc(plan) or ""
        breaches += [f"{name}: its plan doesn't say what a {word} does" for word in ("reload", "restart") if word not in said]
    return breaches


async def test_every_sink_says_what_a_reload_and_a_restart_do(tmp_path: Path) -> None:
    """By a method `plan` whose docstring speaks of both, also where it remembers nothing; so does what else follows a plan."""
    async with registered(tmp_path) as runner:
        others = {name: part for name, part in vars(runner.service).items() if hasattr(type(part), "plan")}
        assert {"emit", "diagnosis", "_down"} <= others.keys()
        assert {"metrics", "outages", "state", "terminal"} <= runner.service.emit.sinks.keys()
        assert silent(runner.service.emit.sinks | others) == []


class Forgetful:
    """Remembers for ever."""

    def __call__(self, seen: Observation) -> None:
        """Takes an observation."""


class Curt(Forgetful):
    """Has a plan, and says half of it."""

    def plan(self, plan: Plan) -> None:
        """A reload forgets removed checks."""


def test_the_rule_sees_who_breaks_it() -> None:
    """A sink without a plan, one that leaves out the restart, and a method of something else."""
    assert silent({"a": Forgetful(), "b": Curt(), "c": print}) == [
        "a has no method plan: what a reload does to what it remembers is left to chance",
        "b: its plan doesn't say what a restart does",
        "c has no method plan: what a reload does to what it remembers is left to chance",
    ]


async def test_a_reload_reaches_every_sink_that_is_registered(tmp_path: Path) -> None:
    """None can be forgotten: what takes observations and what is told of a plan are one list."""
    async with registered(tmp_path) as runner:
        kept = {name: Kept() for name in runner.service.emit.sinks}
        runner.service.emit.sinks.update(kept)
        changed = replace(PLAN, service="trips")
        await runner.reload(changed)
        assert {name: sink.plans for name, sink in kept.items()} == {name: [changed] for name in kept}


async def test_the_errors_of_every_sink_are_counted_from_0(tmp_path: Path) -> None:
    """rate() needs a first sample before the first error."""
    async with registered(tmp_path) as runner:
        page = (await asyncio.to_thread(render, runner.service.registry, TEXT)).decode()
        lines = [line for line in page.splitlines() if line.startswith("outrider_sink_errors_total{")]
        assert lines == [f'outrider_sink_errors_total{{sink="{name}"}} 0.0' for name in runner.service.emit.sinks]
