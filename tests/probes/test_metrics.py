"""Kind `metrics` against real servers: the contract, counters between runs, conventions, cardinality, and a loop that stays free."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import ValidationError
from starlette.responses import PlainTextResponse, Response

from demo._meter import Meter
from probes.core import Failed, Reason, Result, Verdict
from probes.expect.metric_contract import read_contract
from probes.kinds.metrics import Metrics
from probes.probe import Context
from probes.wire.wire import Wire
from runner.config.errors import PlanError
from runner.config.read import read_plan
from tests.support.context import make_context
from tests.support.web import serving

CONTRACT = Path(__file__).parents[2] / "infrastructure/monitoring/contract.yaml"
GUIDE = read_contract(CONTRACT).families
PAGE = """\
# HELP http_requests_total Requests answered.
# TYPE http_requests_total counter
http_requests_total{method="GET",status="200"} 10
http_requests_total{method="GET",status="500"} 1
# TYPE stories_generated_total counter
# TYPE fuel_ratio gauge
fuel_ratio 0.5
"""
LINES = "text/plain; version=0.0.4; charset=utf-8"


def page(text: str | bytes, content_type: str = LINES) -> Response:
    """A page of metrics."""
    return Response(text, media_type=content_type)


async def scrape(wire: Wire, *pages: Any, **settings: Any) -> list[Result]:
    """The results of one run for each page, in order, of one check."""
    left = list(pages)

    async def answer(_: object) -> Response:
        one = left.pop(0)
        return one if isinstance(one, Response) else page(one)

    async with serving({"GET /metrics": answer}) as web:
        probe = Metrics.model_validate({"url": f"{web.url}/metrics", **settings}, context={"files": True})
        return [await probe.run(make_context(wire, check=web.url)) for _ in pages]


async def verdict(wire: Wire, text: Any, **settings: Any) -> tuple[Reason | None, str]:
    """Reason and message of one run."""
    (result,) = await scrape(wire, text, **settings)
    return result.reason, result.message


async def test_a_page_that_keeps_its_contract(wire: Wire) -> None:
    """Types, labels, samples and values are as promised: it passes, and says how much was there."""
    wanted = {
        "http_requests_total": {"type": "counter", "labels": ["method", "status"], "values": [{"labels": {"status": 200}, "above": 5}]},
        "fuel_ratio": {"type": "gauge", "values": [{"at_least": 0, "at_most": 1}]},
        "stories_generated_total": {"samples": False},
    }
    assert await verdict(wire, PAGE, families=wanted) == (None, "3 families of the contract, 3 series on the page")


@pytest.mark.parametrize(
    ("family", "wanted", "reason", "message"),
    [
        ("bookings_total", {}, Reason.SCHEMA, "bookings_total is absent"),
        (
            "bookings_total",
            {"aliases": ["trips_total"]},
            Reason.SCHEMA,
            "bookings_total is absent (looked for as bookings_total and trips_total)",
        ),
        ("stories_generated_total", {"type": "counter"}, Reason.SCHEMA, "stories_generated_total has no sample"),
        ("fuel_ratio", {"type": "counter"}, Reason.SCHEMA, "fuel_ratio is of type gauge, expected counter"),
        ("fuel_ratio", {"labels": ["tank"]}, Reason.SCHEMA, "fuel_ratio has no label tank"),
        (
            "http_requests_total",
            {"labels": ["status"], "more_labels": False},
            Reason.SCHEMA,
            'http_requests_total{method="GET",status="200"} has the label method, which the contract doesn\'t name',
        ),
        ("http_requests_total", {"series": 1}, Reason.SIZE, "http_requests_total has 2 series, expected at most 1"),
        ("fuel_ratio", {"values": [{"above": 0.5}]}, Reason.BODY, "fuel_ratio is 0.5, expected above 0.5"),
        (
            "http_requests_total",
            {"values": [{"labels": {"status": {"matches": "^5"}}, "at_most": 0}]},
            Reason.BODY,
            'http_requests_total{method="GET",status="500"} is 1, expected at most 0',
        ),
        (
            "http_requests_total",
            {"values": [{"labels": {"status": 404}, "at_least": 0}]},
            Reason.SCHEMA,
            "http_requests_total has no sample with status 404, expected at least 0",
        ),
        (
            "http_requests_total",
            {"values": [{"labels": {"method": "GET"}, "count": 1}]},
            Reason.BODY,
            'the samples of http_requests_total with method "GET" are 2, expected 1',
        ),
    ],
)
async def test_a_breach_of_the_contract(wire: Wire, family: str, wanted: dict[str, Any], reason: Reason, message: str) -> None:
    """Each breach is told with the series and what was expected. R-b: a value has a bound, by labels."""
    assert await verdict(wire, PAGE, families={family: wanted}) == (reason, message)


async def test_families_that_may_be_absent_or_have_another_name(wire: Wire) -> None:
    """An alias of the contract or of the check finds a family under the application's own name."""
    wanted = {"requests_total": {"aliases": ["http_requests_total"]}, "tank_ratio": {"values": [{"below": 1}]}, "mood": {"required": False}}
    assert (await verdict(wire, PAGE, families=wanted, aliases={"tank_ratio": "fuel_ratio"}))[0] is None
    assert (await verdict(wire, PAGE, families=wanted))[1] == "tank_ratio is absent"
    with pytest.raises(ValidationError, match=r"tank_rati is no family of the contract; did you mean tank_ratio\?"):
        await verdict(wire, PAGE, families=wanted, aliases={"tank_rati": "fuel_ratio"})


async def test_several_breaches_are_counted(wire: Wire) -> None:
    """The message names three breaches and says how many more there are; the evidence has all."""
    wanted: dict[str, Any] = {name: {} for name in ("one", "two", "three", "four")}
    assert (await verdict(wire, PAGE, families=wanted))[1] == (
        "4 of 4 families break the contract: one is absent; two is absent; three is absent; and 1 more"
    )


async def test_a_histogram_has_the_edges_of_the_slos(wire: Wire) -> None:
    """A latency objective can't be read from a histogram whose buckets end below it."""
    registry = CollectorRegistry()
    Histogram("ai_request_duration_seconds", "The model.", buckets=(0.5, 1, 10), registry=registry).observe(2)
    wanted = {
        "ai_request_duration_seconds": {"type": "histogram", "buckets": [1, 60], "values": [{"at_least": 1}, {"sample": "sum", "below": 2}]}
    }
    reason, message = await verdict(wire, generate_latest(registry).decode(), families=wanted)
    assert reason is Reason.SCHEMA
    assert message == "ai_request_duration_seconds has no bucket 60; ai_request_duration_seconds_sum is 2, expected below 2"


def counted(value: float, started: float | None = None, other: float = 5) -> str:
    """A page with two counters, and the start of its process where it is known."""
    start = "" if started is None else f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started}\n"
    return f"# TYPE trips_total counter\ntrips_total {value}\n# TYPE legs_total counter\nlegs_total {other}\n{start}"


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ((counted(7, 100), counted(6, 100)), "counter trips_total fell from 7 to 6"),
        ((counted(7, 100), counted(6, 200)), None),  # another process
        ((counted(7, 100), counted(0, 100.5, 0)), "counter trips_total fell from 7 to 0; counter legs_total fell from 5 to 0"),
        ((counted(7), counted(6)), "counter trips_total fell from 7 to 6"),  # one of two
        ((counted(7), counted(0, None, 0)), None),  # both together, and no start is known: a restart
        ((counted(7), counted(7, None, 9)), None),
    ],
)
async def test_counters_do_not_fall(wire: Wire, pages: tuple[str, str], message: str | None) -> None:
    """Between two runs a counter may fall only with a restart, which process_start_time_seconds tells, or that most of them fall."""
    first, second = await scrape(wire, *pages)
    assert first.verdict is Verdict.PASS
    assert (second.reason, second.message) == ((Reason.BODY, message) if message else (None, second.message))


async def test_a_restart_is_told_and_falls_can_be_allowed(wire: Wire) -> None:
    """The message says that another process answered. `may_fall` and `counters: false` allow a fall."""
    pages = (counted(7, 100), counted(6, 100))
    restarted = (await scrape(wire, counted(7, 1), counted(0, 9)))[1]
    assert restarted.message == "3 series on the page; another process than at the run before"
    assert (await scrape(wire, *pages, counters=False))[1].verdict is Verdict.PASS
    assert (await scrape(wire, *pages, families={"trips_total": {"may_fall": True}}))[1].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("name", "kind", "breach"),
    [
        ("trip_duration_minutes", "gauge", "counts in minutes; use seconds"),
        ("upload_kb", "gauge", "counts in kb; use bytes"),
        ("cpu_percent", "gauge", "counts in percent; use ratio"),
        ("trips", "counter", "is a counter and doesn't end in _total"),
        ("users_total", "gauge", "ends in _total and is a gauge, not a counter"),
        ("tripDuration", "gauge", "is not in snake_case"),
        ("users_gauge", "gauge", "names its type, gauge"),
        ("job:trips", "gauge", "has a colon, which is for recording rules"),
        ("legs_count", "gauge", "ends in _count, which is for the series of histograms and summaries"),
    ],
)
async def test_names_follow_the_conventions(wire: Wire, name: str, kind: str, breach: str) -> None:
    """An unusual name of the contract fails, one of the page only if that is asked, and none where it is allowed."""
    text = f"# TYPE {name} {kind}\n{name} 1\n"
    assert await verdict(wire, text, families={name: {}}) == (Reason.SCHEMA, f"the name {name} {breach}")
    assert await verdict(wire, text, conventions="page") == (Reason.SCHEMA, f"the name {name} {breach}")
    assert (await verdict(wire, text))[0] is None
    assert (await verdict(wire, text, families={name: {"unconventional": True}}))[0] is None
    assert (await verdict(wire, text, families={name: {}}, conventions="none"))[0] is None


async def test_openmetrics(wire: Wire) -> None:
    """The same contract holds for OpenMetrics, which names counters without _total; a page without # EOF was cut off."""
    text = (
        '# TYPE http_requests counter\nhttp_requests_total{status="200"} 3 # {trace_id="a"} 1\n# TYPE worker info\nworker_info{pid="1"} 1\n'
    )
    wanted = {"http_requests_total": {"type": "counter", "labels": ["status"]}, "worker_info": {"type": "gauge"}}
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert (await verdict(wire, page(f"{text}# EOF\n", kind), families=wanted))[0] is None
    with pytest.raises(Failed, match="no # EOF"):
        await verdict(wire, page(text, kind), families=wanted)


async def test_what_is_no_page_of_metrics(wire: Wire) -> None:
    """R2: the pair that the real application sends at /health/metrics is schema, with line, cause and content type."""
    pair = Response('["# HELP app_info x", 200, {}]', media_type="application/json")
    with pytest.raises(Failed) as failed:
        await verdict(wire, pair)
    assert failed.value.reason is Reason.SCHEMA
    assert failed.value.message.startswith("line 1: no name of a metric begins the line: ")
    assert failed.value.message.endswith("; the content type is application/json")
    with pytest.raises(Failed, match="503, expected 2xx"):
        await verdict(wire, PlainTextResponse("down", 503))
    with pytest.raises(Failed, match="more than 2 series"):
        await verdict(wire, PAGE, series=2)


async def test_asks_for_the_format_and_logs_in(wire: Wire) -> None:
    """It accepts both formats, or one, and sends its token."""
    async with serving({"GET /metrics": page(PAGE)}) as web:
        for form in ("auto", "text"):
            probe = Metrics.model_validate({"url": f"{web.url}/metrics", "bearer": "a-token-of-mine", "format": form})
            await probe.run(make_context(wire))
        accepted = [headers["accept"] for headers, _ in web.requests]
        assert [headers["authorization"] for headers, _ in web.requests] == ["Bearer a-token-of-mine"] * 2
    assert accepted[0].startswith("application/openmetrics-text;version=1.0.0,text/plain")
    assert accepted[1] == "text/plain;version=0.0.4"


async def test_a_large_page_gives_the_loop_back(wire: Wire) -> None:
    """While 20,000 series are read the loop turns once for each batch of lines, and its facts become metrics."""
    registry = CollectorRegistry()
    counter = Counter("trips", "Trips.", ["n"], registry=registry)
    for n in range(9_500):
        counter.labels(str(n)).inc()
    text, turns, ended = generate_latest(registry), 0, False

    async def turning() -> None:
        nonlocal turns
        while not ended:
            turns += 1
            await asyncio.sleep(0)

    async with serving({"GET /metrics": page(text)}) as web:
        probe = Metrics.model_validate({"url": f"{web.url}/metrics", "families": {"trips_total": {}}}, context={"files": True})
        ctx: Context = make_context(wire, timeout=60)
        task = asyncio.create_task(turning())
        result = await probe.run(ctx)
        ended = True
        await task
    assert result.verdict is Verdict.PASS, result.message
    assert turns > text.count(b"\n") / 250
    assert {name: ctx.facts[name] for name in ("series", "families", "series.trips_total", "contract_breaches")} == {
        "series": 19_000,
        "families": 2,
        "series.trips_total": 9_500,
        "contract_breaches": 0,
    }


async def test_the_guides_contract_holds_for_the_stand_in(wire: Wire) -> None:
    """The whole list of the guide's metrics stands once, as data, and the application as designed keeps it; as built it doesn't."""
    meter = Meter()
    meter.answered("GET", "/api/tts/voices", 200, 0.1, 500)
    meter.pool_size.set(5)
    meter.ai.labels("gemini", "story").observe(0.8)
    settings = {"families": GUIDE}
    assert len(GUIDE) == 18
    assert await verdict(wire, page(meter.render()), **settings) == (None, "18 families of the contract, 80 series on the page")
    built = 'x 1\n# TYPE bookings_total counter\n# TYPE http_requests_total counter\nhttp_requests_total{status="200"} 1\n'
    reason, message = await verdict(wire, built, **settings)
    assert reason is Reason.SCHEMA
    assert message.startswith("18 of 18 families break the contract: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nfamilies:\n  a_total:\n    type: dial\n", r"contract.yaml:4: families.a_total.type: "),
        (
            "version: 1\nfamilies:\n  a_total: {values: [{labels: {b: c}}]}\n",
            r"contract.yaml:3: families.a_total.values.0: write a value or an operator",
        ),
        ("version: 1\nfamilies: {a-b: {}}\n", r"contract.yaml:2: families.a-b: a-b is no name of a metric"),
        ("version: 1\nfamilies: [\n", r"contract.yaml:3: "),
        ("families: {}\n", r"contract.yaml:1: families: "),
    ],
)
def test_a_wrong_contract_file(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in the contract is an error when checks.yaml is read, with the contract's line; a file that is absent is named."""
    (tmp_path / "contract.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "checks.yaml").write_text("version: 1\nchecks: {m: {kind: metrics, url: http://a.example, contract: contract.yaml}}\n")
    with pytest.raises(PlanError, match=message):
        read_plan(tmp_path / "checks.yaml", environ={})
    (tmp_path / "contract.yaml").unlink()
    with pytest.raises(PlanError, match="No such file"):
        read_plan(tmp_path / "checks.yaml", environ={})


def test_a_changed_contract_is_a_changed_check(tmp_path: Path) -> None:
    """The contract belongs to the check's settings: a reload takes a new one, and the runner watches the file."""
    contract, file = tmp_path / "contract.yaml", tmp_path / "checks.yaml"
    file.write_text("version: 1\nchecks: {m: {kind: metrics, url: http://a.example, contract: contract.yaml}}\n")
    contract.write_text("families: {a_total: {}}\n")
    before = read_plan(file, environ={})
    contract.write_text("families: {b_total: {}}\n")
    after = read_plan(file, environ={})
    assert before.fingerprints != after.fingerprints
    assert after.files == (contract,)
