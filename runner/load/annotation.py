"""A load run's region in Grafana: from its first arrival to its end, with the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.grafana.deployment import has_grafana, recording, tell
from runner.cli._options import load_plan

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.result import LoadReport
    from runner.config.plan import Plan

_PATIENCE = 10.0  # seconds that a Grafana which is down may hold up the end of a run
_MOST_REASONS = 5


def plan_for_mark(config: Path) -> Plan:
    """The plan with its Grafana, before anything is sent: an empty address is said, and exit 2 where there is no section."""
    plan = load_plan(config, marking=True, probing=False)
    has_grafana(plan, require=False)
    return plan


async def mark(plan: Plan, report: LoadReport) -> None:
    """Marks the run. A Grafana that is down changes no verdict: the mark waits in the spool, and that is said."""
    from loadtests.reports import words
    from runner.grafana import Patience
    from runner.grafana.events import load_run
    from runner.clock import SystemClock

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
        tell(await recorder.record(event))
