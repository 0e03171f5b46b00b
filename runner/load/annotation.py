"""A load run's region in Grafana: from its first arrival to its end, with the verdict."""

from __future__ import annotations

from collections.abc import Callable

from loadtests.reports import words
from loadtests.result import LoadReport
from runner.clock import SystemClock
from runner.config.plan import Plan
from runner.grafana import Patience
from runner.grafana.deployment import recording
from runner.grafana.events import load_run

_PATIENCE = 10.0  # seconds that a Grafana which is down may hold up the end of a run
_MOST_REASONS = 5


async def annotate_load(plan: Plan, report: LoadReport, say: Callable[[str], None]) -> None:
    """Annotates the run. A Grafana that is down changes no verdict: the record waits in the spool, and `say` is told so."""
    if plan.grafana is None:
        return
    clock = SystemClock()
    event = load_run(
        report.scenario,
        service=plan.service,
        environment=plan.environment,
        began=report.started,
        ended=max(report.started, report.finished),
        verdict=str(report.verdict),
        why="\n".join(["at " + words.load(report), *(one.text for one in report.reasons[:_MOST_REASONS])]),
        dashboard=plan.grafana.dashboard,
    )
    async with recording(plan.grafana, plan.state, clock, Patience(total=_PATIENCE)) as recorder:
        for text in (await recorder.record(event)).lines:
            say(text)
