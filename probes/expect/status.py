"""What a status says: as wanted or not, and where not, why: auth, throttled (until when), redirect (where to) or status."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from probes.core import Failed, Reason
from probes.expect.patterns import whole_characters
from probes.http.message import Response

_CLASS = re.compile(r"([1-5])xx\Z")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")
_SAID = 160  # characters of an application's own error text that a message repeats
_SAYING = ("message", "detail", "error_description", "msg", "error", "reason", "status")
_AUTH = frozenset({401, 403, 407, 423})  # 423: locked after too many attempts
_THROTTLED = 429
_OR = " or "


@dataclass(frozen=True, slots=True)
class Statuses:
    """Status codes that are as expected: 200, `200-299`, `2xx`, or a list of these."""

    EXAMPLE: ClassVar[str] = "200"

    text: str
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, written: Any) -> Statuses:
        """Raises ValueError with what to write."""
        if isinstance(written, Statuses):
            return written
        each = written if isinstance(written, list | tuple) else [written]
        if not each:
            raise ValueError("write at least one status, such as 200")
        return cls(_OR.join(str(one) for one in each), tuple(map(_status_range, each)))

    def __contains__(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.ranges)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda self: self.text.split(_OR), when_used="json")
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        one = {"type": ["integer", "string"], "description": "a status code, 2xx, or 200-299"}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _status_range(written: Any) -> tuple[int, int]:
    text = "" if isinstance(written, bool) else str(written)
    if found := _CLASS.match(text):
        return int(found[1]) * 100, int(found[1]) * 100 + 99
    if not (found := _RANGE.match(text)):
        raise ValueError(f"{written} is no status; write 200, 2xx or 200-299")
    low, high = int(found[1]), int(found[2] or found[1])
    if low > high:
        raise ValueError(f"{written} is empty; write {high}-{low}")
    return low, high


def any_success() -> Statuses:
    """What is expected where nothing is written: 2xx."""
    return Statuses.parse("2xx")


def judge_status(answer: Response, wanted: Statuses) -> None:
    """Raises Failed where the status is not as wanted: auth, throttled (until when), redirect (where to) or status."""
    if answer.status in wanted:
        return
    seen = f"{answer.status}, expected {wanted}"
    if answer.status == _THROTTLED:
        raise Failed(Reason.THROTTLED, f"429, {throttled_until(answer)}")
    if 300 <= answer.status < 400 and (location := answer.header("location")):  # noqa: PLR2004 - HTTP's own numbers
        raise Failed(Reason.REDIRECT, f"{answer.status} to {location.partition('?')[0][:200]}, expected {wanted}")
    said = error_text(answer)
    message = f"{seen}: {said}" if said else seen
    raise Failed(Reason.AUTH if answer.status in _AUTH else Reason.STATUS, message)


def throttled_until(answer: Response) -> str:
    """Until when an answer 429 asks us to wait: a time where it can be told, else how long, else that it doesn't say.

    Retry-After (seconds or a date) comes before X-RateLimit-Reset (seconds since the epoch). The answer's own Date makes
    seconds into a time: no clock of ours has to agree with the server's.
    """
    after, reset = answer.header("retry-after") or "", answer.header("x-ratelimit-reset") or ""
    sent, until = _date(answer.header("date") or ""), _date(after)
    if until is None and after.isdecimal() and len(after) < 8:  # noqa: PLR2004 - about three years
        if sent is None:
            return f"throttled for {after} s"
        until = sent + timedelta(seconds=int(after))
    if until is None and reset.isdecimal() and len(reset) == 10:  # noqa: PLR2004 - the digits of an epoch second until 2286
        until = datetime.fromtimestamp(int(reset), UTC)
    if until is None:
        return "throttled; the response doesn't say until when"
    day = "" if sent is not None and sent.date() == until.date() else f"{until:%Y-%m-%d} "
    return f"throttled until {day}{until:%H:%M:%S} UTC"


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def error_text(answer: Response) -> str:
    """What an application says of its own failure, in the usual JSON forms, bounded; "" where it says nothing readable."""
    try:
        said = _told(answer.json(), 3)
    except ValueError:
        return ""
    return whole_characters(said if len(said) <= _SAID else said[: _SAID - 1] + "…")


def _told(value: Any, depth: int) -> str:
    """The first sentence under the usual names, some levels deep."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or depth == 0:
        return ""
    return next((told for name in _SAYING if (told := _told(value.get(name), depth - 1))), "")
