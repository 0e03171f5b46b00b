"""The records that every room reads: a Check as it was planned, and an Observation of it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from probes.core import Reason, Span, Verdict

SUSPECT = 0.005  # seconds for which the runner may be busy during a run without a warning


def beside(name: str, file: str) -> str:
    """An included file as a reader who knows checks.yaml by `name` finds it. `file` is relative to its folder; "" is checks.yaml."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), file)) if file else name


@dataclass(frozen=True, slots=True)
class Slo:
    """An objective and how its events are counted. One with a threshold counts passes that were quick enough."""

    name: str
    objective: Decimal  # a share: Decimal("0.999")
    window: float  # seconds
    threshold: float | None = None  # seconds
    measure: str | None = None  # a phase, a step (`step.story`) or a fact instead of the whole run


@dataclass(frozen=True, slots=True)
class Check:
    """What every reader may know of a check. A part of a check (`api-report/db_healthy`) is a Check too."""

    name: str
    kind: str
    line: int  # of checks.yaml, or of the file that it includes
    address: str = ""  # what is asked, without secrets
    target: str = ""  # the name under targets:, where there is one
    tags: tuple[str, ...] = ()
    slos: tuple[Slo, ...] = ()
    alert: str = "ticket"  # page, ticket or none
    required: bool = True  # gate: required
    runbook: str = ""
    depends_on: tuple[str, ...] = ()
    reports_as: str = ""
    interval: float = 0.0  # seconds; for a cron expression the shortest gap between two runs
    timeout: float = 0.0
    part_of: str = ""  # the check whose run this part comes from
    compare_with: str = ""  # the check that measures the same by itself
    file: str = ""  # the included file that it stands in, relative to the folder of checks.yaml; "" for checks.yaml itself

    def place(self, name: str) -> str:
        """`checks.yaml:14`. `name` is checks.yaml, as its reader names it."""
        return f"{beside(name, self.file)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Observation:
    """One run of one check, made in one place (engine.execute) and never changed. No secret in any of its texts."""

    check: Check
    verdict: Verdict
    reason: Reason | None
    message: str
    at: float  # when it started, seconds since the epoch
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    trace_id: str = ""
    request_id: str = ""
    lag: float = 0.0  # how late the run started, seconds
    finding: str = ""  # where to look next: what a diagnosis found, and what other checks say
    maintenance: bool = False
    responded: bool = False  # whether the target had sent anything over a connection of this run
    halted_in: str = ""  # the phase in which the run stopped, where it was cut short or broke
    confirmed: bool = True  # False: a failure that a re-check (`confirm`) didn't see again; it counts as the run that passed

    @property
    def stalled(self) -> float:
        """For how many seconds the runner was busy during the run: by this much its times may be too long."""
        found = self.facts.get("loop_lag", 0.0)
        return float(found) if isinstance(found, int | float) else 0.0

    @property
    def suspect(self) -> bool:
        """Whether the runner was busy for so long that the times may be wrong: 5 ms or more."""
        return self.stalled >= SUSPECT

    def bare(self, why: str) -> Observation:
        """What stands for a run that the runner can't report: a failure stays one, and all else is unknown / internal.

        Nothing is in it that the run measured, since that may be what broke the runner.
        """
        failed = self.verdict is Verdict.FAIL
        verdict, reason = (Verdict.FAIL, self.reason) if failed else (Verdict.UNKNOWN, Reason.INTERNAL)
        message = f"failed, and {why}" if failed else why
        return Observation(
            self.check, verdict, reason, message, self.at, self.seconds, confirmed=self.confirmed, maintenance=self.maintenance
        )

    def measured(self, measure: str | None) -> float | None:
        """Seconds (or the number) that an SLO's `measure` names; the whole run for None; None where it wasn't reached."""
        if measure is None:
            return self.seconds
        value = self.phases.get(measure, self.facts.get(measure))
        return float(value) if value is not None else None


@dataclass(frozen=True, slots=True)
class DiagnosisFinding:
    """What a diagnosis found after a failure was recorded: it is shown with that failure, and counts nowhere."""

    check: Check
    trace_id: str  # of the run that failed
    at: float  # when the trials ended, seconds since the epoch
    text: str
    trials: Mapping[str, str] = field(default_factory=dict)  # what was tried, and how it ended; no secret in it


@dataclass(frozen=True, slots=True)
class Outage:
    """A check's failure from its first failed run to its next pass. Times in seconds since the epoch."""

    check: str
    began: float
    why: str
    service: str
    environment: str
    ended: float | None = None  # None while it lasts
    until: str = ""  # what ended it where no pass did, such as "it was removed from checks.yaml"


Sink = Callable[[Observation], None]
