"""A load's report for machines: JUnit as Jenkins takes it, and JSON that is read again."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema

from judge.verdict import Outcome
from loadtests.reports.json import write as write_json
from loadtests.reports.junit import write
from loadtests.result import LoadReport, report_from
from tests.loadtests.reporting import report, searched


@cache
def schema() -> xmlschema.XMLSchema10:
    """junit-10.xsd, as Jenkins' xUnit plugin has it."""
    return xmlschema.XMLSchema10((Path(__file__).parents[1] / "runner/reports/junit-10.xsd").read_text(encoding="utf-8"))


def cases(made: LoadReport) -> dict[str, str]:
    """The element that each test case has by its name, "" for one that passed."""
    root = ET.fromstring(write(made))  # noqa: S314 - our own
    return {case.get("name", ""): next((child.tag for child in case if child.tag != "system-out"), "") for case in root.iter("testcase")}


def test_it_is_valid_whatever_is_in_it() -> None:
    """Passed, failed, no result, and signs that XML has no way to write."""
    for made in (report(), report(slow_from=6.0), report(state="lost"), report(slow_from=6.0, name="a\x00b\ud800<&")):
        schema().validate(write(made))


def test_each_slo_is_a_case() -> None:
    """A proven breach is a failure, what isn't proven is skipped."""
    assert cases(report(slow_from=6.0))["browse/me p95"] == "failure"
    assert cases(report())["browse/me availability"] == "skipped"
    assert cases(report())["browse/me p95"] == ""


def test_a_run_that_is_no_result_fails_nothing() -> None:
    """A lost worker: the breach that was measured is skipped, and why stands in a case of its own."""
    made = report(slow_from=6.0, state="lost")

    assert made.verdict is Outcome.INCONCLUSIVE
    assert "failure" not in cases(made).values()
    assert cases(made)["load 1"] == "skipped"
    assert "worker 2 was lost" in write(made)


def test_totals_are_those_of_the_cases() -> None:
    """Readers show the suite's numbers before they read a case."""
    (suite,) = ET.fromstring(write(report(slow_from=6.0))).iter("testsuite")  # noqa: S314 - our own
    found = cases(report(slow_from=6.0))
    assert suite.get("tests") == str(len(found))
    assert suite.get("failures") == str(sum(tag == "failure" for tag in found.values()))
    assert suite.get("time") == "21.500"


def test_json_is_read_again() -> None:
    """The record whole: what was written is what is read, histograms and the curve with it."""
    for made in (report(slow_from=6.0), searched()):
        assert report_from(write_json(made)) == made
