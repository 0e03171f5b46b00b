"""The pages: everything that somebody on call asks, escaped, without script."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from judge.observation import DiagnosisFinding
from probes.core import Reason
from runner.config.errors import RefusedFile
from tests.support.observations import AVAILABILITY, NOON, P95, TRACE, failed, made_check, passed, unknown
from tests.support.site import Site, site

DATABASE = made_check(
    "database", line=41, interval=60.0, tags=("stores",), alert="page", runbook="https://wiki.example/db", address="postgresql://probe@db/x"
)
API = made_check("api", line=29, interval=30.0, tags=("smoke", "api"), slos=(AVAILABILITY, P95), runbook="docs/runbooks/api.md")
TRIP = made_check("plan-a-trip", depends_on=("database",), required=False)
REPORT = made_check("api-report", tags=("api",))
PART = made_check("api-report/db_healthy", part_of="api-report", compare_with="database")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}"
SEEN: dict[str, Any] = {"evidence": {"sent": "StartupMessage"}}
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Tags(HTMLParser):
    """Collects elements, their attributes and the text; fails on what isn't closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def here() -> Site:
    """Five checks; the database is down, and what depends on it."""
    down = [failed(DATABASE, Reason.TIMEOUT, "no answer within 5s in connect", at=NOON - 180 + 60 * n, **SEEN) for n in range(3)]
    api = passed(API, at=NOON - 60, phases={"connect": 0.01, "processing": 0.24}, trace_id=TRACE)
    here = site(API, DATABASE, TRIP, REPORT, parts={"api-report": (PART,)})
    return here.saw(passed(DATABASE, at=NOON - 240), *down, api, passed(REPORT), failed(PART), failed(TRIP))


def squeezed(text: str) -> str:
    """The text with its white space made plain."""
    return re.sub(r"\s+", " ", text)


async def test_the_page_answers_what_is_asked_at_night(here: Site) -> None:
    """What is down, since when, why, in which phase, what others say, and where to look next."""
    page = Tags((await here.ask("/")).text)
    text = squeezed(page.text)
    assert "3 of 5 checks are down: database, and plan-a-trip and api-report/db_healthy which depend on it." in text
    assert "down since 11:57:00 (3 min)" in text
    assert "timeout no answer within 5s in connect" in text
    assert "shares the failure of database" in text
    assert "checks.yaml:41" in text
    assert "processing 240 ms" in text
    assert "availability (99.9 %) met: 1 of 1 good, 0 % of error budget used" in text
    assert ("a", {"href": "https://wiki.example/db", "rel": "noreferrer"}) in page.seen
    assert any(tag == "meta" and attrs.get("http-equiv") == "refresh" for tag, attrs in page.seen)


async def test_what_other_checks_say_is_as_new_as_their_latest_runs() -> None:
    """A part disagreed with the database, which passed; since the database fails too, the page and the API say that."""
    fresh = site(DATABASE, REPORT, parts={"api-report": (PART,)}).saw(passed(DATABASE), passed(REPORT), failed(PART))
    assert (await fresh.ask("/api/checks/api-report/db_healthy")).json()["latest"]["finding"] == "disagrees with database, which passes"
    fresh.saw(failed(DATABASE))
    assert (await fresh.ask("/api/checks/api-report/db_healthy")).json()["latest"]["finding"] == "database fails too"
    assert "database fails too" in squeezed(Tags((await fresh.ask("/")).text).text)


async def test_a_finding_joins_its_failure(here: Site) -> None:
    """What a diagnosis found stands on the page, in the API and with the failure that it is about, until the check passes."""
    down = failed(DATABASE, Reason.REFUSED, "Connection refused by 10.0.3.7:5432", trace_id=TRACE)
    here.saw(down)
    told = DiagnosisFinding(DATABASE, TRACE, NOON, "1 of 2 addresses refuses", {"connect to 10.0.3.7": "refused"})
    here.health.found(told)
    here.evidence.found(told)
    body = (await here.ask("/api/checks/database")).json()
    assert body["latest"]["finding"] == body["failures"][0]["finding"] == "1 of 2 addresses refuses"
    assert body["failures"][0]["evidence"]["diagnosis"] == {"connect to 10.0.3.7": "refused"}
    assert "1 of 2 addresses refuses" in squeezed(Tags((await here.ask("/checks/database")).text).text)
    here.saw(passed(DATABASE))
    assert (await here.ask("/api/checks/database")).json()["latest"]["finding"] == ""


async def test_causes_stand_before_consequences(here: Site) -> None:
    """The database's card comes first, what depends on it after a word that says so."""
    text = squeezed(Tags((await here.ask("/")).text).text)
    assert text.index("no answer within 5s") < text.index("and what depends on it") < text.index("plan-a-trip optional")


async def test_a_state_is_a_word_and_a_shape_too(here: Site) -> None:
    """Not colour alone: words in the rows, a summary for who can't see the bars, and each bar tells its run."""
    page = Tags((await here.ask("/")).text)
    labels = [attrs.get("aria-label") for tag, attrs in page.seen if tag == "svg"]
    assert "the last 4 runs: 1 passed, 3 failed" in labels
    assert "11:57:00 failed: timeout" in page.text
    classes = {attrs["class"] or "" for tag, attrs in page.seen if tag == "svg"}
    assert {name for name in classes if name.startswith("shape")} == {"shape up", "shape down"}


async def test_the_groups_are_the_first_tags_and_parts_follow_their_check(here: Site) -> None:
    """A check stands once on the page, beside its like."""
    html = (await here.ask("/")).text
    assert re.findall(r'<h2 id="tag-\d+">(.*?)</h2>', html) == ["smoke", "stores", "others", "api"]
    rows = re.findall(r'<div class="who">.*?<a href="(.*?)">', html)
    assert rows == ["/checks/api", "/checks/database", "/checks/plan-a-trip", "/checks/api-report", "/checks/api-report/db_healthy"]


async def test_a_checks_page_shows_what_was_seen(here: Site) -> None:
    """Its failures with evidence and finding, its dependants, its line, its runbook and the command to ask again."""
    page = Tags((await here.ask("/checks/database")).text)
    text = squeezed(page.text)
    assert "database is down" in text
    assert text.count("StartupMessage") == 3
    assert "plan-a-trip, api-report/db_healthy" in text
    assert "outrider probe database --json" in text
    assert "the last 4 runs" in text
    assert any(attrs.get("http-equiv") == "refresh" for _, attrs in page.seen)
    assert [tag for tag, attrs in page.seen if tag == "details" and "open" in attrs] == ["details"]


async def test_a_journeys_stages_are_its_steps() -> None:
    """Where several steps ran, they say more than the wire's phases summed over them."""
    text = squeezed(Tags((await JOURNEY.ask("/")).text).text)
    assert "login 100 ms" in text
    assert "story 400 ms" in text
    assert "processing" not in text
    assert "story 400 ms" in squeezed(Tags((await JOURNEY.ask("/checks/api")).text).text)


JOURNEY = site(API).saw(passed(API, 0.5, phases={"processing": 0.5}, facts={"step.login": 0.1, "step.story": 0.4}))


async def test_a_part_has_a_page_and_leads_to_its_check(here: Site) -> None:
    """Names of parts hold a slash; asking again by hand names the whole check."""
    page = Tags((await here.ask("/checks/api-report/db_healthy")).text)
    assert ("a", {"href": "/checks/api-report"}) in page.seen
    assert "outrider probe api-report --json" in page.text
    assert "api-report/db_healthy" in Tags((await here.ask("/checks/api-report")).text).text


@pytest.mark.parametrize("runbook", ["javascript:alert(1)", "data:text/html,x", "docs/runbooks/api.md", "//evil.example/x"])
async def test_only_the_web_is_linked(runbook: str) -> None:
    """A runbook that is no http address stands as text."""
    here = WITH_RUNBOOK[runbook]
    for path in ("/", "/checks/api"):
        page = Tags((await here.ask(path)).text)
        assert all(attrs.get("href") != runbook for _, attrs in page.seen)
        assert runbook in page.text


WITH_RUNBOOK = {
    runbook: site(made_check(runbook=runbook)).saw(failed(made_check(runbook=runbook)))
    for runbook in ("javascript:alert(1)", "data:text/html,x", "docs/runbooks/api.md", "//evil.example/x")
}


@pytest.fixture
def hostile() -> Site:
    """A site where everything that comes from outside tries to break out."""
    check = made_check("api", address=HOSTILE, runbook=HOSTILE, tags=(HOSTILE,), slos=(AVAILABILITY,))
    seen = failed(
        check,
        Reason.BODY,
        HOSTILE,
        phases={HOSTILE: 0.1},
        facts={HOSTILE: HOSTILE},
        evidence={HOSTILE: {"body": HOSTILE, "bytes": HOSTILE.encode(), "list": [HOSTILE]}},
        trace_id=HOSTILE,
        request_id=HOSTILE,
    )
    made = site(check).saw(passed(check), unknown(check), seen)
    told = DiagnosisFinding(check, HOSTILE, NOON, HOSTILE, {HOSTILE: HOSTILE})
    made.health.found(told)
    made.evidence.found(told)
    return made


@pytest.mark.parametrize("path", ["/", "/checks/api"])
async def test_everything_foreign_is_escaped(hostile: Site, path: str) -> None:
    """A body with markup in it is shown as text: no element, no attribute and no template of it comes alive."""
    html = (await hostile.ask(path)).text
    page = Tags(html)
    assert {tag for tag, _ in page.seen} & {"script", "img", "style", "iframe", "form"} == set()
    assert not [name for _, attrs in page.seen for name in attrs if name.startswith("on") or name == "style"]
    assert "<script" not in html
    assert HOSTILE in page.text
    assert "49" not in page.text.replace(HOSTILE, "")


async def test_pages_before_the_first_run() -> None:
    """Nothing is seen, and the page says so."""
    text = squeezed(Tags((await EMPTY.ask("/")).text).text)
    assert "Starting: no check has run yet." in text
    assert "no run yet" in text
    assert "No run yet." in Tags((await EMPTY.ask("/checks/api")).text).text


EMPTY = site(API)


async def test_the_icon_shows_the_state(here: Site) -> None:
    """A tab in the background tells, too: title and icon."""
    page = Tags((await here.ask("/")).text)
    assert page.text.strip().startswith("3 down · roadtrip")
    [icon] = [attrs["href"] for tag, attrs in page.seen if tag == "link" and attrs.get("rel") == "icon"]
    assert icon == "/static/down.svg"
    assert (await here.ask(icon)).headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/", "/checks/api", "/checks/nope"])
async def test_a_refused_file_is_a_banner(here: Site, path: str) -> None:
    """U12: on every page: that the file is refused, since when, and each error with its line and column; as text."""
    assert 'class="banner"' not in (await here.ask(path)).text
    here.refused_file = RefusedFile(NOON - 90, ("checks.yaml:3:22  checks.api.interval: 5 has no unit; write 5s", HOSTILE))
    text = Tags((await here.ask(path)).text).text
    assert "checks.yaml is refused" in text
    assert "errors since 11:58:30 UTC (1 min ago)" in squeezed(text)
    assert "checks.yaml:3:22  checks.api.interval: 5 has no unit; write 5s" in text
    assert HOSTILE in text


async def test_a_wrong_name_is_a_page_with_the_near_names(here: Site) -> None:
    """U22: a mistyped check leads to the right one; foreign markup in the address stays text."""
    answer = await here.ask("/checks/databse")
    page = Tags(answer.text)
    assert answer.status_code == 404
    assert "There is no check databse" in squeezed(page.text)
    assert ("a", {"href": "/checks/database"}) in page.seen
    hostile = Tags((await here.ask("/checks/%3Cscript%3Ealert(1)%3C/script%3E")).text)
    assert "script" not in {tag for tag, _ in hostile.seen}
    assert "<script>alert(1)</script>" in hostile.text


async def test_a_checks_page_refreshes_unless_it_is_told_to_stay(here: Site) -> None:
    """U22: during an outage a page is never stale unknowingly: it refreshes, or says from when it is."""
    still = Tags((await here.ask("/checks/api?still")).text)
    assert not any(attrs.get("http-equiv") == "refresh" for _, attrs in still.seen)
    assert "This page shows 12:00:00 UTC and doesn't refresh by itself" in squeezed(still.text)
    moving = Tags((await here.ask("/checks/api")).text)
    assert any(attrs.get("http-equiv") == "refresh" for _, attrs in moving.seen)
    assert ("a", {"href": "/checks/api?still"}) in moving.seen


async def test_failed_runs_are_red_in_the_chart() -> None:
    """U9: a run that failed is a full red column whatever its phases took, and an unknown one is hollow."""
    html = (await FAILING.ask("/checks/api")).text
    chart = html[html.index('class="columns"') :]
    chart = chart[: chart.index("</svg>")]
    groups = chart.split("<g>")[1:]
    assert [re.findall(r'rect class="(\w+)"', group) for group in groups] == [["tint0"], ["fail"], ["unknown"]]
    assert 'y="0" width="4" height="100"' in groups[1]
    assert "the longest passed run" in html
    assert "the longest passed run" not in (await NEVER_PASSED.ask("/checks/api")).text


FAILING = site(API).saw(
    passed(API, 0.5, phases={"processing": 0.5}),
    failed(API, Reason.TIMEOUT, "no answer within 5s", seconds=5.0, phases={"processing": 5.0}),
    unknown(API, phases={"processing": 0.2}),
)

NEVER_PASSED = site(API).saw(failed(API))


async def test_the_cause_stands_first() -> None:
    """U22: with a frozen database the application's checks time out too; what hangs behind it is named first."""
    app = [made_check(name, target="api") for name in ("api", "ready", "api-report")]
    here = site(*app, DATABASE)
    here.saw(*(failed(check, Reason.TIMEOUT, phases={"connect": 0.01}) for check in (*app, DATABASE)))
    page = Tags((await here.ask("/")).text)
    assert "4 of 4 checks are down: database, api, ready and api-report." in squeezed(page.text)


async def test_names_are_not_broken_at_their_hyphens() -> None:
    """U22: a name stays whole in the heading unless it is longer than a line."""
    check = made_check("team-2-service/7")
    assert '<span class="whole">team-2-service/7.</span>' in (await site(check).saw(failed(check)).ask("/")).text
