"""What users do under load, by name. Every task is a journey of steps, as those of checks.yaml are: one interpreter plays them all.

None of them books, saves or writes beyond what a login writes; stories are asked for anonymously, with `force_refresh`, and a
canned or cached one is a failure. Each task has a handful of variants, so that a cache of the target's isn't all that is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from loadtests.order import JourneyOrder, Order, SloOrder
from loadtests.record import PHASES
from probes.journeys.steps import Step, check_steps

StepData = dict[str, Any]
BEARER = {"Authorization": "Bearer {{token}}"}

_PLACES = (
    ("San Francisco, CA", 37.7749, -122.4194),
    ("Los Angeles, CA", 34.0522, -118.2437),
    ("Monterey, CA", 36.6002, -121.8947),
)
_INTERESTS = ("history", "nature", "music", "food", "legends")
_QUERIES = ("seafood", "tacos", "campsite", "coffee")
_LINES = ("Welcome back to the road.", "Next stop: the lighthouse.", "The bridge opened in 1937.")
_AHEAD = 7  # days


@dataclass(frozen=True, slots=True)
class Playable:
    """A task ready to be played: its variants (steps each), the headers of every request, and how long all of it may take."""

    name: str
    variants: tuple[tuple[Step, ...], ...]
    headers: Mapping[str, str]
    timeout: float

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the first variant: all variants have the same names in the same order."""
        return self.variants[0]

    @property
    def needs_token(self) -> bool:
        """Whether it begins as a user who is logged in already."""
        return self.name in SIGNED_IN


def browse(_today: date) -> Iterator[list[StepData]]:
    """Voices, and the user's own page."""
    yield [
        {"name": "voices", "get": "/api/tts/voices", "expect": {"json": {"$[0].id": {"exists": True}}}},
        {"name": "me", "get": "/api/auth/me", "expect": {"json": {"$.email": {"exists": True}}}},
    ]


def search(today: date) -> Iterator[list[StepData]]:
    """A booking up to the free times of one place, and never further."""
    day = (today + timedelta(days=_AHEAD)).isoformat()
    for query, (_, latitude, longitude) in zip(_QUERIES, _PLACES, strict=False):
        where = {"lat": latitude, "lng": longitude}
        yield [
            {
                "name": "places",
                "post": "/api/reservations/search",
                "json": {"query": query, "location": where, "date": day, "party_size": 2},
                "expect": {"json": {"$.results[0].venueId": {"exists": True}}},
                "capture": {
                    "venue": {"json": "$.results[0].venueId", "secret": False},
                    "provider": {"json": "$.results[0].provider", "secret": False},
                },
            },
            {
                "name": "availability",
                "post": "/api/reservations/check-availability",
                "json": {"provider": "{{provider}}", "venue_id": "{{venue}}", "date": day, "party_size": 2},
                "expect": {"json": {"$.available_times": {"exists": True}}},
            },
        ]


def story(_today: date) -> Iterator[list[StepData]]:
    """A fresh story: a canned or cached one is a failure."""
    for _, latitude, longitude in _PLACES:
        for interest in _INTERESTS:
            yield [
                {
                    "name": "story",
                    "post": "/api/stories/generate",
                    "json": {
                        "location": {"latitude": latitude, "longitude": longitude},
                        "interests": [interest],
                        "force_refresh": True,
                        "save": False,
                    },
                    "expect": {"json": {"$.text": {"exists": True}, "$.metadata.is_fallback": False, "$.from_cache": False}},
                }
            ]


def speak(_today: date) -> Iterator[list[StepData]]:
    """Text to a voice; short enough for anybody, kept for nobody."""
    for line in _LINES:
        yield [
            {
                "name": "synthesize",
                "post": "/api/tts/synthesize",
                "json": {"text": line, "permanent": False},
                "expect": {"json": {"$.audio_url": {"exists": True}}},
            }
        ]


def plan(_today: date) -> Iterator[list[StepData]]:
    """Directions between two places."""
    for (origin, *_), (destination, *_) in zip(_PLACES, _PLACES[1:] + _PLACES[:1], strict=True):
        yield [
            {
                "name": "directions",
                "post": "/api/directions",
                "json": {"origin": origin, "destination": destination},
                "expect": {"json": {"$.routes[0].legs": {"exists": True}}},
            }
        ]


def returning(_today: date) -> Iterator[list[StepData]]:
    """A user who comes back: logs in (the login itself is put in front), looks at their page, and leaves in order."""
    yield [
        {"name": "me", "get": "/api/auth/me", "headers": BEARER, "expect": {"json": {"$.email": {"exists": True}}}},
        {"name": "leave", "post": "/api/auth/revoke", "headers": BEARER, "always": True},
    ]


TASKS = {"browse": browse, "search": search, "story": story, "speak": speak, "plan": plan, "return": returning}
SIGNED_IN = frozenset({"browse", "search"})
NEEDS_LOGIN = SIGNED_IN | {"return"}


def playable(order: Order, today: date) -> dict[str, Playable]:
    """Every task of the mix, validated. Raises ValueError for one that is neither a task nor a journey, or lacks its login."""
    return {name: _playable(order, name, today) for name in order.mix}


def _playable(order: Order, name: str, today: date) -> Playable:
    journey = order.journeys.get(name)
    if journey is not None:
        return _checked(name, [list(journey.steps)], {**order.target_headers, **journey.headers}, journey.timeout)
    if name not in TASKS:
        raise ValueError(f"{name} is neither a task ({', '.join(TASKS)}) nor a journey")
    if name in NEEDS_LOGIN and order.login is None:
        raise ValueError(f"{name} needs a login, but no journey of this target has a login step")
    variants = list(TASKS[name](today))
    if name == "return" and order.login is not None:
        login = {**order.login, "name": "login", "capture": {"token": token_of(order.login)}}
        variants = [[login, *steps] for steps in variants]
    return _checked(name, variants, order.target_headers, order.timeout)


def _checked(name: str, variants: Sequence[Sequence[StepData]], headers: Mapping[str, str], timeout: float) -> Playable:
    made = tuple(tuple(Step.model_validate(step) for step in steps) for steps in variants)
    for steps in made:
        check_steps(steps)
    return Playable(name, made, headers, timeout)


def token_of(login: StepData) -> Any:
    """How a login's answer is read for its token: the first of what it captures."""
    return next(iter(login["capture"].values()))


def login_of(order: Order) -> Playable | None:
    """The login alone, for the token that signed-in tasks begin with; None where no task of the mix does."""
    if order.login is None or not SIGNED_IN & order.mix.keys() - order.journeys.keys():
        return None
    data = {**order.login, "name": "login", "capture": {"token": token_of(order.login)}}
    return _checked("login", [[data]], order.target_headers, order.timeout)


def subjects(order: Order, tasks: Mapping[str, Playable]) -> dict[str, tuple[SloOrder, ...]]:
    """What is judged, and by which SLOs: each request of each task, or each whole task, as the scenario counts.

    An SLO that measures a step counts for what has that step alone; and what an SLO measures by its step isn't held against
    the thresholds that are meant for all others.
    """
    found = {}
    for name, task in tasks.items():
        steps = [step.name for step in task.steps if not step.always]
        if order.count == "journeys":
            found[name] = _held(order.slos, steps)
        else:
            found |= {f"{name}/{step}": _held(order.slos, [step]) for step in steps}
    return {subject: slos for subject, slos in found.items() if slos}


def wanted(order: Order, tasks: Mapping[str, Playable]) -> dict[str, tuple[str, ...]]:
    """The SLOs that something of each subject must be counted for; a phase, such as the first token, not every answer has."""
    held = subjects(order, tasks)
    return {subject: tuple(slo.name for slo in slos if slo.measure not in PHASES) for subject, slos in held.items()}


def unfillable(order: Order, tasks: Mapping[str, Playable]) -> str:
    """Which SLO measures what no task of the mix has, so that nothing could ever be counted for it; "" where all is well."""
    held = {slo.name for slos in subjects(order, tasks).values() for slo in slos}
    for slo in order.slos:
        if slo.name not in held or (slo.measure and not slo.measure.startswith("step.") and slo.measure not in PHASES):
            steps = sorted({f"step.{step.name}" for task in tasks.values() for step in task.steps if not step.always})
            return f"SLO {slo.name} measures {slo.measure}, but a load test of this mix doesn't; it measures {', '.join([*PHASES, *steps])}"
    return ""


def _held(slos: Sequence[SloOrder], steps: Sequence[str]) -> tuple[SloOrder, ...]:
    own = [slo for slo in slos if slo.measure and slo.measure.removeprefix("step.") in steps]
    free = [slo for slo in slos if slo.measure is None and (slo.threshold is None or not own)]
    phases = [slo for slo in slos if slo.measure and not slo.measure.startswith("step.")]
    return tuple(slo for slo in slos if slo in own or slo in free or slo in phases)


def requests_of(tasks: Mapping[str, Playable]) -> dict[str, int]:
    """How many requests one playing of each task sends at most."""
    return {name: len(task.steps) for name, task in tasks.items()}


def asks_of(tasks: Mapping[str, Playable]) -> Iterator[tuple[str, str, str]]:
    """Task, method and path (variables and all) of everything that will be sent."""
    for name, task in tasks.items():
        for steps in task.variants:
            yield from ((name, step.method, step.path) for step in steps)


def journey(data: Mapping[str, Any], timeout: float) -> JourneyOrder:
    """A journey check's settings, as the plan read them, for an order."""
    return JourneyOrder(tuple(data["steps"]), dict(data.get("headers", {})), timeout)
