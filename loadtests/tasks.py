"""What users of the Road Trip Storyteller do under load, by name. Every task is a journey of steps, as those of checks.yaml are.

None of them books, saves or writes beyond what a login writes; stories are asked for anonymously, with `force_refresh`, and a
canned or cached one is a failure. Each task has a handful of variants, so that more than the target's cache is measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from loadtests.order import Order, SloOrder, UserTask
from loadtests.record import PHASES
from probes.journeys.steps import Step, check_steps

StepData = dict[str, Any]
BEARER = {"Authorization": "Bearer {{token}}"}
ANONYMOUS = {"Authorization": "Bearer anonymous"}  # nobody's token: with one of whatever kind a POST needs no CSRF token

_PLACES = (
    ("San Francisco, CA", 37.7749, -122.4194),
    ("Los Angeles, CA", 34.0522, -118.2437),
    ("Monterey, CA", 36.6002, -121.8947),
)
_INTERESTS = ("history", "nature", "music", "food", "legends")
_QUERIES = ("seafood", "tacos", "campsite", "coffee")
_LINES = ("Welcome back to the trip.", "Next stop: the lighthouse.", "The bridge opened in 1937.")
_AHEAD = 7  # days


def browse(_today: date) -> Iterator[list[StepData]]:
    """Voices, and the user's own page."""
    yield [
        {"name": "voices", "get": "/api/tts/voices", "expect": {"json": {"$[0].name": {"exists": True}}}},
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
                    "headers": ANONYMOUS,
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
    """A short text to a voice; the audio isn't kept."""
    for line in _LINES:
        yield [
            {
                "name": "synthesize",
                "post": "/api/tts/synthesize",
                "headers": ANONYMOUS,
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
                "headers": ANONYMOUS,
                "json": {"origin": origin, "destination": destination},
                "expect": {"json": {"$.routes[0].legs": {"exists": True}}},
            }
        ]


def returning(_today: date) -> Iterator[list[StepData]]:
    """A user who comes back: logs in (the login is put in front), looks at their page, and logs out."""
    yield [
        {"name": "me", "get": "/api/auth/me", "headers": BEARER, "expect": {"json": {"$.email": {"exists": True}}}},
        {"name": "leave", "post": "/api/auth/revoke", "headers": BEARER, "json": {"token": "{{token}}"}, "always": True},
    ]


TASKS = {"browse": browse, "search": search, "story": story, "speak": speak, "plan": plan, "return": returning}
SIGNED_IN = frozenset({"browse", "search"})
NEEDS_LOGIN = SIGNED_IN | {"return"}


def user_tasks(
    mix: Collection[str], journeys: Mapping[str, UserTask], login: Step | None, headers: Mapping[str, str], today: date
) -> dict[str, UserTask]:
    """Every task of the mix: a journey as it is, or one of TASKS, with `headers` on every request.

    Raises ValueError for one that is neither, and for a task whose users log in where there is no login.
    """
    found = {}
    for name in mix:
        if name in journeys:
            found[name] = journeys[name]
            continue
        if name not in TASKS:
            raise ValueError(f"{name} is neither a task ({', '.join(TASKS)}) nor a journey")
        if name in NEEDS_LOGIN and login is None:
            raise ValueError(f"{name} needs a login, but no journey of this target has a login step")
        first = [as_login(login)] if name == "return" and login is not None else []
        variants = tuple((*first, *map(Step.model_validate, steps)) for steps in TASKS[name](today))
        for steps in variants:
            check_steps(steps)
        found[name] = UserTask(name, variants, dict(headers), signed_in=name in SIGNED_IN)
    return found


def as_login(step: Step) -> Step:
    """A step of a journey that logs in, so that what it captures first is the token that later steps send."""
    return step.model_copy(update={"name": "login", "capture": {"token": next(iter(step.capture.values()))}})


def login_of(tasks: Mapping[str, UserTask], login: Step | None, headers: Mapping[str, str]) -> UserTask | None:
    """The login alone, for the token that signed-in tasks begin with; None where no task does."""
    if login is None or not any(task.signed_in for task in tasks.values()):
        return None
    return UserTask("login", ((as_login(login),),), dict(headers))


def subjects(order: Order) -> dict[str, tuple[SloOrder, ...]]:
    """What is judged, and by which SLOs: each request of each task, or each whole task, as the scenario counts.

    An SLO that measures a step counts for what has that step alone; and what an SLO measures by its step isn't held against
    the thresholds that are meant for all others.
    """
    found = {}
    for name, task in order.tasks.items():
        steps = [step.name for step in task.steps if not step.always]
        if order.count == "journeys":
            found[name] = _held(order.slos, steps)
        else:
            found |= {f"{name}/{step}": _held(order.slos, [step]) for step in steps}
    return {subject: slos for subject, slos in found.items() if slos}


def names_of_slos(order: Order) -> dict[str, list[str]]:
    """The names of the SLOs of each subject."""
    return {subject: [slo.name for slo in slos] for subject, slos in subjects(order).items()}


def wanted(order: Order) -> dict[str, tuple[str, ...]]:
    """The SLOs that something of each subject must be counted for: not those of a phase, such as the first token, which not all have."""
    return {subject: tuple(slo.name for slo in slos if slo.measure not in PHASES) for subject, slos in subjects(order).items()}


def unfillable(order: Order) -> str:
    """Which SLO measures what no task of the mix has, so that nothing could ever be counted for it; "" where all is well."""
    held = {slo.name for slos in subjects(order).values() for slo in slos}
    for slo in order.slos:
        if slo.name not in held or (slo.measure and not slo.measure.startswith("step.") and slo.measure not in PHASES):
            steps = sorted({f"step.{step.name}" for task in order.tasks.values() for step in task.steps if not step.always})
            return f"SLO {slo.name} measures {slo.measure}, but a load test of this mix doesn't; it measures {', '.join([*PHASES, *steps])}"
    return ""


def _held(slos: Sequence[SloOrder], steps: Sequence[str]) -> tuple[SloOrder, ...]:
    own = [slo for slo in slos if slo.measure and slo.measure.removeprefix("step.") in steps]
    free = [slo for slo in slos if slo.measure is None and (slo.threshold is None or not own)]
    phases = [slo for slo in slos if slo.measure and not slo.measure.startswith("step.")]
    return tuple(slo for slo in slos if slo in own or slo in free or slo in phases)


def requests_of(tasks: Mapping[str, UserTask]) -> dict[str, int]:
    """How many requests each task sends at most."""
    return {name: sum(step.most_requests for step in task.steps) for name, task in tasks.items()}


def asks_of(tasks: Mapping[str, UserTask]) -> Iterator[tuple[str, str, str]]:
    """Task, method and path (variables and all) of everything that will be sent."""
    for name, task in tasks.items():
        for steps in task.variants:
            yield from ((name, step.method, step.path) for step in steps)
