"""The page of a load run, as text: what it says, and what it never does."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from judge.verdict import Outcome
from loadtests.record import Record
from loadtests.reports.charts import MOST_COLUMNS, columns
from loadtests.reports.html import write
from loadtests.result import LoadReport, Second, VerdictReason
from loadtests.verdict import Facts, judge
from tests.loadtests.reporting import BEGAN, order, record, report, searched

EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


def texts(page: str) -> str:
    """What a person reads of it, blanks made one."""
    body = page.split("<body>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_verdict_and_its_reasons_come_first() -> None:
    """A failed run says so in its headline, then which route broke which SLO, before any figure."""
    made = report(slow_from=6.0)
    said = texts(write(made))

    assert made.verdict is Outcome.FAIL
    assert "roadtrip breaches its SLOs at 10/s for 20 s" in said
    assert said.index("roadtrip breaches its SLOs") < said.index("browse/me p95:") < said.index("arrivals begun")
    assert "slower than 500 ms or failed" in said


def test_every_part_of_the_report_is_on_the_page() -> None:
    """SLOs with their interval, plots, phases, tasks, errors with what they said, workers, and how to run it again."""
    page = write(report(slow_from=6.0))
    said = texts(page)

    for title in (
        "Arrivals a second",
        "Response time",
        "Every response",
        "Errors a second",
        "How late the generator began",
        "Errors",
        "The run",
    ):
        assert title in said
    for fact in ("95 % within 500 ms", "first token", "503, expected 200", "3f2c91a", "checks.yaml:120", "warm-up", "240 requests of 900"):
        assert fact in said
    assert "breached from" in page


def test_a_search_shows_its_curve() -> None:
    """What holds, what doesn't, what gives way first, and each tried rate as a point of its own shape."""
    page = write(searched())

    assert "Response time by rate" in page
    assert "browse/me p95" in texts(page)
    assert [page.count(f'class="dot {kind}"') for kind in ("pass", "fail", "inconclusive")] == [2, 1, 0]


def test_no_text_of_a_target_becomes_markup() -> None:
    """Whatever an answer said or a task is called, it is text."""
    page = write(report(slow_from=6.0, message=EVIL, name=EVIL.replace("/", "")))

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{7*7}}" in page


def test_it_needs_nothing_but_itself() -> None:
    """No address is fetched, no script runs, and the page tells the browser so."""
    page = write(report(slow_from=6.0))

    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=|url\(|@import|<script|\son\w+=""", page)
    assert "https://" not in page.replace("https://api.example", "")


def test_every_plot_says_what_it_shows() -> None:
    """Each drawing is a picture with a name, or hidden from who can't see it; each title has an id of its own."""
    page = write(searched())

    for svg in re.findall(r"<svg[^>]*>", page):
        assert "aria-label=" in svg or 'aria-hidden="true"' in svg, svg
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_its_drawings_are_well_formed() -> None:
    """Every SVG is XML, and no number of it is none."""
    page = write(report(slow_from=6.0))
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)

    assert len(drawn) > 8
    for svg in drawn:
        ET.fromstring(svg)  # noqa: S314 - our own
    assert not re.search(r'"[^"]*\b(nan|inf|None)\b[^"]*"', "".join(drawn))


def test_a_run_without_a_request_has_a_page_too() -> None:
    """Nothing sent: the page says why, and has no plot of nothing."""
    page = write(judge(order(), Record(), Facts(BEGAN, BEGAN)))

    assert "nothing was sent" in texts(page)
    assert '<h2 id="latency"' not in page


@pytest.mark.parametrize("seconds", [1, 240, 241, 7200])
def test_a_long_run_is_as_readable_as_a_short_one(seconds: int) -> None:
    """Seconds are put together, exactly: no more columns than can be told apart, and none of the counts is lost."""
    cut = columns([Second(at, offered=2, started=2, done=1) for at in range(seconds)])

    assert len(cut) <= MOST_COLUMNS
    assert sum(column.offered for column in cut) == 2 * seconds
    assert (cut[0].begins, cut[-1].ends) == (0, seconds)


def test_long_lists_of_reasons_are_folded() -> None:
    """The first few are read at once, the rest on request."""
    many = tuple(VerdictReason(Outcome.FAIL, "breach", f"reason {number}") for number in range(30))
    made: LoadReport = replace(report(), verdict=Outcome.FAIL, reasons=many)
    page = write(made)

    assert "25 more reasons" in page
    assert page.index("reason 4") < page.index("<details") < page.index("reason 5")


def test_counts_come_from_the_run() -> None:
    """The figures at the top are those of the record: 200 done, one in twenty failed."""
    made = report(slow_from=10.0)
    said = texts(write(made))

    assert sum(second.done for second in made.seconds) == 200
    assert "errors 5.00 %" in said
    assert record(10.0).tasks["browse/me"].errors == 10
