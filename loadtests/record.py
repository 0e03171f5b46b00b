"""What one worker counts while it sends. Adding two records up is exact: counts, histograms, and good / total by second.

`counts` are what is judged: by subject (a request such as `search/availability`, or a task) and SLO, for each second of the
intended start, how many were good of how many. The threshold is compared with the exact latency, before any rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.histogram import Histogram, from_plain, plain
from loadtests.order import SloOrder

PHASES = ("first_token",)  # what a load measures beside whole requests and steps
TOO_MANY_REASONS = 40  # a bounded list, whatever a target says


@dataclass(slots=True)
class Beat:
    """One second of arrivals, as result.Second."""

    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    errors: int = 0
    lag: float = 0.0
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Sums:
    """One task or request over the whole run, as result.Task."""

    kind: str
    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    errors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    response: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    phases: dict[str, Histogram] = field(default_factory=dict)


@dataclass(slots=True)  # not frozen: two are made for every request, and freezing costs as much as filling
class Ended:
    """Something that came to an end: `due` and `response` by the intended start, `service` by the send (all seconds)."""

    due: float
    response: float
    service: float
    reason: str = ""  # "" where it is as expected
    message: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)


class Record:
    """The counts of one worker, or of all of them once they are merged."""

    def __init__(self) -> None:
        self.beats: dict[int, Beat] = {}
        self.sums: dict[str, Sums] = {}
        self.counts: dict[tuple[str, str], dict[int, list[int]]] = {}
        self.lags = Histogram()
        self.unfinished = 0

    def beat(self, at: float) -> Beat:
        """The second that a time from the start falls into."""
        second = int(at)
        found = self.beats.get(second)
        if found is None:
            found = self.beats[second] = Beat()
        return found

    def sum_of(self, name: str, kind: str) -> Sums:
        """The sums of a task (`journey`) or a request."""
        found = self.sums.get(name)
        if found is None:
            found = self.sums[name] = Sums(kind)
        return found

    def offer(self, task: str, due: float) -> None:
        """An arrival is due."""
        self.beat(due).offered += 1
        self.sum_of(task, "journey").offered += 1

    def start(self, task: str, due: float, lag: float) -> None:
        """It began, so late."""
        beat = self.beat(due)
        beat.started += 1
        beat.lag = max(beat.lag, lag)
        self.lags.add(lag)
        self.sum_of(task, "journey").started += 1

    def drop(self, task: str, due: float) -> None:
        """It could not begin: too many were under way."""
        self.beat(due).dropped += 1
        self.sum_of(task, "journey").dropped += 1

    def end_request(self, name: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        """One request of a task came to its end."""
        self._sum(self.sum_of(name, "request"), ended)
        self._count(name, ended, slos)

    def end_task(self, task: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        """A whole task came to its end."""
        self._sum(self.sum_of(task, "journey"), ended)
        self._count(task, ended, slos)
        beat = self.beat(ended.due)
        beat.done += 1
        beat.errors += bool(ended.reason)
        beat.response.add(ended.response)
        beat.service.add(ended.service)

    def lose(self, subject: str, due: float, slos: Iterable[SloOrder]) -> None:
        """A user who couldn't even be let in is a bad event of every SLO of the subject."""
        self._count(subject, Ended(due, 0.0, 0.0, "dropped"), slos)

    def _sum(self, sums: Sums, ended: Ended) -> None:
        sums.done += 1
        sums.response.add(ended.response)
        sums.service.add(ended.service)
        for phase, seconds in ended.phases.items():
            if phase.startswith("step."):
                continue  # the request of that step has sums of its own
            sums.phases.setdefault(phase, Histogram()).add(seconds)
        if ended.reason:
            sums.errors += 1
            reason = ended.reason if ended.reason in sums.reasons or len(sums.reasons) < TOO_MANY_REASONS else "other"
            sums.reasons[reason] = sums.reasons.get(reason, 0) + 1
            sums.said.setdefault(reason, ended.message)

    def _count(self, subject: str, ended: Ended, slos: Iterable[SloOrder]) -> None:
        second = int(ended.due)
        for slo in slos:
            if (well := good(ended, slo)) is None:
                continue
            counts = self.counts.setdefault((subject, slo.name), {}).setdefault(second, [0, 0])
            counts[0] += well
            counts[1] += 1

    def merge(self, other: Record) -> None:
        """Adds what another worker has counted."""
        for second, beat in other.beats.items():
            _add(self.beats.setdefault(second, Beat()), beat)
        for name, sums in other.sums.items():
            _add_sums(self.sum_of(name, sums.kind), sums)
        for key, seconds in other.counts.items():
            ours = self.counts.setdefault(key, {})
            for second, (good_ones, total) in seconds.items():
                counts = ours.setdefault(second, [0, 0])
                counts[0] += good_ones
                counts[1] += total
        self.lags.merge(other.lags)
        self.unfinished += other.unfinished


def good(ended: Ended, slo: SloOrder) -> bool | None:
    """Whether it is a good event: as expected, and at most the threshold in what the SLO measures (response time, else a step or phase).

    None for no event at all: a phase that this answer doesn't have, such as the first token of one that doesn't stream.
    """
    measured = ended.response if slo.measure is None else ended.phases.get(slo.measure)
    if measured is None and slo.measure in PHASES:
        return None
    if ended.reason:
        return False
    if slo.threshold is None:
        return True
    return measured is not None and measured <= slo.threshold


def _add(ours: Beat, theirs: Beat) -> None:
    for name in ("offered", "started", "dropped", "done", "errors"):
        setattr(ours, name, getattr(ours, name) + getattr(theirs, name))
    ours.lag = max(ours.lag, theirs.lag)
    ours.response.merge(theirs.response)
    ours.service.merge(theirs.service)


def _add_sums(ours: Sums, theirs: Sums) -> None:
    for name in ("offered", "started", "dropped", "done", "errors"):
        setattr(ours, name, getattr(ours, name) + getattr(theirs, name))
    for reason, count in theirs.reasons.items():
        ours.reasons[reason] = ours.reasons.get(reason, 0) + count
    for reason, message in theirs.said.items():
        ours.said.setdefault(reason, message)
    ours.response.merge(theirs.response)
    ours.service.merge(theirs.service)
    for phase, histogram in theirs.phases.items():
        ours.phases.setdefault(phase, Histogram()).merge(histogram)


def as_message(record: Record) -> dict[str, Any]:
    """As a worker sends it to the master: plain data with text keys."""
    return {
        "beats": [[second, *_packed(beat)] for second, beat in record.beats.items()],
        "sums": {name: [sums.kind, *_packed(sums)] for name, sums in record.sums.items()},
        "counts": [[*key, [[second, *pair] for second, pair in seconds.items()]] for key, seconds in record.counts.items()],
        "lags": plain(record.lags),
        "unfinished": record.unfinished,
    }


def from_message(data: Mapping[str, Any]) -> Record:
    """What `as_message` wrote."""
    record = Record()
    record.beats = {second: Beat(*_unpacked(fields)) for second, *fields in data["beats"]}
    record.sums = {name: Sums(kind, *_unpacked(fields)) for name, (kind, *fields) in data["sums"].items()}
    record.counts = {(subject, slo): {second: list(pair) for second, *pair in seconds} for subject, slo, seconds in data["counts"]}
    record.lags = from_plain(data["lags"])
    record.unfinished = data["unfinished"]
    return record


def _packed(counted: Beat | Sums) -> list[Any]:
    names = [name for name in type(counted).__dataclass_fields__ if name != "kind"]
    return [_pack(getattr(counted, name)) for name in names]


def _pack(value: Any) -> Any:
    if isinstance(value, Histogram):
        return {"histogram": plain(value)}
    if isinstance(value, dict):
        return {key: _pack(inner) for key, inner in value.items()}
    return value


def _unpacked(fields: Iterable[Any]) -> list[Any]:
    return [_unpack(value) for value in fields]


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return from_plain(value["histogram"]) if value.keys() == {"histogram"} else {key: _unpack(inner) for key, inner in value.items()}
    return value
