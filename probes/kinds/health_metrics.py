"""Kind `health_metrics`: an API's report of its own health; each declared part becomes an observation of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from probes import Ask, Context, Failed, Family, Reason, Result
from probes.expect.assertions import beginning, body_and_status, json_faults, status_mismatch
from probes.expect.beside import beside_the_loop
from probes.expect.conditions import Condition
from probes.expect.json_path import JsonPath
from probes.expect.patterns import shown
from probes.expect.publish import publish_response, require_published
from probes.expect.status import Statuses, any_success, judge_status
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, http_families
from probes.text import count

# In lower case, with _ between words. A word that only warns (degraded, warn, unknown) contradicts no status code.
_WELL = re.compile("healthy|ok|ready|up|pass(ed|ing)?|alive|available|serving|operational")
_UNWELL = re.compile(
    "(not_|un)(healthy|ready|ok|available|alive|serving)|errors?|down|fail(ed|ing|ure)?|critical|fatal|shut(ting)?_?down"
    "|out_of_service|offline|stop(ped|ping)|terminat(ed|ing)|dead|broken|((major|partial)_)?outage"
)


class ReportPart(Condition):
    """What one value of the report must be, and the check that measures the same thing directly."""

    non_operators: ClassVar[frozenset[str]] = Condition.non_operators | {"compare_with", "name"}

    compare_with: str = Field(default="", description="The check that measures the same thing directly.")
    name: str = Field(
        default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$", description="The part's name; by default the last name of the path."
    )


class HealthMetrics(HttpProbe):
    """Reads an API's health report. The check is about the report: it is present, has its parts and doesn't contradict itself.

    A part that is reported as unhealthy fails the part (`api-report/db_healthy`), not the check. A body that contradicts its
    status code fails the check with reason body.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9/health/metrics", "parts": {"$.db_healthy": True, "$.redis_healthy": {"equals": True}}},
        {
            "url": "http://127.0.0.1:9/health/ready",
            "parts": {"$.checks.database.status": {"equals": "healthy", "name": "database", "compare_with": "database"}},
        },
    )
    families: ClassVar[tuple[Family, ...]] = http_families()
    publishable: ClassVar[frozenset[str]] = frozenset({"value", "header", "fact"})

    parts: dict[JsonPath, ReportPart] = Field(min_length=1, description="Conditions for the parts of the report, by JSONPath.")
    status: Statuses = Field(default_factory=any_success, description="The status codes that the report may have; 2xx by default.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names: list[str] = []
        for path, part in self.parts.items():
            if not (name := part.name or "".join(path.names[-1:])):
                raise ValueError(f"{path} ends in no name; give this part a name:")
            if name in names:
                raise ValueError(f"two parts are named {name}; give one of them a name:")
            names.append(name)
        return self

    def _parts_by_name(self) -> dict[str, tuple[JsonPath, ReportPart]]:
        return {part.name or path.names[-1]: (path, part) for path, part in self.parts.items()}

    def part_names(self) -> tuple[str, ...]:
        return tuple(self._parts_by_name())

    def part_compares(self) -> Mapping[str, str]:
        return {name: part.compare_with for name, (_, part) in self._parts_by_name().items() if part.compare_with}

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("GET", self.location(), ("path",) if self.path else ()),)

    async def run(self, ctx: Context) -> Result:
        async with self.session() as session:
            response = await session.send(ctx, Request("GET", self.location(), {"Accept": "application/json"} | self.base_headers()))
        if self.publish:
            ctx.facts |= await beside_the_loop(response.body, publish_response, self.publish, response)
        result = await beside_the_loop(response.body, self._judge, response, ctx.clock.time())
        require_published(self.publish, ctx.facts)
        return result

    def _judge(self, response: Response, now: float) -> Result:
        report = self._report(response)
        wrong = self._report_fault(response, report)
        parts, present = self._judge_parts(report, response.status, now)
        if wrong is None and not present:
            wrong = Failed(Reason.SCHEMA, f"the report has none of the declared parts: {shown(report)}")
        if wrong is None:
            return Result.passed(f"{count(len(parts), 'part')} reported", parts)
        if not present:
            raise wrong
        return Result.failed(wrong.reason, wrong.message, parts)

    def _report(self, response: Response) -> Any:
        """The body as JSON. For another body the status is judged first, since an error page is no report."""
        try:
            return response.json()
        except ValueError as error:
            judge_status(response, self.status)
            raise Failed(Reason.BODY, f"the report is not JSON: {error}; {beginning(response.text())}") from None

    def _report_fault(self, response: Response, report: Any) -> Failed | None:
        """What is wrong with the report as a whole: the body contradicts the status code, or the status is not expected."""
        if (pair := body_and_status(report)) and pair[1] != response.status:
            return Failed(Reason.BODY, f"{status_mismatch(response.status, pair[1])}.")
        state = report.get("status") if isinstance(report, dict) else None
        word = "_".join(re.findall("[a-z]+", state.lower())) if isinstance(state, str) else ""
        declared = any(path.names == ("status",) for path in self.parts)
        well = 200 <= response.status < 400  # noqa: PLR2004 - HTTP's own numbers
        if (_UNWELL.fullmatch(word) and well and not declared) or (_WELL.fullmatch(word) and not well):
            return Failed(Reason.BODY, f"$.status is {shown(state)}, but the HTTP status is {response.status}")
        try:
            judge_status(response, self.status)
        except Failed as failed:
            return failed
        return None

    def _judge_parts(self, report: Any, status: int, now: float) -> tuple[dict[str, Result], bool]:
        """Each part's result, and whether any part is present. In a list of body and status the body is read, too."""
        pair = body_and_status(report)
        results, present = {}, False
        for name, (path, part) in self._parts_by_name().items():
            whole = pair[0] if pair and not path.find(report) else report
            results[name], found = _judge_part(whole, path, part.at(now), status)
            present = present or found
        return results, present


def _judge_part(whole: Any, path: JsonPath, part: ReportPart, status: int) -> tuple[Result, bool]:
    """The part's result, and whether the report has it."""
    found = path.find(whole)
    if not found and not part.may_be_absent:
        return Result.failed(Reason.SCHEMA, f"{path} is absent, expected {part.expected()}"), False
    for reason, message in json_faults(whole, path, part, status):
        return Result.failed(reason, message), bool(found)
    return Result.passed(f"{path} is {shown(found[0])}" if found else f"{path} is absent, as expected"), bool(found)
