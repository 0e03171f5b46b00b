"""A schedule in simulated time, for tests."""

from __future__ import annotations

import asyncio

from judge.observation import Check, Observation
from probes.core import Result, Verdict
from probes.probe import Context, Probe
from runner.config.plan import Cron, Every, Plan, Planned
from runner.config.slots import fraction
from runner.engine.schedule import CAP, Schedule
from tests.support.clock import NOON
from tests.support.simulation import Simulation


class Nothing(Probe):
    def address(self) -> str:
        return "nowhere"

    async def run(self, ctx: Context) -> Result:
        return Result.passed()


def planned(name: str, interval: float = 30.0, *, cron: Cron | None = None, mark: str = "a") -> Planned:
    """A check to be scheduled."""
    check = Check(name, "nothing", 1, interval=interval, timeout=5.0)
    return Planned(check, Nothing(), cron or Every(interval), 5.0, f"{name} {interval} {cron} {mark}")


def plan(*checks: Planned) -> Plan:
    """A plan of them."""
    return Plan("svc", "test", "here", checks)


class Runs:
    """Observes by taking simulated time, and notes when."""

    def __init__(self, simulation: Simulation, takes: float = 0.0) -> None:
        self.simulation = simulation
        self.takes = takes
        self.began: list[tuple[str, float]] = []
        self.cut = False
        self.raises: dict[str, Exception] = {}
        self._cut = asyncio.Event()

    async def observe(self, planned: Planned, *, lag: float = 0.0) -> tuple[Observation, ...]:
        at = self.simulation.time()
        self.began.append((planned.check.name, at))
        if planned.check.name in self.raises:
            raise self.raises[planned.check.name]
        if self.takes:
            await self.simulation.sleep(self.takes)
        return (Observation(planned.check, Verdict.PASS, None, "", at, self.takes, lag=lag),)

    def cut_short(self) -> None:
        self.cut = True

    def of(self, name: str) -> list[float]:
        return [at for seen, at in self.began if seen == name]


class World:
    """A schedule in simulated time, and what it said."""

    def __init__(self, *, takes: float = 0.0, cap: int = CAP, seen: dict[str, float] | None = None, now: float = NOON) -> None:
        self.simulation = Simulation(now, real=False)
        self.last_seen = seen
        self.runs = Runs(self.simulation, takes)
        self.emitted: list[Observation] = []
        self.missed: list[tuple[str, str]] = []
        self.lags: list[float] = []
        self.logged: list[str] = []
        self.schedule = Schedule(
            emit=self.emitted.append,
            missed=lambda check, reason: self.missed.append((check.name, reason)),
            lagged=self.lags.append,
            clock=self.simulation,
            timer=self.simulation,
            cadences=self.simulation,
            cap=cap,
            log=lambda _, message: self.logged.append(message),
        )

    def start(self, *checks: Planned) -> None:
        self.schedule.start(plan(*checks), self.runs, self.last_seen)


def slots_of(name: str, interval: float, begin: float, end: float) -> list[float]:
    """The moments at which a check is due, after `begin` until `end`."""
    phase = fraction(name) * interval
    first = int((begin - phase) // interval) + 1
    found = []
    while (due := first * interval + phase) <= end:
        found.append(due)
        first += 1
    return found
