"""The report as JSON, for programs: the record itself, histograms with it."""

from __future__ import annotations

from loadtests.result import LoadReport, as_json


def write(report: LoadReport) -> str:
    """One object; `loadtests.result.report_from` reads it again."""
    return as_json(report, indent=2) + "\n"
