"""The deployment's annotation around a gate: its start while the gate runs, its region with the verdict at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from judge.report import Report
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.grafana import Deployment, Patience, RecordOutcome
from runner.grafana.deployment import recording

_PATIENCE = 10.0  # seconds that a Grafana which is down may hold up a deployment, at its start and at its end
_MOST_REASONS = 5

Finish = Callable[[Report], Awaitable[RecordOutcome]]
"""Makes a region of the deployment, with the report's verdict."""


@asynccontextmanager
async def annotating(plan: Plan | None, deployment: Deployment | None, say: Callable[[str], None]) -> AsyncIterator[Finish | None]:
    """Annotates the deployment's start while the gate runs, and yields what finishes it; None where there is nothing to annotate."""
    if plan is None or deployment is None or plan.grafana is None:
        yield None
        return
    async with recording(plan.grafana, plan.state, SystemClock(), Patience(total=_PATIENCE)) as recorder:
        start = asyncio.create_task(recorder.start(deployment))

        async def finish(report: Report) -> RecordOutcome:
            for text in (await start).warnings:
                say(text)
            detail = "\n".join(one.text for one in report.reasons[:_MOST_REASONS])
            done = replace(deployment, finished=report.finished, verdict=str(report.verdict), detail=detail)
            outcome = await recorder.finish(done)
            for text in outcome.lines:
                say(text)
            return outcome

        try:
            yield finish
        finally:
            if not start.done():
                start.cancel()
                await asyncio.wait({start})
