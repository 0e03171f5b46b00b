"""The order of a load run: what it holds, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests.order import as_json, order_from
from runner.load.order import LoadOptions, LoadRun, prepare
from runner.usage import Unusable

CHECKS = """version: 1
targets:
  api: {url: "http://127.0.0.1:9", load: LOAD, limit: 900/1h, allow: [POST /login], headers: {X-Key: of-the-target}}
slos:
  p95: {objective: 95%, threshold: 500ms}
load:
  ceiling: {rate: 100/s, duration: 1m}
  scenarios:
    page: {mix: {page: 1}, slos: [p95]}
    trip: {mix: {trip: 1, browse: 1}, slos: [p95]}
    none: {mix: {fly: 1}, slos: [p95]}
checks:
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


def prepared(folder: Path, scenario: str, *, load: str = "true", settings: str = "", **options: object) -> LoadRun:
    """Prepares a run of a scenario of CHECKS."""
    config = folder / "checks.yaml"
    config.write_text(CHECKS.replace("LOAD", load).replace("SETTINGS", settings))
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
    assert "hunter2" not in repr(order)


def test_a_list_of_statuses_reaches_the_process_that_sends(tmp_path: Path) -> None:
    """As do the units of what a step expects."""
    (step,) = order_from(as_json(prepared(tmp_path, "page").order)).tasks["page"].steps
    assert [status in step.expect.status for status in (200, 302, 404)] == [True, True, False]
    assert step.expect.within == 0.25


def test_a_trial_at_another_rate_spends_by_that_rate(tmp_path: Path) -> None:
    """The search for a capacity asks for one order after the other: the steps are the same, the rate and what it spends aren't."""
    run = prepared(tmp_path, "page")
    faster = run.at_rate(5.0)
    assert (faster.stages[0].rate, faster.tasks) == (5.0, run.order.tasks)
    assert faster.spends[0].amount > run.order.spends[0].amount


@pytest.mark.parametrize(
    ("scenario", "more", "message"),
    [
        ("pages", {}, "checks.yaml has no scenario pages (there are page, trip, none)"),
        ("page", {"load": "false"}, "This load is not allowed: no target sets load: true. Nothing was sent."),
        ("none", {}, "scenario none: fly is neither a task (browse, search, story, speak, plan, return) nor a journey; nothing was sent"),
        ("page", {"rate": 101.0}, "101/s is above the ceiling of 100/s (load: ceiling:); nothing was sent"),
        ("page", {"duration": 61.0}, "61s is above the ceiling of 60s (load: ceiling:); nothing was sent"),
        (
            "page",
            {"shape": "zigzag"},
            "outrider load: there is no shape zigzag; the shapes are constant, ramp, steps, spike, soak, breakpoint",
        ),
        ("page", {"expect_workers": 2}, "outrider load: --bind is an address and a port, such as 0.0.0.0:5557"),
        (
            "page",
            {"settings": "http: 2, ip: 4,"},
            "checks.page uses HTTP/2 and requires IPv4, which a load test doesn't support; nothing was sent",
        ),
        (
            "page",
            {"settings": "proxy: 'http://127.0.0.1:9',"},
            "checks.page goes through a proxy, which a load test doesn't support; nothing was sent",
        ),
        (
            "page",
            {"settings": "resolve: 127.0.0.1,"},
            "checks.page connects to an address of its own, which a load test doesn't support; nothing was sent",
        ),
    ],
)
def test_what_is_not_allowed_ends_before_anything_is_sent(tmp_path: Path, scenario: str, more: dict[str, Any], message: str) -> None:
    """Each with its sentence."""
    with pytest.raises(Unusable) as error:
        prepared(tmp_path, scenario, **more)
    assert str(error.value) == message


def test_a_request_that_the_target_does_not_allow_is_no_load(tmp_path: Path) -> None:
    """The application's own tasks are held against the target's rules as its checks are."""
    config = tmp_path / "checks.yaml"
    config.write_text(CHECKS.replace("LOAD", "true").replace("SETTINGS", "").replace("{fly: 1}", "{plan: 1}"))
    with pytest.raises(Unusable, match="scenario none, plan: target api doesn't allow POST /api/directions; nothing was sent"):
        prepare(config, LoadOptions(scenario="none", **OPTIONS))
