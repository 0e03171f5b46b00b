"""The deployment's mark around a gate: its start while the gate runs, its region with the verdict at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from judge.report import Report
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.grafana import Deployment, Patience, Recorder, State
from runner.grafana.deployment import recording, tell
from runner.grafana.recorder import Outcome

_PATIENCE = 10.0  # seconds that a Grafana which is down may hold up a deployment, at its start and at its end
_MOST_REASONS = 5


class Marks:
    """Marks one deployment, or nothing where there is none."""

    def __init__(self, recorder: Recorder | None, deployment: Deployment | None) -> None:
        self._recorder = recorder
        self._deployment = deployment
        self._starting: asyncio.Task[Outcome] | None = None
        self.id = ""

    def start(self) -> None:
        """Begins to mark the start, beside the gate."""
        if self._recorder and self._deployment:
            self._starting = asyncio.create_task(self._recorder.start(self._deployment))

    async def finish(self, report: Report) -> bool:
        """Makes of it a region. Whether it stands in Grafana (also True where nothing is to be marked)."""
        if self._recorder is None or self._deployment is None or self._starting is None:
            return True
        begun = await self._starting
        for text in begun.warnings:
            tell(replace(begun, message=text, warnings=()))
        detail = "\n".join(one.text for one in report.reasons[:_MOST_REASONS])
        told = replace(self._deployment, finished=report.finished, verdict=str(report.verdict), detail=detail)
        outcome = await self._recorder.finish(told)
        tell(outcome)
        self.id = outcome.id
        return outcome.state in (State.WRITTEN, State.THERE)

    async def leave(self) -> None:
        """Ends what is under way."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting})


@asynccontextmanager
async def marking(plan: Plan | None, deployment: Deployment | None) -> AsyncIterator[Marks]:
    """Marks the start at once, if there is a deployment to mark."""
    clock = SystemClock()
    if plan is None or deployment is None or plan.grafana is None:
        yield Marks(None, None)
        return
    async with recording(plan.grafana, plan.state, clock, Patience(total=_PATIENCE)) as recorder:
        marks = Marks(recorder, deployment)
        marks.start()
        try:
            yield marks
        finally:
            await marks.leave()
