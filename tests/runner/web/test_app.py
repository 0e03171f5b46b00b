"""The routes for programs: metrics, health, reload, and the checks as JSON."""

from __future__ import annotations

import asyncio
import gzip
import math
import threading
from collections.abc import Iterable

import pytest
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.registry import Collector

from probes.core import Reason
from runner.config.errors import RefusedFile
from tests.support.observations import AVAILABILITY, NOON, TRACE, failed, made_check, passed
from tests.support.site import Site, site

API = made_check(slos=(AVAILABILITY,), tags=("smoke",))


@pytest.fixture
def here() -> Site:
    """A site with one check that failed after a pass."""
    seen = (
        passed(API, facts={"status_code": 200}),
        failed(API, Reason.STATUS, trace_id=TRACE, evidence={"response": b"\xff", "ratio": math.nan}),
    )
    return site(API).saw(*seen)


async def test_metrics_are_compressed_where_the_scraper_takes_it(here: Site) -> None:
    """The same page, plain or by gzip, with the process's own families behind it."""
    plain = await here.ask("/metrics", headers={"Accept-Encoding": "identity"})
    packed = await here.ask("/metrics", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for text in (plain.text, packed.text):
        assert 'probe_success{check="api",kind="made"} 0.0' in text
        assert "process_cpu_seconds_total" in text
    assert gzip.compress(plain.content)[:2] == b"\x1f\x8b"


async def test_metrics_come_as_openmetrics_when_asked_for(here: Site) -> None:
    """Prometheus' own Accept header gets OpenMetrics with exemplars."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    answer = await here.ask("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(parse_openmetrics(answer.text))  # type: ignore[no-untyped-call]
    assert any(sample.exemplar for family in families for sample in family.samples)


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3",
            True,
        ),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.4,*/*;q=0.2", True),
        ("text/plain;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;version=1.0.0;q=never", False),
        (";;=,,", False),
    ],
)
async def test_the_format_is_the_one_asked_for(here: Site, accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - what is expected
    """OpenMetrics 1.0 where it is wanted first; all that isn't understood gets the text that everybody reads."""
    answer = await here.ask("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(
        "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
    )
    assert answer.content.endswith(b"# EOF\n") is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=1.0, *;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; Q=0.000, identity", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("gzip;q=never", False),
        ("identity", False),
        ("gzipped, br", False),
        (";;=,,", False),
    ],
)
async def test_gzip_is_for_those_who_take_it(here: Site, accept_encoding: str, packed: bool) -> None:  # noqa: FBT001 - what is expected
    """H6: by the weights of Accept-Encoding: gzip;q=0 forbids it, however it is written."""
    answer = await here.ask("/metrics", headers={"Accept-Encoding": accept_encoding})
    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert "probe_success" in answer.text


async def test_header_lines_of_one_name_are_one_list(here: Site) -> None:
    """A proxy may split what a scraper said: the second line counts as the first does."""
    lines = [
        ("Accept", "text/plain;q=0.1"),
        ("Accept", "application/openmetrics-text"),
        ("Accept-Encoding", "br"),
        ("Accept-Encoding", "gzip"),
    ]
    answer = await here.ask("/metrics", headers=lines)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.headers["content-encoding"] == "gzip"


class Fleet(Collector):
    """A service's own collector, which notes who asks it."""

    asked_in: threading.Thread | None = None

    def collect(self) -> Iterable[Metric]:
        self.asked_in = threading.current_thread()
        yield GaugeMetricFamily("fleet_vehicles", "Vehicles in service.", 12)


@pytest.mark.parametrize(("accept", "name"), [("text/plain", "fleet_trips_total"), ("application/openmetrics-text", "fleet_trips")])
async def test_what_is_registered_from_outside_is_on_the_page(here: Site, accept: str, name: str) -> None:
    """Any collector or metric of prometheus-client's, in both formats; without a family for the moment when it was made."""
    Counter("fleet_trips_total", "Trips that were planned.", registry=here.metrics.registry).inc()
    here.metrics.registry.register(Fleet())
    text = (await here.ask("/metrics", headers={"Accept": accept})).text
    assert f"# HELP {name} Trips that were planned.\n# TYPE {name} counter\nfleet_trips_total 1.0\n" in text
    assert "# TYPE fleet_vehicles gauge\nfleet_vehicles 12.0\n" in text
    assert "_created" not in text
    assert 'probe_success{check="api",kind="made"} 0.0' in text


async def test_a_scrape_does_not_hold_up_the_loop(here: Site) -> None:
    """Collectors may read files or ask others: they are asked in a thread."""
    here.metrics.registry.register(fleet := Fleet())
    await here.ask("/metrics")
    assert fleet.asked_in not in (None, threading.current_thread())


async def test_health_metrics_tells_the_truth_in_both_places(here: Site) -> None:
    """A failing check: 503 and false."""
    answer = await here.ask("/health/metrics")
    assert answer.status_code == 503
    assert answer.json()["checks"]["api"]["healthy"] is False


async def test_healthy_depends_on_no_target(here: Site) -> None:
    """A restart of the runner heals no target: /-/healthy is 200 while everything fails; /-/ready follows the schedule."""
    assert (await here.ask("/-/healthy")).status_code == 200
    assert (await here.ask("/-/ready")).status_code == 200
    here.is_ready = False
    assert (await here.ask("/-/healthy")).status_code == 200
    assert (await here.ask("/-/ready")).status_code == 503


async def test_reload_says_what_happened(here: Site) -> None:
    """200 when it was taken over; 422 and every error when the old plan runs on."""
    here.guarded(operate_token="drive-me")
    headers = {"Authorization": "Bearer drive-me"}
    answer = await here.ask("/-/reload", "POST", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"reloaded": True, "errors": []})
    here.wrong = ["checks.yaml:3:1  checks: no check at all"]
    answer = await here.ask("/-/reload", "POST", headers=headers)
    assert (answer.status_code, answer.json()) == (422, {"reloaded": False, "errors": ["checks.yaml:3:1  checks: no check at all"]})
    assert here.reloads == 2


async def test_the_checks_as_json(here: Site) -> None:
    """The list says how each check is; one check's page has its recent runs, and its failures with evidence as JSON can say it."""
    [one] = (await here.ask("/api/checks")).json()
    assert (one["check"], one["state"], one["latest"]["reason"]) == ("api", "down", "status")
    assert one["slos"] == [{"slo": "availability", "promise": "99.9 %", "events": 2, "good": 1, "holds": False}]
    whole = (await here.ask("/api/checks/api")).json()
    assert [seen["verdict"] for seen in whole["recent"]] == ["pass", "fail"]
    assert whole["failures"][0]["evidence"] == {"response": "\\xff", "ratio": None}
    assert whole["failures"][0]["trace_id"] == TRACE


@pytest.mark.parametrize("path", ["/nothing", "/static/../app.py", "/static/base.html", "/checks/"])
async def test_what_is_not_there_is_404(here: Site, path: str) -> None:
    """Plain words, and no echo of what was asked."""
    answer = await here.ask(path)
    assert answer.status_code == 404
    assert answer.text == "Not found. All checks are listed at /\n"


async def test_a_program_gets_json_for_a_check_that_is_not_there(here: Site) -> None:
    """U22: below /api a 404 is JSON, too."""
    answer = await here.ask("/api/checks/none")
    assert (answer.status_code, answer.json()) == (404, {"error": "not found; /api/checks lists all checks"})


async def test_health_metrics_tells_of_a_refused_file(here: Site) -> None:
    """U12: whether the file on disk is in use, since when it isn't, and why; the status code speaks of the targets alone."""
    before = await here.ask("/health/metrics")
    assert before.json()["configuration"] == {"loaded": True}
    here.refused_file = RefusedFile(NOON, ("checks.yaml:3:22  checks.api.interval: 5 has no unit; write 5s",))
    told = await here.ask("/health/metrics")
    assert told.status_code == before.status_code
    assert told.json()["configuration"] == {
        "loaded": False,
        "refused_since": "2026-11-24T12:00:00.000Z",
        "errors": ["checks.yaml:3:22  checks.api.interval: 5 has no unit; write 5s"],
    }


def test_ready_says_how_far_a_start_is() -> None:
    """How many of the checks have run since the start, until all have; no name is told."""
    one, other = made_check("one"), made_check("other")
    here = site(one, other)

    async def ready() -> str:
        return (await here.ask("/-/ready")).text

    assert asyncio.run(ready()) == "ready\n0 of 2 checks have run\n"
    here.saw(passed(one))
    assert asyncio.run(ready()) == "ready\n1 of 2 checks have run\n"
    here.saw(passed(other))
    assert asyncio.run(ready()) == "ready\n"
