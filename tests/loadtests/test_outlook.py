from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.arrivals import arrivals
from loadtests.order import Order, SloOrder, UserTask, as_json, order_from
from loadtests.outlook import Quota, requests_at_most, seconds_to_decide, spends, undecidable
from loadtests.shapes import SHAPES, duration_of, expected, peak, stages
from loadtests.tasks import TASKS, asks_of, login_of, names_of_slos, requests_of, subjects, unfillable, user_tasks, wanted
from probes.journeys.steps import Step
from probes.target import Rule, Target

TODAY = dt.date(2026, 11, 24)
P95 = SloOrder("p95", 0.95, 0.5)
AVAILABLE = SloOrder("availability", 0.999)
STORY = SloOrder("story-time", 0.95, 3.0, "step.story")
LOGIN = Step.model_validate(
    {"name": "in", "post": "/api/auth/token", "form": {"username": "u", "password": "p"}, "capture": {"token": "$.access_token"}}
)
STORY_STEP = Step.model_validate({"name": "story", "post": "/api/stories/generate", "json": {"x": "{{token}}"}})
JOURNEY = UserTask("plan-a-trip", ((LOGIN, STORY_STEP),), {}, 9.0)
JOURNEYS = {"plan-a-trip": JOURNEY}


def order(mix: dict[str, float], *, login: Step | None = LOGIN, headers: dict[str, str] | None = None, **more: object) -> Order:
    """A run of sixty seconds at 50/s."""
    tasks = user_tasks(mix, JOURNEYS, login, headers or {}, TODAY)
    given_: dict[str, object] = {
        "stages": stages("constant", 50.0, 60.0),
        "duration": 60.0,
        "slos": (P95, AVAILABLE, STORY),
        "target": Target(name="api", url="http://127.0.0.1:1"),
    }
    return Order("t", mix, **{"count": "requests", "tasks": tasks, "login": login_of(tasks, login, headers or {}), **given_, **more})  # type: ignore[arg-type]


CLIENT = """
from loadtests.client import client_of
from loadtests.order import Order, UserTask
from probes.target import Target
target = Target(name="api", url="http://127.0.0.1:1")
order = Order("t", {"trip": 1.0}, "requests", (), target, {"trip": UserTask("trip", ((),), {}, 90.0)})
pool = client_of(order)._connection_pool
print(pool.connection_timeout, pool.network_timeout)
"""


@pytest.mark.slow
def test_a_request_may_take_as_long_as_its_journey() -> None:
    """A check that waits 90 s for its answer is given 90 s under load too, and not the 30 s of the tasks of our own."""
    said = subprocess.run([sys.executable, "-c", CLIENT], capture_output=True, text=True, check=True)  # it patches the standard library
    assert said.stdout.split() == ["90.0", "90.0"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_takes_its_time(shape: str) -> None:
    """Whatever the shape, it lasts as long as was asked, and what is due between two times adds up."""
    found = stages(shape, 50.0, 60.0)
    assert duration_of(found) == pytest.approx(60.0)
    assert expected(found, 0, 20) + expected(found, 20, 60) == pytest.approx(expected(found))
    assert peak(found) == {"spike": 150.0, "breakpoint": 100.0}.get(shape, 50.0)


def test_a_shape_that_there_is_not_names_those_that_there_are() -> None:
    """And no load at all is none."""
    with pytest.raises(ValueError, match="the shapes are constant, ramp, steps"):
        stages("zigzag", 50.0, 60.0)
    with pytest.raises(ValueError, match="above 0"):
        stages("constant", 0.0, 60.0)


def test_a_step_with_an_slo_of_its_own_is_not_held_against_the_others_thresholds() -> None:
    """A story may take 3 s, all else 500 ms; availability is everybody's."""
    o = order({"browse": 1, "story": 1})
    held = {name: [slo.name for slo in slos] for name, slos in subjects(o).items()}
    assert held == {
        "browse/voices": ["p95", "availability"],
        "browse/me": ["p95", "availability"],
        "story/story": ["availability", "story-time"],
    }


def test_whole_journeys_are_judged_where_the_scenario_counts_them() -> None:
    """count: journeys has one subject for each task."""
    o = order({"plan-a-trip": 1.0}, count="journeys")
    assert {name: [slo.name for slo in slos] for name, slos in subjects(o).items()} == {"plan-a-trip": ["availability", "story-time"]}


def test_no_task_books_or_writes_more_than_a_login() -> None:
    """Everything that a load sends of its own: reads, searches, and the login's own pair."""
    o = order(dict.fromkeys(TASKS, 1.0))
    sent = {f"{method} {path}" for _, method, path in asks_of(o.tasks) if method != "GET"}
    assert sent == {
        "POST /api/auth/token",
        "POST /api/auth/revoke",
        "POST /api/directions",
        "POST /api/reservations/check-availability",
        "POST /api/reservations/search",
        "POST /api/stories/generate",
        "POST /api/tts/synthesize",
    }
    assert o.login is not None
    assert order({"plan": 1.0}).login is None


def test_a_task_that_there_is_not_and_a_login_that_is_missing_are_said() -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="neither a task"):
        order({"fly": 1.0})
    with pytest.raises(ValueError, match="no journey of this target has a login step"):
        order({"return": 1.0}, login=None)


def test_an_slo_that_nothing_could_fill_is_said() -> None:
    """A step or a phase that the mix has not: with what it has."""
    typo = order({"story": 1.0}, slos=(SloOrder("slow", 0.9, 3.0, "step.storry"),))
    assert unfillable(typo) == ("SLO slow measures step.storry, but a load test of this mix doesn't; it measures first_token, step.story")
    phase = order({"story": 1.0}, slos=(SloOrder("slow", 0.9, 3.0, "connect"),))
    assert "measures connect" in unfillable(phase)
    fine = order({"story": 1.0, "browse": 1.0})
    assert unfillable(fine) == ""
    assert wanted(fine)["story/story"] == ("availability", "story-time")


def test_what_is_too_short_says_how_long_would_do() -> None:
    """Sixty seconds of a story now and then prove no 99.9 %; those that share an SLO are added up."""
    o = order({"plan": 99.0, "story": 1.0}, slos=(AVAILABLE,))
    said = list(undecidable(o, {"plan/directions": ["p95", "availability"], "story/story": ["availability"]}))
    assert said == []
    apart = list(undecidable(o, {"story/story": ["availability"]}))
    assert len(apart) == 1
    assert "about 30 samples, but it takes 2,995 without a bad one to prove 99.9 %; at this rate the run must last 5990 s" in apart[0]


@given(st.integers(1, 50), st.sampled_from(["poisson", "even"]))
def test_no_seed_sends_more_than_was_paid_for(seed: int, kind: str) -> None:
    """The most that a run is said to send beforehand is not exceeded by what it draws."""
    o = order({"browse": 3.0, "story": 1.0}, arrivals=kind, seed=seed, stages=stages("constant", 20.0, 10.0))
    counts = requests_of(o.tasks)
    assert sum(counts[a.task] for a in arrivals(o.stages, o.mix, kind=kind, seed=seed)) <= requests_at_most(o, counts)


STORIES = Quota("POST /api/stories/*", "POST /api/stories/* under load", 200.0, 86400.0, Rule("POST", "/api/stories/*").matches)
LIMIT = Quota("target api", "api", 900.0, 3600.0)


def test_a_run_says_what_it_spends() -> None:
    """Of the target's limit all requests, of what else has a limit those that it pays for, tasks and journeys alike."""
    o = order({"browse": 3.0, "story": 1.0, "plan-a-trip": 1.0}, arrivals="even")
    told = list(spends(o, (LIMIT, STORIES)))
    assert [(s.what, s.allowed, s.per, s.quota) for s in told] == [
        ("target api", 900.0, 3600.0, "api"),
        ("POST /api/stories/*", 200.0, 86400.0, "POST /api/stories/* under load"),
    ]
    assert [s.requests for s in told] == [(), ("story/story", "plan-a-trip/story")]
    assert told[0].amount > 3000 * 9 / 5
    assert 1200 < told[1].amount < 1500


def test_where_the_target_has_no_limit_its_share_is_said_all_the_same() -> None:
    """And what pays for nothing of this mix isn't spoken of."""
    o = order({"browse": 1.0})
    assert [(s.what, s.quota) for s in spends(o, (STORIES,))] == [("target api", "")]


def test_a_closed_loop_pays_for_what_it_may_send() -> None:
    """Of a quota for some of its requests, their share; without a number nothing can be said."""
    o = order({"browse": 1.0, "story": 1.0}, arrivals="closed", users=5, stages=(), most_requests=1000)
    told = list(spends(o, (LIMIT, STORIES)))
    assert told[0].amount == 1000 + 5
    assert 333 < told[1].amount < 460
    assert list(spends(replace(o, most_requests=0), (LIMIT,))) == []


def test_an_order_reads_back_and_shows_no_secret() -> None:
    """JSON both ways; its repr holds neither headers nor logins."""
    target = Target.model_validate({"name": "api", "url": "http://127.0.0.1:1", "headers": {"X-Key": "hunter2"}})
    o = order({"plan-a-trip": 1.0, "browse": 1.0}, headers={"X-Key": "hunter2"}, target=target)
    back = order_from(as_json(o))
    assert back == o
    assert back.tasks["plan-a-trip"].timeout == 9.0
    assert back.target.headers["X-Key"].get_secret_value() == "hunter2"
    assert "hunter2" not in repr(o)
    assert "password" not in repr(o)
    assert back.target.load is False


@given(st.integers(1, 30), st.floats(1.0, 200.0), st.integers(1, 50))
def test_a_run_of_the_planned_length_has_enough_samples(seconds: int, rate: float, seed: int) -> None:
    """U10: a trial of a search lasts long enough for its SLOs, whatever arrivals chance draws, and never less than was asked."""
    o = order({"browse": 1.0}, stages=stages("constant", rate, seconds), duration=float(seconds), slos=(P95,), seed=seed)
    long = seconds_to_decide(o, names_of_slos(o))
    o = replace(o, stages=stages("constant", rate, long), duration=long)
    drawn = sum(1 for _ in arrivals(o.stages, o.mix, kind="poisson", seed=seed))
    assert long >= seconds
    assert seconds_to_decide(o, names_of_slos(o)) == long
    assert 2 * drawn >= 59  # two requests each; 59 without a bad one prove 95 %
