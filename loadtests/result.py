"""The records of a load run, as every report reads them: plain, frozen, and JSON both ways.

Seconds everywhere, times `at` counted from the start of the run unless a field says otherwise. Two clocks: *response* time counts from
the intended start of an arrival (what a user would have waited), *service* time from the actual send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from judge.verdict import Outcome
from loadtests.histogram import LatencyHistogram

FORMAT = 2


@dataclass(frozen=True, slots=True)
class VerdictReason:
    """What coloured the verdict, or a note (outcome pass): a sentence, and what it is about where it is about one thing.

    `cause` is a bounded word: breach, window, short, nothing, saturated, worker, revision, refused, interrupted, aborted, broken, note.
    """

    outcome: Outcome
    cause: str
    text: str
    task: str = ""
    slo: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A piece of the offered load: `seconds` long, from `rate` to `until_rate` arrivals a second (equal: constant)."""

    seconds: float
    rate: float
    until_rate: float


@dataclass(frozen=True, slots=True)
class Offered:
    """What was meant to be sent. `arrivals`: poisson, even or closed (then `users`, and the rates are 0)."""

    arrivals: str
    shape: str  # constant, ramp, steps, spike, soak, breakpoint
    stages: tuple[Stage, ...]
    rate: float  # the highest, arrivals a second
    duration: float
    seed: int
    mix: Mapping[str, float]  # weight by task
    count: str  # requests or journeys: what is judged
    target: str
    address: str
    users: int = 0


@dataclass(frozen=True, slots=True)
class Period:
    """`warm-up`, `steady` or `cool-down`: a part of the run. All are kept and shown; only steady is judged."""

    name: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Window:
    """One sliding window's good of total for a judgement: broken where the breach is proven within it alone."""

    begins: float
    ends: float
    good: int
    total: int
    broken: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """One SLO of one route (`search/availability`) or journey (`plan-a-trip`): good of total at the exact threshold.

    `low` and `high` bound the true share with the given confidence (by blocks of a second where neighbours depend on each other;
    `design_effect` says how much fewer samples they are worth than independent ones). `needed` is how many clean samples would
    have proven it. `outcome`: pass (the objective is proven), fail (a breach is proven), inconclusive (neither).
    """

    subject: str
    slo: str
    objective: float
    threshold: float | None
    measure: str | None
    good: int
    total: int
    low: float
    high: float
    confidence: float
    design_effect: float
    needed: int | None
    outcome: Outcome
    text: str
    windows: tuple[Window, ...] = ()  # sliding, those that hold something; the broken ones are failures of their own

    @property
    def share(self) -> float | None:
        """Good of total; None of nothing."""
        return self.good / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Second:
    """What happened in one second of the run. An arrival belongs to the second of its intended start.

    `offered` were due, `started` began, `dropped` could not begin, `done` came to an end (of those due in this second), `errors`
    failed among them. `lag` is the longest that one started behind its time. Histograms are of arrivals (journeys).
    """

    at: int
    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    errors: int = 0
    lag: float = 0.0
    response: LatencyHistogram = field(default_factory=LatencyHistogram)
    service: LatencyHistogram = field(default_factory=LatencyHistogram)


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the mix (`search`, kind `journey`) or one of its requests (`search/availability`, kind `request`).

    Counts over the whole run, warm-up included; `steady` counts those that were judged. `reasons` counts errors by the bounded
    reason (status, timeout, fallback, ...), `messages` keeps the first message of each. A request that was never reached (its
    journey failed before) is no request. `phases` are histograms of service time by phase (first_token).
    """

    name: str
    kind: str
    weight: float = 0.0
    offered: int = 0
    started: int = 0
    dropped: int = 0
    done: int = 0
    steady: int = 0
    errors: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    response: LatencyHistogram = field(default_factory=LatencyHistogram)
    service: LatencyHistogram = field(default_factory=LatencyHistogram)
    phases: Mapping[str, LatencyHistogram] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Worker:
    """One generating process. `state`: done, lost (it went missing), late (its last message never came)."""

    name: str
    state: str
    sent: int = 0
    cpu: float = 0.0  # share of one core, over the run
    cpu_peak: float = 0.0  # of one second
    lag: float = 0.0  # the longest


@dataclass(frozen=True, slots=True)
class Generator:
    """The generator's own health. `achieved` is started of offered; `lag_p99` the delay of starts; `saturated` says why, or is ""."""

    offered: int
    started: int
    dropped: int
    unfinished: int
    achieved: float | None
    lag_p99: float | None
    lag_max: float
    cpu_peak: float
    saturated: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One rate that was tried, in a whole run or a shorter one. `p95` is response time over all tasks, for a plot only."""

    rate: float
    outcome: Outcome
    achieved: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    errors: float  # share
    confirming: bool = False
    broke: tuple[str, ...] = ()  # `search/availability p95`: what didn't hold, the surest breach first


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest rate that held, twice; the lowest that didn't; the curve by rate; and what gave way first."""

    holds: float | None
    breaks: float | None
    curve: tuple[Point, ...]
    gave_way: str = ""
    ended: str = ""  # why the search could not go on to its end


@dataclass(frozen=True, slots=True)
class Spend:
    """What the run takes of a limit at most, known before it begins. `unit`: requests, stories, ...

    `quota` is the limit's name in the ledger ("" where nothing is counted), `requests` are the subjects that count (none: all).
    """

    what: str
    amount: float
    unit: str
    allowed: float | None = None
    per: float | None = None  # seconds of the limit's window
    quota: str = ""
    requests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A load run as it was judged: everything that a report, a page or a machine may want to know of it."""

    scenario: str
    verdict: Outcome
    reasons: tuple[VerdictReason, ...]
    notes: tuple[VerdictReason, ...]
    started: float  # seconds since the epoch
    finished: float
    offered: Offered
    periods: tuple[Period, ...]
    judgements: tuple[Judgement, ...]
    seconds: tuple[Second, ...]
    tasks: tuple[Task, ...]
    generator: Generator
    workers: tuple[Worker, ...]
    revision_before: str = ""
    revision_after: str = ""
    spends: tuple[Spend, ...] = ()
    capacity: Capacity | None = None
    config: str = ""  # the file, for lines
    line: int = 0  # of the scenario
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known while it runs, once a second: of the last second, and of the run so far."""

    at: float
    duration: float
    rate: float  # started in the last second
    offered: float  # due in the last second
    p95: float | None  # response time, of the last second
    errors: int  # so far
    done: int  # so far
    in_flight: int
    lag: float
    cpu: float
    budget: Mapping[str, float] = field(default_factory=dict)  # by `subject slo`: the share of its allowed bad ones that is used
    note: str = ""
    due: int = 0  # so far
    begun: int = 0  # so far


@dataclass(frozen=True, slots=True)
class RunMessage:
    """One line of what the process that sends prints: how it goes, once a second, or the report at the end."""

    progress: Progress | None = None
    report: LoadReport | None = None


_REPORT: TypeAdapter[LoadReport] = TypeAdapter(LoadReport)
_MESSAGE: TypeAdapter[RunMessage] = TypeAdapter(RunMessage)


def as_json(report: LoadReport, indent: int | None = None) -> str:
    """A report as JSON."""
    return _REPORT.dump_json(report, indent=indent).decode()


def report_from(text: str) -> LoadReport:
    """Reads what `as_json` wrote. Raises ValueError for anything else."""
    return _REPORT.validate_json(text)


def as_line(message: RunMessage) -> str:
    """A message as one line of JSON."""
    return _MESSAGE.dump_json(message).decode()


def message_of(data: Any) -> RunMessage:
    """Reads the data that a line of JSON holds. Raises ValueError for anything else."""
    return _MESSAGE.validate_python(data)
