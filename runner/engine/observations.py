"""From a run and its verdict to the records that everybody reads: redacted, bounded, and made nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from judge.observation import Check, Observation
from judge.redact import Redactor
from probes.core import Reason, Result, Verdict
from probes.probe import Context
from runner.config.plan import Planned
from runner.engine.bounds import Bounded, short


def observations(
    planned: Planned, ctx: Context, result: Result, redact: Redactor, *, at: float, seconds: float, lag: float
) -> tuple[Observation, ...]:
    """The check's observation, then those of its parts. `at` in seconds since the epoch; `seconds` until the verdict."""
    whole = Observation(
        check=planned.check,
        verdict=result.verdict,
        reason=result.reason,
        message=short(redact.text(result.message)),
        at=at,
        seconds=seconds,
        phases=ctx.phases,
        facts={name: short(redact.text(value)) if isinstance(value, str) else value for name, value in ctx.facts.items()},
        evidence=Bounded().tree(redact.tree(_traced(ctx))),
        spans=tuple(ctx.spans),
        trace_id=ctx.sender.trace_id,
        request_id=ctx.sender.request_id,
        lag=lag,
    )
    return (whole, *(_part(part, result, whole, redact) for part in planned.parts))


def _traced(ctx: Context) -> dict[str, Any]:
    """The evidence, with the traceparent that went with the request: it finds the run in the target's own traces."""
    if "request" not in ctx.evidence:
        return ctx.evidence
    return {**ctx.evidence, "traceparent": ctx.sender.headers()["traceparent"]}


def _part(part: Check, result: Result, whole: Observation, redact: Redactor) -> Observation:
    """A part shares its run's time and evidence; its verdict is its own, or that of a run that ended before it was known."""
    own = result.parts.get(part.name.removeprefix(f"{whole.check.name}/"))
    if own is None:
        silent = Result(Verdict.UNKNOWN, Reason.INTERNAL, f"kind {part.kind} said nothing of this part")
        own = silent if result.verdict is Verdict.PASS else result
    return replace(whole, check=part, verdict=own.verdict, reason=own.reason, message=short(redact.text(own.message)), facts={})
