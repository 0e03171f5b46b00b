"""What a load run is told, resolved to the last value: one JSON document on standard input. It holds secrets, and is written nowhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from loadtests.result import Spend, Stage


@dataclass(frozen=True, slots=True)
class SloOrder:
    """An SLO of the scenario; `objective` is a share, the rest is in seconds. `measure` names a step (step.story) or a phase."""

    name: str
    objective: float
    threshold: float | None = None
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class JourneyOrder:
    """A journey of checks.yaml as it is written there, filled in: its steps and headers are validated again by those who play it."""

    steps: tuple[dict[str, Any], ...] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Order:
    """A whole run. `target` is the data of a probes Target, `login` a step that logs in (for tasks of users who return)."""

    scenario: str
    mix: dict[str, float]
    count: str  # requests or journeys
    slos: tuple[SloOrder, ...]
    target: dict[str, Any] = field(repr=False)
    target_headers: dict[str, str] = field(default_factory=dict, repr=False)
    tls: dict[str, Any] = field(default_factory=dict, repr=False)  # the data of a probes Tls
    allow_addresses: tuple[str, ...] = ()
    journeys: dict[str, JourneyOrder] = field(default_factory=dict)
    login: dict[str, Any] | None = field(default=None, repr=False)
    stages: tuple[Stage, ...] = ()
    shape: str = "constant"
    arrivals: str = "poisson"  # poisson, even or closed
    users: int = 0  # of a closed loop
    most_rate: float = 0.0  # tasks a second that a closed loop may begin; 0: any number
    most_requests: int = 0  # that a closed loop may send; 0: any number
    pause: float = 0.0  # seconds that a closed-loop user waits between two tasks
    duration: float = 0.0
    warm_up: float = 0.0
    cool_down: float = 0.0
    drain: float = 40.0  # how long those under way may take after the end: as long as any of them may take
    ready: float = 20.0  # how long workers have for coming
    seed: int = 1
    workers: int = 0  # 0: the process itself sends
    expect_workers: int = 0  # started elsewhere
    bind: str = "127.0.0.1"
    port: int = 0  # 0: any
    timeout: float = 30.0  # of one request of a task
    most_in_flight: int = 4000  # of one worker
    abort_on_breach: bool = False
    confidence: float = 0.95
    window: float = 10.0  # of the sliding ones
    spends: tuple[Spend, ...] = ()
    config: str = ""
    line: int = 0
    version: str = ""

    @property
    def longest(self) -> float:
        """Seconds that any request may take: a journey has the timeout of its check."""
        return max((self.timeout, *(journey.timeout for journey in self.journeys.values())))


_ORDER: TypeAdapter[Order] = TypeAdapter(Order)


def as_json(order: Order) -> str:
    """For the process that sends."""
    return _ORDER.dump_json(order).decode()


def order_from(text: str | bytes) -> Order:
    """Reads it there. Raises ValueError."""
    return _ORDER.validate_json(text)


def as_data(order: Order) -> dict[str, Any]:
    """For a worker, by the master's message."""
    return asdict(order)


def order_of(data: dict[str, Any]) -> Order:
    """Reads that there. Raises ValueError."""
    return _ORDER.validate_python(data)
