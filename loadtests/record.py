"""What one worker counts while it sends. Adding two records up is exact: counts, histograms, and good / total by second.

`counts` are what is judged: by subject (a request such as `search/availability`, or a task) and SLO, for each second of the
intended start, how many were good of how many. The threshold is compared with the exact latency, before any rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from judge import slo as rule
from loadtests.histogram import LatencyHistogram
from loadtests.order import SloOrder
from probes.core import Reason

PHASES = ("first_token",)  # what a load measures beside whole requests and steps
TOO_MANY_REASONS = 40  # a bounded list, whatever a target says
BySecond = dict[int, list[int]]  # by second: good ones and all


@dataclass(slots=True)
class SecondCounts:
    """One second of arrivals, as result.Second."""

    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    errors: int = 0
    lag: float = 0.0
    response: LatencyHistogram = field(default_factory=LatencyHistogram)
    service: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass(slots=True)
class TaskCounts:
    """One task or request over the whole run, as result.Task."""

    kind: str
    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    errors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    response: LatencyHistogram = field(default_factory=LatencyHistogram)
    service: LatencyHistogram = field(default_factory=LatencyHistogram)
    phases: dict[str, LatencyHistogram] = field(default_factory=dict)


@dataclass(slots=True)  # not frozen: two are made for every request, and freezing costs as much as filling
class Ended:
    """Something that came to an end: `due` and `response` by the intended start, `service` by the send (all seconds)."""

    due: float
    response: float
    service: float
    reason: str = ""  # "" where it is as expected
    message: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """The counts of one worker, or of all of them once they are merged."""

    seconds: dict[int, SecondCounts] = field(default_factory=dict)
    tasks: dict[str, TaskCounts] = field(default_factory=dict)
    counts: dict[str, dict[str, BySecond]] = field(default_factory=dict)
    lags: LatencyHistogram = field(default_factory=LatencyHistogram)
    unfinished: int = 0

    def second(self, at: float) -> SecondCounts:
        """The second that a time from the start falls into."""
        second = int(at)
        found = self.seconds.get(second)
        if found is None:
            found = self.seconds[second] = SecondCounts()
        return found

    def task(self, name: str, kind: str) -> TaskCounts:
        """The counts of a task (`journey`) or a request."""
        found = self.tasks.get(name)
        if found is None:
            found = self.tasks[name] = TaskCounts(kind)
        return found

    def offer(self, task: str, due: float) -> None:
        """An arrival is due."""
        self.second(due).offered += 1
        self.task(task, "journey").offered += 1

    def start(self, task: str, due: float, lag: float) -> None:
        """An arrival began, `lag` seconds after it was due."""
        second = self.second(due)
        second.started += 1
        second.lag = max(second.lag, lag)
        self.lags.add(lag)
        self.task(task, "journey").started += 1

    def drop(self, task: str, due: float) -> None:
        """An arrival could not begin: too many were under way."""
        self.second(due).dropped += 1
        self.task(task, "journey").dropped += 1

    def end_request(self, name: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        """One request of a task came to its end."""
        self._add(self.task(name, "request"), ended)
        self.count(name, ended, slos)

    def end_task(self, task: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        """A whole task came to its end."""
        self._add(self.task(task, "journey"), ended)
        self.count(task, ended, slos)
        second = self.second(ended.due)
        second.done += 1
        second.errors += bool(ended.reason)
        second.response.add(ended.response)
        second.service.add(ended.service)

    def _add(self, counts: TaskCounts, ended: Ended) -> None:
        counts.done += 1
        counts.response.add(ended.response)
        counts.service.add(ended.service)
        for phase, seconds in ended.phases.items():
            if phase.startswith("step."):
                continue  # the request of that step has counts of its own
            counts.phases.setdefault(phase, LatencyHistogram()).add(seconds)
        if ended.reason:
            counts.errors += 1
            reason = ended.reason if ended.reason in counts.reasons or len(counts.reasons) < TOO_MANY_REASONS else "other"
            counts.reasons[reason] = counts.reasons.get(reason, 0) + 1
            counts.messages.setdefault(reason, ended.message)

    def count(self, subject: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        """Counts one event for each SLO of its subject, in the second in which it was due."""
        second = int(ended.due)
        for slo in slos:
            if (well := good(ended, slo)) is None:
                continue
            counts = self.counts.setdefault(subject, {}).setdefault(slo.name, {}).setdefault(second, [0, 0])
            counts[0] += well
            counts[1] += 1

    def by_slo(self) -> dict[tuple[str, str], BySecond]:
        """What is judged, by subject and SLO."""
        return {(subject, slo): seconds for subject, slos in self.counts.items() for slo, seconds in slos.items()}

    def merge(self, other: Record) -> None:
        """Adds what another worker has counted."""
        for at, second in other.seconds.items():
            ours = self.seconds.setdefault(at, SecondCounts())
            _add_up(ours, second)
            ours.lag = max(ours.lag, second.lag)
        for name, task in other.tasks.items():
            mine = self.task(name, task.kind)
            _add_up(mine, task)
            for reason, number in task.reasons.items():
                mine.reasons[reason] = mine.reasons.get(reason, 0) + number
            mine.messages = {**task.messages, **mine.messages}
            for phase, histogram in task.phases.items():
                mine.phases.setdefault(phase, LatencyHistogram()).merge(histogram)
        for (subject, slo), seconds in other.by_slo().items():
            whole = self.counts.setdefault(subject, {}).setdefault(slo, {})
            for at, (good_ones, total) in seconds.items():
                counts = whole.setdefault(at, [0, 0])
                counts[0] += good_ones
                counts[1] += total
        self.lags.merge(other.lags)
        self.unfinished += other.unfinished


def _add_up(ours: SecondCounts | TaskCounts, theirs: SecondCounts | TaskCounts) -> None:
    for name in ("offered", "started", "dropped", "done", "errors"):
        setattr(ours, name, getattr(ours, name) + getattr(theirs, name))
    ours.response.merge(theirs.response)
    ours.service.merge(theirs.service)


def good(ended: Ended, slo: SloOrder) -> bool | None:
    """Whether it is a good event, in what the SLO measures: response time, else a step or a phase. None for no event at all.

    A phase such as the first token is known from the response alone: a request that has none may be one that never streams, so that
    it is no event, though it failed. What the generator could not send says nothing of the target. A load has no tolerance: a
    generator that was too busy spoils the whole run.
    """
    if ended.reason == Reason.STARVED:
        return None
    measured = ended.response if slo.measure is None else ended.phases.get(slo.measure)
    if measured is None and slo.measure in PHASES:
        return None
    return rule.good(passed=not ended.reason, measured=measured, threshold=slo.threshold)


_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def as_message(record: Record) -> dict[str, Any]:
    """As a worker sends it to the master: plain data."""
    data: dict[str, Any] = _RECORD.dump_python(record)
    return data


def from_message(data: Mapping[str, Any]) -> Record:
    """Reads what `as_message` wrote."""
    return _RECORD.validate_python(data)
