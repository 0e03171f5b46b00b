"""What a response must be, and the exact reason when it is not. Pure: no I/O, no clock; a response contains its seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from probes.core import Failed, Reason
from probes.expect.conditions import PATTERNS, Condition
from probes.expect.json_path import Found, JsonPath
from probes.expect.patterns import Pattern, shown
from probes.expect.status import Statuses, any_success, judge_status
from probes.expect.template import expected_variables, fill
from probes.fields import Duration
from probes.http.message import Response
from probes.http.privacy import hide_in_address, shown_header
from probes.text import latency


def version(value: Any) -> Any:
    """A version as text: YAML reads `2` and `1.1` as numbers."""
    return {"2.0": "2"}.get(str(value), str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


Version = Annotated[Literal["1.0", "1.1", "2"], BeforeValidator(version), WithJsonSchema({"enum": [1.0, 1.1, 2, "1.0", "1.1", "2"]})]
_FALLBACK = frozenset({"is_fallback", "fallback", "from_cache", "is_cached", "cached"})
DUE_TO_REGEX = "failed_due_to_regex"  # the fact: whether the run ended at a regular expression
_NAMED = 3  # places of values that a message names
_MOCK = frozenset({"is_mock", "mock", "mocked", "is_mocked", "mock_mode"})


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _not_empty(text: str | Pattern) -> str | Pattern:
    if not str(text):
        raise ValueError("an empty text is in everything; write what to look for")
    return text


Texts = Annotated[tuple[Annotated[str, AfterValidator(_not_empty)], ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
Patterns = Annotated[
    tuple[Annotated[Pattern, AfterValidator(_not_empty)], ...], BeforeValidator(_listed, json_schema_input_type=Pattern | list[Pattern])
]


class PatternFailed(Failed):
    """A failure that a regular expression decided: one that wasn't found, or one that was found and must not be."""


class Expect(BaseModel):
    """What a response must be. Everything that is written must hold; without `status` it is 2xx."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    status: Statuses = Field(
        default_factory=any_success, description="The expected status: 200, 2xx, 200-299, or a list of these; 2xx by default."
    )
    http_version: Version | None = Field(default=None, description="The HTTP version that the server must use: 1.1 or 2.")
    text: Texts = Field(default=(), description="A text that the body contains, or several.")
    not_text: Texts = Field(default=(), description="A text that the body must not contain, or several.")
    regex: Patterns = Field(default=(), description="A regular expression (RE2) found in the body, or several.")
    not_regex: Patterns = Field(default=(), description="A regular expression (RE2) that must not be found, or several.")
    json_: dict[JsonPath, Condition] = Field(
        default={}, alias="json", description="Conditions by JSONPath; every value that a path selects must meet its condition."
    )
    headers: dict[str, Condition] = Field(default={}, description="Conditions by the header's name.")
    https_only: bool = Field(default=False, description="true: the last response must come over TLS, also after redirects.")
    within: Duration | None = Field(
        default=None, description="The longest time that the response may take; a slower one fails with reason latency."
    )

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names of its variables. Raises ValueError for one where none can be filled in."""
        return frozenset(expected_variables(self))

    @cached_property
    def has_pattern(self) -> bool:
        """Whether a run may end at a regular expression."""
        return bool(self.regex or self.not_regex or any(each.model_fields_set & PATTERNS for each in self.headers.values()))

    def at(self, now: float) -> Expect:
        """The same at a moment (seconds since the epoch), from which `younger_than` counts back."""
        if all(each.younger_than is None for each in (*self.json_.values(), *self.headers.values())):
            return self
        json_ = {path: each.at(now) for path, each in self.json_.items()}
        return self.model_copy(update={"json_": json_, "headers": {name: each.at(now) for name, each in self.headers.items()}})

    def filled(self, values: Mapping[str, Any]) -> Expect:
        """The same with the variables filled in. Raises Failed(schema) for a text of which nothing is left."""
        if not self.variables:
            return self
        texts = {name: tuple(fill(text, values) for text in getattr(self, name)) for name in ("text", "not_text")}
        if "" in (*texts["text"], *texts["not_text"]):
            raise Failed(Reason.SCHEMA, "the text to look for is empty once the captured value is filled in")
        json_ = {path: condition.filled(values) for path, condition in self.json_.items()}
        return self.model_copy(
            update={**texts, "json_": json_, "headers": {name: each.filled(values) for name, each in self.headers.items()}}
        )

    def judge(self, response: Response) -> None:
        """Raises Failed for the first thing that is not as expected: status, then headers and body, then latency."""
        judge_status(response, self.status)
        response.check_body()
        if self.http_version is not None and response.http_version != self.http_version:
            raise Failed(Reason.PROTOCOL, f"HTTP/{response.http_version}, expected HTTP/{self.http_version}")
        if self.https_only and urlsplit(response.url).scheme != "https":
            raise Failed(Reason.TLS, f"the response came from {hide_in_address(response.url)}, expected https")
        for name, condition in self.headers.items():
            _judge_header(name, condition, response)
        self._judge_text(response)
        if self.json_:
            judge_json(document(response), self.json_, response.status)
        if self.within is not None:
            judge_latency("took", response.seconds, self.within)

    def _judge_text(self, response: Response) -> None:
        if not (self.text or self.not_text or self.regex or self.not_regex):
            return
        body = response.text()
        for text in self.text:
            _require(text in body, f"the body doesn't contain {shown(text)}; {beginning(body)}")
        for text in self.not_text:
            _require(text not in body, f"the body contains {shown(text)}")
        for pattern in self.regex:
            if pattern.search(body) is None:
                raise PatternFailed(Reason.BODY, f"nothing in the body matches {pattern}; {beginning(body)}")
        for pattern in self.not_regex:
            if found := pattern.search(body):
                raise PatternFailed(Reason.BODY, f"{shown(found.group())} in the body matches {pattern}")


def judge_latency(what: str, seconds: float, most: float) -> None:
    """Raises Failed(latency) where it took longer than `most` seconds."""
    if seconds > most:
        raise Failed(Reason.LATENCY, f"{what} {latency(seconds)}, expected at most {latency(most)}")


def judge_json(found: Any, wanted: Mapping[JsonPath, Condition], status: int) -> None:
    """Raises Failed for the first path whose values are not as wanted. `status` is the one that the body came with."""
    for path, condition in wanted.items():
        for reason, message in json_faults(found, path, condition, status):
            raise Failed(reason, message)


def json_faults(body: Any, path: JsonPath, condition: Condition, status: int) -> Iterator[tuple[Reason, str]]:
    """What is wrong with the values that a path selects. A path that selects nothing is a fault unless the condition allows it."""
    try:
        found = path.locate(body)
    except Failed as failed:
        yield failed.reason, failed.message
        return
    if condition.count is not None:
        for _, message in condition.count.faults(len(found)):
            more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
            where = f": {', '.join(map(str, found[:_NAMED]))}{more}" if found else ""
            yield condition.reason or Reason.BODY, f"{path} selects {message}{where}"
    elif not found and not condition.may_be_absent:
        usual = Reason.SCHEMA if condition.is_form else Reason.BODY
        yield condition.reason or usual, _absent_message(body, path, condition, status)
    for each in found:
        for reason, message in condition.faults(each.value):
            place = str(path if path.selects_one else each)
            yield condition.reason or _marked_reason(each, condition) or reason, f"{place} is {message}"


def _marked_reason(found: Found, condition: Condition) -> Reason | None:
    """Reason fallback or mock, where the response itself says that it is one and the check says that it must not be."""
    if found.value is not True or condition.equals is not False:
        return None
    return Reason.FALLBACK if found.name in _FALLBACK else Reason.MOCK if found.name in _MOCK else None


def _absent_message(body: Any, path: JsonPath, condition: Condition, status: int) -> str:
    """The message for a path that selects nothing; it shows the body where that is no object."""
    missing = f"{path} is absent, expected {condition.expected()}"
    if isinstance(body, dict) or not path.starts_with_name:
        return missing
    if not (pair := body_and_status(body)):
        return f"the body is {shown(body)}, not an object: {missing}"
    inner, reported = pair
    inside = [f"{path} is {seen} (expected {wanted})" for value in path.find(inner) for _, seen, wanted in condition.mismatches(value)]
    return f"{status_mismatch(status, reported)}: {'; '.join(inside) or f'{path} is absent (expected {condition.expected()})'}."


def status_mismatch(status: int, reported: int) -> str:
    """The message for a body that contains a status: the status that was sent, and the one inside the body."""
    return f"Status {status}, but the body reports {reported}"


def body_and_status(body: Any) -> tuple[Any, int] | None:
    """Body and status of `[{...}, 503]`, else None.

    A handler that returns both to a framework that expects only a body sends such a list.
    """
    if not (isinstance(body, list) and len(body) in (2, 3) and isinstance(body[0], dict | str)):
        return None
    status = body[1]
    plausible = isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599  # noqa: PLR2004 - HTTP's own numbers
    return (body[0], status) if plausible else None


def document(response: Response, name: str = "", reason: Reason = Reason.BODY) -> Any:
    """The body as JSON. Raises Failed(reason) where it is not JSON, with its beginning; `name` is what the message calls it."""
    try:
        return response.json()
    except ValueError as error:
        kind = (response.header("content-type") or "").partition(";")[0]
        what = name or f"the body{f' ({kind})' if kind else ''}"
        raise Failed(reason, f"{what} is not JSON: {error}; {beginning(response.text())}") from None


def _judge_header(name: str, condition: Condition, response: Response) -> None:
    values = [value for key, value in response.headers if key == name.lower()]
    failure = PatternFailed if condition.model_fields_set & PATTERNS else Failed
    if not values:
        if not condition.may_be_absent:
            raise failure(condition.reason or Reason.BODY, f"header {name} is absent, expected {condition.expected()}")
        return
    value = ", ".join(values)
    public = shown_header(name, value)
    for reason, seen, expected in condition.mismatches(condition.read_text(value), values):
        raise failure(reason, f"header {name} is {seen if public == value else public}, expected {expected}")


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - a condition, in the order of an assertion
    if not holds:
        raise Failed(Reason.BODY, message)


def beginning(body: str) -> str:
    """How a body begins, for a message: `it begins "<html>"`, or `it is empty`."""
    return f"it begins {shown(body.lstrip())}" if body.strip() else "it is empty"
