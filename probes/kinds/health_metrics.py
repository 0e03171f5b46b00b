"""Kind `health_metrics`: what an API reports of its own health, each declared part an observation of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from probes import Ask, Context, Failed, Family, Reason, Result
from probes.expect.assertions import json_faults, pair_text, paired
from probes.expect.conditions import Condition
from probes.expect.patterns import JsonPath, shown
from probes.expect.status import Statuses, any_success, judge_status
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, http_families

_WELL = frozenset({"healthy", "ok", "ready", "up", "pass", "alive"})
_UNWELL = frozenset({"unhealthy", "not_ready", "not ready", "error", "down", "fail", "failed", "critical", "shutdown"})


class Part(Condition):
    """What one value of the report must be, and the check that measures the same by itself."""

    beside: ClassVar[frozenset[str]] = Condition.beside | {"compare_with", "name"}

    compare_with: str = Field(default="", description="The check that measures the same thing directly.")
    name: str = Field(
        default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$", description="The part's name; by default the last name of the path."
    )


class HealthMetrics(HttpProbe):
    """Reads an API's health report. The check is about the report: that it is there, has its parts and doesn't contradict itself.

    A part that is reported as unwell fails the part (`api-report/db_healthy`), not the check. A body that says something
    else than its status code fails the check: body.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9/health/metrics", "parts": {"$.db_healthy": True, "$.redis_healthy": {"equals": True}}},
        {
            "url": "http://127.0.0.1:9/health/ready",
            "parts": {"$.checks.database.status": {"equals": "healthy", "name": "database", "compare_with": "database"}},
        },
    )
    families: ClassVar[tuple[Family, ...]] = http_families()

    parts: dict[JsonPath, Part] = Field(min_length=1, description="Conditions for the parts of the report, by JSONPath.")
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

    def _named(self) -> dict[str, tuple[JsonPath, Part]]:
        return {part.name or path.names[-1]: (path, part) for path, part in self.parts.items()}

    def part_names(self) -> tuple[str, ...]:
        return tuple(self._named())

    def part_compares(self) -> Mapping[str, str]:
        return {name: part.compare_with for name, (_, part) in self._named().items() if part.compare_with}

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("GET", self.location(), ("path",) if self.path else ()),)

    async def run(self, ctx: Context) -> Result:
        async with self.session() as session:
            answer = await session.send(ctx, Request("GET", self.location(), {"Accept": "application/json"} | self.base_headers()))
        report = self._report(answer)
        wrong = self._wrong(answer, report)
        parts, present = self._judged(report, answer.status)
        if wrong is None and not present:
            wrong = Failed(Reason.SCHEMA, f"the report has none of the declared parts: {shown(report)}")
        if wrong is None:
            return Result.passed(f"{len(parts)} parts reported", parts)
        if not present:
            raise wrong
        return Result.failed(wrong.reason, wrong.message, parts)

    def _report(self, answer: Response) -> Any:
        """The body as JSON. What is none is told by its status first, since an error page is no report."""
        try:
            return answer.json()
        except ValueError as error:
            judge_status(answer, self.status)
            raise Failed(Reason.BODY, f"the report is not JSON: {error}; it begins {shown(answer.text()[:60])}") from None

    def _wrong(self, answer: Response, report: Any) -> Failed | None:
        """What is wrong with the report as a whole: a body against its status code, or a status that is not as wanted."""
        if (pair := paired(report)) and pair[1] != answer.status:
            return Failed(Reason.BODY, f"{pair_text(answer.status, pair[1])}.")
        state = report.get("status") if isinstance(report, dict) else None
        word = state.lower() if isinstance(state, str) else ""
        well = 200 <= answer.status < 400  # noqa: PLR2004 - HTTP's own numbers
        if (word in _UNWELL and well and not self._declares_status()) or (word in _WELL and not well):
            return Failed(Reason.BODY, f"$.status is {shown(state)}, but the HTTP status is {answer.status}")
        try:
            judge_status(answer, self.status)
        except Failed as failed:
            return failed
        return None

    def _declares_status(self) -> bool:
        return any(path.names == ("status",) for path in self.parts)

    def _judged(self, report: Any, status: int) -> tuple[dict[str, Result], bool]:
        """Each part's result, and whether any part is there at all. A pair is read at what it holds, too."""
        pair = paired(report)
        results, present = {}, False
        for name, (path, part) in self._named().items():
            whole = pair[0] if pair and not path.find(report) else report
            present = present or bool(path.find(whole))
            results[name] = _result(whole, path, part, status)
        return results, present


def _result(whole: Any, path: JsonPath, part: Part, status: int) -> Result:
    if not part.wants_none and not path.find(whole):
        return Result.failed(Reason.SCHEMA, f"{path} is absent, expected {part.expected()}")
    for reason, message in json_faults(whole, path, part, status):
        return Result.failed(reason, message)
    return Result.passed(f"{path} is {shown(next(iter(path.find(whole)), None))}")
