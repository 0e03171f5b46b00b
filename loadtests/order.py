"""What a load run is to do, resolved to the last value: one JSON document on standard input. It holds secrets, and is written nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from loadtests.result import Spend, Stage
from probes.fields import REVEALED
from probes.journeys.steps import Step
from probes.target import Target
from probes.wire.tls import Tls


@dataclass(frozen=True, slots=True)
class SloOrder:
    """An SLO of the scenario; `objective` is a share, the rest is in seconds. `measure` names a step (step.story) or a phase."""

    name: str
    objective: float
    threshold: float | None = None
    measure: str | None = None


@dataclass(frozen=True, slots=True)
class UserTask:
    """What a user does: the variants of a task (steps each), the headers of every request, and how long all of it may take."""

    name: str
    variants: tuple[tuple[Step, ...], ...] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 30.0
    charset: str = ""  # of response bodies, instead of what they declare
    signed_in: bool = False  # whether it begins with the token of a user who is logged in

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the first variant: all variants have the same names in the same order."""
        return self.variants[0]


@dataclass(frozen=True, slots=True)
class Order:
    """A whole run. `login` is what signed-in tasks begin with; None where no task of the mix needs it."""

    scenario: str
    mix: dict[str, float]
    count: str  # requests or journeys
    slos: tuple[SloOrder, ...]
    target: Target = field(repr=False)
    tasks: dict[str, UserTask] = field(default_factory=dict)
    login: UserTask | None = None
    tls: Tls = field(default_factory=Tls, repr=False)
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
    secrets: tuple[str, ...] = field(default=(), repr=False)  # of the file: no message shows one

    @property
    def longest(self) -> float:
        """Seconds that any request may take: a journey has the timeout of its check."""
        return max((self.timeout, *(task.timeout for task in self.tasks.values())))


_ORDER: TypeAdapter[Order] = TypeAdapter(Order)


def as_json(order: Order) -> str:
    """As JSON, secrets and all: for the process that sends, and for its workers."""
    return _ORDER.dump_json(order, by_alias=True, exclude_unset=True, context=REVEALED).decode()


def order_from(text: str | bytes) -> Order:
    """Reads what `as_json` wrote. Raises ValueError."""
    return _ORDER.validate_json(text)
