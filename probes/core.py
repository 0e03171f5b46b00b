"""The ground floor of the house: verdicts, reasons, measurements, and the protocols of what a run is given.

All other modules of Outrider may import this one; it imports none of them. What a kind of check is, is in probes.probe.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of the machine that asks, and never of a target: it has no descriptor or no memory left."""

REPORTS = "reports"
"""The topic of what others reported to a check, by the check's name: see Probe.reported and Ledger.recall."""

SPANS = 1000  # of one run that are kept one by one


class Verdict(StrEnum):
    """What a run found out about its target. UNKNOWN means that the runner can't tell, never that the target is down."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a run did not pass. The list is closed, since reasons become labels of metrics; free text goes to the message."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    TRUNCATED = "truncated"
    REDIRECT = "redirect"
    STATUS = "status"
    BODY = "body"
    SCHEMA = "schema"
    SIZE = "size"
    LATENCY = "latency"
    AUTH = "auth"
    THROTTLED = "throttled"
    FALLBACK = "fallback"
    MOCK = "mock"
    QUOTA = "quota"
    POLICY = "policy"
    STALE = "stale"
    STARVED = "starved"
    OFFLINE = "offline"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    # TLS
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    HOSTNAME = "hostname"
    UNTRUSTED = "untrusted"
    CHAIN = "chain"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Result:
    """A verdict and its reason; the measurements are in the Context. `parts` become observations of their own."""

    verdict: Verdict
    reason: Reason | None = None
    message: str = ""
    parts: Mapping[str, Result] = field(default_factory=dict)
    answered: bool = False  # the target, or a proxy, said so itself: no slowness or network of the runner explains it

    @classmethod
    def passed(cls, message: str = "", parts: Mapping[str, Result] | None = None) -> Result:
        return cls(Verdict.PASS, None, message, parts or {})

    @classmethod
    def failed(cls, reason: Reason, message: str, parts: Mapping[str, Result] | None = None) -> Result:
        return cls(Verdict.FAIL, reason, message, parts or {})


class Failed(Exception):  # noqa: N818 - the field's word: a run failed; this is a verdict, not an error of the program
    """Ends a run as a failure of the target, from anywhere in a probe."""

    def __init__(self, reason: Reason, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.answered = answered  # as of a Result


class QuotaRefused(Exception):  # noqa: N818 - as above: a decision, not an error
    """A limit, a budget or a hold refuses the request: nothing was sent. A scheduled run leaves no observation, only a count."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class LoginHeld(QuotaRefused):
    """No login is tried for now, since one was refused. By hand that is fail / auth: it is what the target said last."""


class PolicyRefused(Exception):  # noqa: N818 - as above
    """The configuration doesn't allow this request (method, path or address): nothing was sent. Becomes fail / policy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Clock(Protocol):
    """Time as an argument: `time` in seconds since the epoch (UTC), `monotonic` in seconds since an arbitrary moment."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...


class Ledger(Protocol):
    """The budgets of runs, kept across restarts and shared by all processes with the same state. runner.state implements it."""

    async def reserve(self, budget: str, amount: float, most: float, window: float) -> int:
        """Reserves `amount` of `most` per UTC-aligned `window` (seconds), durably, before the request is sent. Raises QuotaRefused.

        Returns the reservation's id. A reservation that is never settled stays spent.
        """
        ...

    async def settle(self, reservation: int, amount: float) -> None:
        """Replaces a reservation's amount by the amount that was really used."""
        ...

    async def hold(self, key: str, seconds: float, why: str) -> None:
        """Refuses what `key` names for `seconds` seconds, such as a login after a refused one: see `held`."""
        ...

    async def held(self, key: str) -> None:
        """Raises LoginHeld, with the end of the hold and its reason, while `key` is held."""
        ...

    async def remember(self, check: str, name: str, body: Mapping[str, Any], seconds: float) -> None:
        """Keeps a record of a check, durably, for `seconds` seconds: what must be undone if the process ends before. It has no secret.

        Raises QuotaRefused where it can't be kept.
        """
        ...

    async def remembered(self, check: str) -> Mapping[str, Mapping[str, Any]]:
        """The records of a check by name, those of other processes too."""
        ...

    async def forget(self, check: str, name: str) -> None:
        """Forgets a record: it is undone."""
        ...

    async def recall(self, topic: str, name: str, *, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record by its topic and name. Where there is none, `otherwise` becomes it."""
        ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a request, as the target sees it. `request_id` is the trace id in UUID form: one id finds a run in both journals.

    A request outside of a check's run has no ids, and sends none.
    """

    user_agent: str
    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    request_id: str

    def headers(self) -> dict[str, str]:
        """The headers of every request to our own targets (W3C trace context level 1, sampled)."""
        if not self.trace_id:
            return {"User-Agent": self.user_agent}
        return {
            "User-Agent": self.user_agent,
            "X-Request-ID": self.request_id,
            "traceparent": f"00-{self.trace_id}-{self.span_id}-01",
        }


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of a run that has ended: start and end in seconds since the run's start, by its own clock."""

    name: str
    start: float
    end: float
    step: str = ""


@dataclass(slots=True)
class Interval:
    """A phase under way: its start, and its end where a socket event gives it (`clock.monotonic()` seconds)."""

    start: float
    end: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that a run may send. It is checked against the target's allow list when checks.yaml is read.

    `where` is the position of its setting within the kind's settings, e.g. ("steps", 3). `target` is the name of the target that it
    goes to, where that isn't the check's own. Of one that isn't `known` the path comes from a response.
    """

    method: str
    url: str
    where: tuple[str | int, ...] = ()
    target: str = ""
    known: bool = True


class Measurements:
    """What one run measures: phases, facts, evidence.

    It outlives a run that is cut short: a timeout still says in which phase the run was, and keeps the phases before.
    """

    def __init__(self, clock: Clock, deadline: float) -> None:
        self.clock = clock
        self.deadline = deadline  # by clock.monotonic()
        self.started = clock.monotonic()
        self.spans: list[Span] = []
        self.facts: dict[str, Any] = {}
        self.evidence: dict[str, Any] = {}
        self.step = ""  # the journey's current step
        self.halted_in = ""  # the innermost phase that an exception left: where the run was when it was cut short
        self.halted_step = ""
        self.unfinished = ""  # what had come of a response, for the message of a run that is cut short while it waits for the rest
        self.decided: float | None = None  # clock.monotonic() when the verdict was known, where the run still cleans up

    @contextmanager
    def phase(self, name: str) -> Iterator[Interval]:
        """Measures a phase; phases of the same name add up. An exception is noted and passes through.

        Set `start` or `end` of the yielded interval to a socket event's moment, so that the runner's own time isn't counted.
        """
        interval = Interval(self.clock.monotonic())
        try:
            yield interval
        except BaseException:
            if not self.halted_in:
                self.halted_in, self.halted_step = name, self.step
            raise
        finally:
            end = self.clock.monotonic() if interval.end is None else max(interval.start, interval.end)
            self.mark(name, interval.start, end)

    def mark(self, name: str, start: float, end: float) -> None:
        """Adds a phase that overlaps others or was timed at socket events (`clock.monotonic()` seconds).

        Above SPANS, what follows a span of the same name prolongs it: a server that sends single bytes makes one for each.
        """
        last = self.spans[-1] if len(self.spans) >= SPANS else None
        if last and (last.name, last.step) == (name, self.step):
            self.spans[-1] = Span(name, last.start, last.end + end - start, last.step)
        else:
            self.spans.append(Span(name, start - self.started, end - self.started, self.step))

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase, summed over steps, hops and attempts, in the order in which they began."""
        sums: dict[str, float] = {}
        for span in sorted(self.spans, key=lambda s: s.start):
            sums[span.name] = sums.get(span.name, 0.0) + span.end - span.start
        return sums

    @property
    def waited(self) -> float:
        """Seconds that the run spent in any phase: the target's time, without the runner's own time between phases.

        Phases `token` and `login` are left out: a token endpoint is not a target, and a login is made for many runs.
        """
        total, covered = 0.0, 0.0
        for span in sorted((s for s in self.spans if s.name not in ("token", "login")), key=lambda s: s.start):
            total += max(0.0, span.end - max(span.start, covered))
            covered = max(covered, span.end)
        return total

    def remaining(self) -> float:
        """Seconds until the deadline, not below 0."""
        return max(0.0, self.deadline - self.clock.monotonic())
