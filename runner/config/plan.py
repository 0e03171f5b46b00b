"""The plan as everybody else reads it: frozen, whole, and free of the language that it was written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from judge.observation import Check, Slo
from probes.probe import Probe
from probes.target import Rule, Target
from runner.config.windows import Window


@dataclass(frozen=True, slots=True)
class Every:
    """Run once every `seconds`, at a phase given by the check's name."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cron:
    """Run when a standard five-field cron expression says so, by the wall clock of `zone` (an IANA name)."""

    expression: str
    zone: str = "UTC"


T = TypeVar("T")
After = Callable[[float], float]  # of a check, its first slot later than a moment; both in seconds since the epoch


@dataclass(frozen=True, slots=True)
class Planned:
    """One check, ready to run. Two plans hold the same check unchanged where the fingerprints are equal."""

    check: Check
    probe: Probe
    schedule: Every | Cron
    timeout: float
    fingerprint: str
    _: KW_ONLY
    target: Target | None = None
    parts: tuple[Check, ...] = ()
    shift: float = 0.0  # share of the interval by which its slots are later than those of the first location
    confirm: int = 0  # how many re-checks must fail as well before a failure counts


@dataclass(frozen=True, slots=True)
class Server:
    """Where `outrider run` listens and who may do what. No operate token: nothing can be operated."""

    host: str = "127.0.0.1"
    port: int = 9797
    read_token: str = field(default="", repr=False)
    operate_token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()  # names by which it may be asked, beside those that runner.web.access knows by itself
    buckets: tuple[float, ...] = ()  # edges in seconds of the histogram of durations, beside the thresholds of SLOs


@dataclass(frozen=True, slots=True)
class GateRules:
    """What `outrider gate` does unless its options say otherwise. `wait` in seconds."""

    tags: tuple[str, ...] = ("smoke",)
    wait: float = 300.0
    rounds: int = 5
    consecutive: int = 5


@dataclass(frozen=True, slots=True)
class Marking:
    """The Grafana in which deployments, outages and changes of revision are marked. Its url may hold a password."""

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    api: Literal["auto", "legacy", "apis"] = "auto"
    namespace: str = "default"
    dashboard: str = ""
    panel: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario: what is done by how many of a hundred users, what of it is counted, and which SLOs that is held against."""

    name: str
    line: int
    mix: Mapping[str, float]  # weights of tasks of loadtests/ and of journeys
    count: Literal["requests", "journeys"]
    slos: tuple[Slo, ...]
    target: str = ""  # "" where it names none, and it isn't clear which one is meant
    file: str = ""  # as judge.observation.Check has it


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load's requests that match `rule` take beside their target's limit: of `target`'s, or of one of their own where it is "".

    `most` in any `window` seconds.
    """

    rule: Rule
    target: str
    most: float
    window: float

    @property
    def quota(self) -> str:
        """The limit's name in the ledger."""
        return self.target or f"{self.rule} under load"


@dataclass(frozen=True, slots=True)
class Switch:
    """The line of a target's `load:` and what is written there; the line of its name and "" where it has none."""

    line: int
    written: str
    file: str = ""  # as judge.observation.Check has it


@dataclass(frozen=True, slots=True)
class LoadRules:
    """What no load run may exceed (arrivals a second, seconds), what its requests cost others, and the scenarios by name."""

    rate: float = 50.0
    duration: float = 600.0
    costs: tuple[Cost, ...] = ()
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    loadable: tuple[str, ...] = ()  # the targets that say load: true; known where a load is to be run
    switches: Mapping[str, Switch] = field(default_factory=dict)  # by target


@dataclass(frozen=True, slots=True)
class Coordinate:
    """The Redis by which runners share the checks, and how: see runner.shares.leases. Its url may hold a password."""

    url: str = field(repr=False)
    lasts: float  # seconds of a lease
    slots: int
    most: int  # checks that one runner takes
    leases: str  # the name of the group: service, environment and location
    counts: str  # the name of those that share budgets and limits: service and environment

    def __str__(self) -> str:
        return f"{urlsplit(self.url).hostname} with {self.slots} slots as {self.leases}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What checks.yaml says, read for one purpose."""

    service: str
    environment: str
    location: str
    checks: tuple[Planned, ...]  # enabled and selected, in the file's order
    targets: Mapping[str, Target] = field(default_factory=dict)  # those that a check uses
    unused_targets: Mapping[str, Target] = field(default_factory=dict)  # the others, to which a redirect may lead
    slos: tuple[Slo, ...] = ()
    references: tuple[str, ...] = ()  # addresses outside that should always answer
    server: Server = Server()
    gate: GateRules = GateRules()
    grafana: Marking | None = None  # None where nothing is to be marked
    unmarked: bool = False  # grafana: stands in the file, and its address is empty
    coordinate: Coordinate | None = None
    load: LoadRules = LoadRules()
    maintenance: tuple[Window, ...] = ()
    locations: tuple[str, ...] = ()  # those where runners run all checks; empty where there is one alone
    off: tuple[str, ...] = ()  # names of checks that would be selected, were they enabled
    state: Path | None = None  # folder of budgets, spool, history
    selected: tuple[str, ...] = ()  # the options by which its checks were chosen; empty where it has all
    path: Path | None = None  # the file that it was read from
    files: tuple[Path, ...] = ()  # those that it came from beside `path`: included files, the folders of patterns, those of ${file:...}
    secrets: frozenset[str] = field(default=frozenset(), repr=False)  # every secret value: redacted in every output

    @property
    def fingerprints(self) -> dict[str, str]:
        """By name, the fingerprint of every check; a part has that of its check."""
        return {check.name: planned.fingerprint for planned in self.checks for check in (planned.check, *planned.parts)}


class ByCheck(dict[str, T]):
    """What is remembered of checks and parts, by name, for as long as the plan holds the same check."""

    def __init__(self) -> None:
        super().__init__()
        self._planned: dict[str, str] = {}

    def plan(self, plan: Plan) -> None:
        """Follows a load or reload: forgets removed checks, and changed ones, which are other checks by the same name."""
        before, self._planned = self._planned, plan.fingerprints
        for name in [name for name in self if name not in before or before[name] != self._planned.get(name)]:
            del self[name]
