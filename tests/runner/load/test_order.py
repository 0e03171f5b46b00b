"""The order of a load run: what it holds, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.order import as_json, order_from
from runner.config.errors import PlanError
from runner.config.purpose import Purpose
from runner.config.read import read_plan
from runner.load.order import LoadOptions, LoadRun, prepare
from runner.usage import Unusable

CHECKS = """version: 1
targets:
  api: {url: "http://127.0.0.1:9", load: LOAD, limit: 900/1h, allow: [POST /login], headers: {X-Key: of-the-target}}
  other: {url: "http://127.0.0.2:9"}
slos:
  p95: {objective: 95%, threshold: 500ms}
  look: {objective: 95%, threshold: 500ms, measure: step.look}
load:
  ceiling: {rate: 100/s, duration: 1m}
  scenarios:
    page: {mix: {page: 1}, slos: [p95]}
    trip: {mix: {trip: 1, browse: 1}, slos: [p95]}
MOREchecks:
  items: {kind: http, target: api, timeout: 4s, method: POST, path: "/login?x=1", json: {a: 1}, headers: {X-Own: "1"},
    bearer: sk-items-1, expect: {within: 300ms}}
  cache: {kind: tcp, host: 127.0.0.1, port: 9}
  off: {kind: http, target: api, path: /, enabled: false}
  alone: {kind: http, url: "http://127.0.0.1:9/"}
  away: {kind: http, target: other, path: /}
  moved: {kind: http, target: api, path: /, redirects: 2}
  page: {kind: journey, target: api, SETTINGS steps: [{name: page, get: /page, expect: {status: [200, 3xx], within: 250ms}}]}
  trip:
    kind: journey
    target: api
    timeout: 7s
    headers: {X-Own: of-the-journey}
    steps:
      - {name: in, post: /login, form: {password: "hunter2-login"}, capture: {token: $.token}}
      - {name: look, get: "/things/{{token}}"}
"""
OPTIONS: dict[str, Any] = {
    "rate": 1.0,
    "duration": 10.0,
    "shape": "constant",
    "arrivals": "poisson",
    "warm_up": 1.0,
    "cool_down": 0.0,
    "users": 0,
    "requests": 0,
    "pause": 0.0,
    "workers": 0,
    "expect_workers": 0,
    "bind": "",
    "seed": 1,
    "abort_on_breach": False,
    "version": "1",
}


def prepared(folder: Path, scenario: str, *, load: str = "true", settings: str = "", more: str = "", **options: object) -> LoadRun:
    """Prepares a run of a scenario of CHECKS."""
    config = folder / "checks.yaml"
    config.write_text(CHECKS.replace("LOAD", load).replace("SETTINGS", settings).replace("MORE", more))
    return prepare(config, LoadOptions(scenario=scenario, **{**OPTIONS, **options}))


def test_an_order_holds_all_that_is_sent(tmp_path: Path) -> None:
    """The steps of journeys and of the application's own tasks, validated, with the target's headers; another process reads the same."""
    order = prepared(tmp_path, "trip").order
    assert as_json(order_from(as_json(order))) == as_json(order)
    assert [step.name for step in order.tasks["trip"].steps] == ["in", "look"]
    assert order.tasks["trip"].headers == {"X-Key": "of-the-target", "X-Own": "of-the-journey"}
    assert order.tasks["trip"].timeout == 7.0
    assert order.tasks["browse"].signed_in
    assert order.login is not None
    assert order.login.steps[0].path == "/login"
    assert [spend.quota for spend in order.spends] == ["api"]
    assert (
        "hunter2-login" in order_from(as_json(order)).secrets
    )  # the process that sends cuts messages, and must know what to take out first
    assert "hunter2" not in repr(order)


LOGINS = """logins:
  user:
    target: api
    steps:
      - {name: in, post: /login, form: {password: "hunter2-login"}, capture: {token: $.token}}
      - {name: out, get: /out, always: true}
    headers: {Authorization: "Bearer {{token}}"}
"""


def test_a_journey_inside_a_session_logs_in_for_itself(tmp_path: Path) -> None:
    """A load shares no session: each user logs in, sends the login's headers inside, and gives the session back."""
    order = prepared(tmp_path, "page", settings="session: user,", more=LOGINS).order
    steps = order.tasks["page"].steps
    assert [(step.name, sorted(step.headers), step.always) for step in steps] == [
        ("in", [], False),
        ("page", ["Authorization"], False),
        ("out", [], True),
    ]


def test_a_list_of_statuses_reaches_the_process_that_sends(tmp_path: Path) -> None:
    """As do the units of what a step expects."""
    (step,) = order_from(as_json(prepared(tmp_path, "page").order)).tasks["page"].steps
    assert [status in step.expect.status for status in (200, 302, 404)] == [True, True, False]
    assert step.expect.within == 0.25


def test_a_charset_goes_with_the_journey(tmp_path: Path) -> None:
    """W15: a load reads bodies in the charset that the check names, as its probe does."""
    order = prepared(tmp_path, "page", settings="charset: gbk,").order
    assert order_from(as_json(order)).tasks["page"].charset == "gbk"


def test_a_trial_at_another_rate_spends_by_that_rate(tmp_path: Path) -> None:
    """The search for a capacity asks for one order after the other: the steps are the same, the rate and what it spends aren't."""
    run = prepared(tmp_path, "page")
    faster = run.at_rate(5.0)
    assert (faster.stages[0].rate, faster.tasks) == (5.0, run.order.tasks)
    assert faster.spends[0].amount > run.order.spends[0].amount


@pytest.mark.parametrize(
    ("scenario", "more", "message"),
    [
        ("pages", {}, "checks.yaml has no scenario pages (there are page, trip)"),
        ("", {}, "Name a scenario: outrider load SCENARIO (there are page, trip)"),
        (
            "page",
            {"load": "false"},
            "This load is not allowed: target api has load: false (checks.yaml:3); write load: true there. Nothing was sent.",
        ),
        (
            "page",
            {"load": "'${LOADABLE:-false}'"},
            "This load is not allowed: target api has load: false (checks.yaml:3), from ${LOADABLE}; set LOADABLE=true. Nothing was sent.",
        ),
        ("page", {"rate": 101.0}, "101/s is above the ceiling of 100/s (load: ceiling:); nothing was sent"),
        ("page", {"duration": 61.0}, "61s is above the ceiling of 60s (load: ceiling:); nothing was sent"),
        (
            "page",
            {"shape": "zigzag"},
            "outrider load: --shape zigzag: there is no shape zigzag; the shapes are constant, ramp, steps, spike, soak, breakpoint",
        ),
        ("page", {"expect_workers": 2}, "outrider load: --bind is an address and a port, such as 0.0.0.0:5557"),
    ],
)
def test_what_is_not_allowed_ends_before_anything_is_sent(tmp_path: Path, scenario: str, more: dict[str, Any], message: str) -> None:
    """U14: each with its sentence: which target is meant, where its load: is set, and what to do."""
    with pytest.raises(Unusable) as error:
        prepared(tmp_path, scenario, **more)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("settings", "scenario", "message"),
    [
        (
            "",
            "none: {mix: {fly: 1}, slos: [p95]}",
            "mix.fly: no such task or check of this target: fly (there are browse, items, page, plan",
        ),
        ("", "none: {mix: {pages: 1}, slos: [p95]}", "mix.pages: no such task or check of this target: pages; did you mean page?"),
        ("", "none: {mix: {plan: 1}, slos: [p95]}", "mix.plan: target api doesn't allow POST /api/directions; add it to allow, or"),
        ("", "none: {mix: {cache: 1}, slos: [p95]}", "mix.cache: checks.cache is of kind tcp, which a load can't play; it can play browse"),
        ("", "none: {mix: {off: 1}, slos: [p95]}", "mix.off: no such task or check of this target: off"),
        (
            "",
            "none: {mix: {alone: 1}, slos: [p95]}",
            "mix.alone: checks.alone asks an address of its own, but this load goes to target api",
        ),
        ("", "none: {mix: {away: 1}, slos: [p95]}", "mix.away: checks.away asks target other, but this load goes to target api"),
        ("", "none: {mix: {away: 1}, slos: [p95], target: other}", "target: target other does not set load: true, so that no load"),
        ("", "none: {mix: {moved: 1}, slos: [p95]}", "mix.moved: checks.moved follows redirects, which a load test doesn't support"),
        ("", "none: {mix: {page: 1}, slos: [look]}", "slos: SLO look measures step.look, but a load test of this mix doesn't; it measures"),
        ("http: 2, ip: 4,", "", "mix.page: checks.page uses HTTP/2 and requires IPv4, which a load test doesn't support"),
        ("framing: strict,", "", "mix.page: checks.page has framing: strict, which a load test doesn't support"),
        ("proxy: 'http://127.0.0.1:9',", "", "mix.page: checks.page goes through a proxy, which a load test doesn't support"),
        ("resolve: 127.0.0.1,", "", "mix.page: checks.page connects to an address of its own, which a load test doesn't support"),
        ("tls: {verify: false},", "none: {mix: {page: 1, trip: 1}, slos: [p95]}", "mix: its checks have different tls: settings"),
    ],
)
@pytest.mark.parametrize("purpose", [Purpose.CHECKS, Purpose.RUN, Purpose.LOAD])
def test_a_scenario_that_could_not_be_run_is_an_error_of_the_file(
    tmp_path: Path, settings: str, scenario: str, message: str, purpose: Purpose
) -> None:
    """U15: what `outrider load` would refuse is told as the file is read, with its line, by validate too."""
    config = tmp_path / "checks.yaml"
    config.write_text(CHECKS.replace("LOAD", "true").replace("SETTINGS", settings).replace("MORE", f"    {scenario}\n" if scenario else ""))
    with pytest.raises(PlanError) as error:
        read_plan(config, environ={}, purpose=purpose, scenario="page")
    (problem,) = error.value.problems
    assert message in problem.words()
    assert config.read_text().splitlines()[problem.at.line - 1].strip().startswith(scenario or "page:")


@pytest.mark.parametrize(("load", "message"), [("", "no target sets load: true; add it to the target that load tests may use")])
def test_a_scenario_needs_a_target_that_may_be_loaded(tmp_path: Path, load: str, message: str) -> None:
    """U15: where no target has a load: at all, no scenario can be run; `load: false` is a switch, which a file may have."""
    config = tmp_path / "checks.yaml"
    config.write_text(CHECKS.replace("load: LOAD, ", load).replace("SETTINGS", "").replace("MORE", ""))
    with pytest.raises(PlanError) as error:
        read_plan(config, environ={}, purpose=Purpose.CHECKS)
    assert [problem.message for problem in error.value.problems] == [message] * 2
    config.write_text(CHECKS.replace("LOAD", "false").replace("SETTINGS", "").replace("MORE", ""))
    assert read_plan(config, environ={}, purpose=Purpose.CHECKS).load.scenarios.keys() == {"page", "trip"}


def test_a_check_of_one_request_is_a_task(tmp_path: Path) -> None:
    """U15: a mix may name an http check: its request with its headers, credentials, body and expectations, as its probe sends it."""
    found = prepared(tmp_path, "items", more="    items: {mix: {items: 1}, slos: [p95]}\n").order
    task = order_from(as_json(found)).tasks["items"]
    (step,) = task.steps
    assert (step.method, step.filled_path({}), step.filled_body({})) == ("POST", "/login?x=1", ("application/json", b'{"a": 1}'))
    assert task.headers == {"X-Key": "of-the-target", "X-Own": "1", "Authorization": "Bearer sk-items-1"}
    assert step.expect.within == 0.3
    assert task.timeout == 4.0
    assert not step.logs_in
