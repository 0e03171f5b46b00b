"""JUnit, held against the schema that Jenkins uses."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from judge.report import CheckRow, Report
from judge.verdict import Finding, Outcome
from runner.reports.junit import write


@cache
def schema() -> xmlschema.XMLSchema10:
    """junit-10.xsd, as Jenkins' xUnit plugin has it."""
    return xmlschema.XMLSchema10(Path(__file__).with_name("junit-10.xsd").read_text(encoding="utf-8"))


def cases(report: Report) -> dict[str, ET.Element]:
    """The test cases by name."""
    root = ET.fromstring(write(report))  # noqa: S314 - our own
    return {case.get("name", ""): case for case in root.iter("testcase")}


def test_it_is_valid(good: Report, mixed: Report) -> None:
    """Jenkins takes it."""
    for report in (good, mixed):
        schema().validate(write(report))


TEXT = st.text(max_size=30)
ROWS = st.builds(
    CheckRow,
    check=TEXT,
    kind=TEXT,
    line=st.integers(0, 9999),
    required=st.booleans(),
    verdict=st.sampled_from(Outcome),
    reason=st.sampled_from(["", "status", "internal"]),
    message=TEXT,
    runs=st.integers(0, 9),
    passed=st.integers(0, 9),
    unknown=st.just(0),
    strays=st.just(0),
    seconds=st.floats(0, 1e7),
    flaky=st.lists(TEXT, max_size=2).map(tuple),
    finding=TEXT,
    trace_id=st.just(""),
)
REPORTS = st.builds(
    Report,
    verdict=st.sampled_from(Outcome),
    reasons=st.lists(st.builds(Finding, st.sampled_from([Outcome.FAIL, Outcome.INCONCLUSIVE]), TEXT), max_size=2).map(tuple),
    notes=st.just(()),
    checks=st.lists(ROWS, max_size=3).map(tuple),
    started=st.just(0.0),
    finished=st.floats(0, 1e7),
    revision=TEXT,
    preamble=st.lists(TEXT, max_size=1).map(tuple),
)


@settings(max_examples=40)
@given(REPORTS)
def test_it_is_valid_whatever_is_in_it(report: Report) -> None:
    """No text and no number makes a document that Jenkins refuses."""
    schema().validate(write(report))


def test_each_outcome_has_its_element(mixed: Report) -> None:
    """Failed: failure. Broken probe: error. Inconclusive and optional: skipped. Passed when asked again: flakyFailure, and no failure."""
    found = cases(mixed)
    elements = {name: [child.tag for child in case if child.tag != "system-out"] for name, case in found.items()}
    assert elements == {
        "api": ["failure"],
        "ready": ["flakyFailure"],
        "cache": ["error"],
        "story-model": ["skipped"],
        "opentable": ["skipped"],
        "database": [],
        "gate 1": ["skipped"],
    }


def test_the_totals_are_those_of_the_cases(mixed: Report) -> None:
    """Readers show the suite's numbers before they read a case."""
    (suite,) = ET.fromstring(write(mixed)).iter("testsuite")  # noqa: S314 - our own
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "7",
        "failures": "1",
        "errors": "1",
        "skipped": "3",
        "time": "11.250",
    }


def test_a_failure_says_where_and_why(mixed: Report) -> None:
    """The place in checks.yaml, the reason, the trace."""
    failure = cases(mixed)["api"].find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "status", "message": "503 from 10.0.3.7, expected 200"}
    assert failure.text == "checks.yaml:29\nstatus: 503 from 10.0.3.7, expected 200\ntrace 4bf92f3577b34da6a3ce929d0e0e4736"
