"""Whether a status is the expected one and, if not, the reason: auth, throttled (until when), redirect (where to) or status."""

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
from probes.http.privacy import hide_in_address
from probes.text import clipped, one_line

_CLASS = re.compile(r"([1-5])xx\Z")
_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")
_ERROR_TEXT_CAP = 160  # characters of an application's own error text that a message shows
_ERROR_FIELDS = ("message", "detail", "error_description", "msg", "error", "reason", "status")
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
    """The default where checks.yaml gives no status: 2xx."""
    return Statuses.parse("2xx")


def judge_status(response: Response, wanted: Statuses) -> None:
    """Raises Failed where the status is not the expected one: auth, throttled (until when), redirect (where to) or status."""
    if response.status in wanted:
        return
    seen = f"{response.status}, expected {wanted}"
    if response.status == _THROTTLED:
        raise Failed(Reason.THROTTLED, f"429, {throttled_until(response)}")
    if 300 <= response.status < 400 and (location := response.header("location")):  # noqa: PLR2004 - HTTP's own numbers
        shown = clipped(re.split("[?#]", hide_in_address(location))[0], 200)
        raise Failed(Reason.REDIRECT, f"{response.status} to {shown}, expected {wanted}")
    text = error_text(response)
    message = f"{seen}: {text}" if text else seen
    raise Failed(Reason.AUTH if response.status in _AUTH else Reason.STATUS, message)


def throttled_until(response: Response) -> str:
    """Until when a response 429 asks us to wait: a time if possible, else a number of seconds, else that it doesn't say.

    Retry-After (seconds or a date) comes before X-RateLimit-Reset (seconds since the epoch). Seconds are counted from the
    response's own Date, so the clocks of the runner and the server need not agree.
    """
    after, reset = response.header("retry-after") or "", response.header("x-ratelimit-reset") or ""
    sent, until = _date(response.header("date") or ""), _date(after)
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


def error_text(response: Response) -> str:
    """The application's own error text from the usual JSON forms, shortened; "" where the body has none."""
    try:
        text = _first_text(response.json(), 3)
    except (ValueError, Failed):
        return ""
    return clipped(whole_characters(text), _ERROR_TEXT_CAP)


def _first_text(value: Any, depth: int) -> str:
    """The first text under the usual names, at most `depth` levels deep, in one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or depth == 0:
        return ""
    return next((text for name in _ERROR_FIELDS if (text := _first_text(value.get(name), depth - 1))), "")
