"""Whether a status is the expected one and, if not, the reason: auth, throttled (until when), redirect (where to) or status."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
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
_WAIT = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,9})?) ?s?\Z", re.ASCII)
_TITLE = re.compile(r"<(title|h1)\b[^>]*>([^<]*)</\1", re.IGNORECASE)
_HTML = re.compile(r"\s*(?:<!doctype html|<html|<head|<body|<title|<h1|<!--)", re.IGNORECASE)
_LOOKED_AT = 4096  # bytes of an error body that is no JSON
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
    text = error_text(response)
    if response.status == _THROTTLED:
        until = f"429, {throttled_until(response)}"
        raise Failed(Reason.THROTTLED, f"{until}: {text}" if text else until)
    if 300 <= response.status < 400 and (location := response.header("location")):  # noqa: PLR2004 - HTTP's own numbers
        shown = clipped(re.split("[?#]", hide_in_address(location))[0], 200)
        raise Failed(Reason.REDIRECT, f"{response.status} to {shown}, expected {wanted}")
    message = f"{seen}: {text}" if text else seen
    raise Failed(Reason.AUTH if response.status in _AUTH else Reason.STATUS, message)


def throttled_until(response: Response) -> str:
    """Until when a response 429 asks us to wait: a time if possible, else a number of seconds, else that it doesn't say.

    In this order: Retry-After (seconds or a date), retry-after-ms (OpenAI), X-RateLimit-Reset (seconds since the epoch), RateLimit-Reset
    (seconds; draft-ietf-httpapi-ratelimit-headers-06), and retryDelay of Google's RetryInfo in the body. Seconds are counted from the
    response's own Date, so the clocks of the runner and the server need not agree.
    """
    sent, after = _date(response.header("date") or ""), response.header("retry-after") or ""
    until = _date(after)
    if until is None:
        waits = (
            _seconds(after),
            _seconds(response.header("retry-after-ms") or "", scale=1000),
            *_reset(response),
            _seconds(_retry_delay(response)),
        )
        wait = next((one for one in waits if one is not None), None)
        if isinstance(wait, datetime):
            until = wait
        elif wait is not None and sent is None:
            return f"throttled for {wait:g} s"
        elif wait is not None and sent is not None:
            until = sent + timedelta(seconds=wait)
    if until is None:
        return "throttled; the response doesn't say until when"
    day = "" if sent is not None and sent.date() == until.date() else f"{until:%Y-%m-%d} "
    return f"throttled until {day}{until:%H:%M:%S} UTC"


def retry_after(response: Response) -> float | None:
    """The seconds after which a response wants to be asked again: Retry-After, retry-after-ms, or Google's RetryInfo; else None."""
    after = response.header("retry-after") or ""
    if (until := _date(after)) is not None:
        sent = _date(response.header("date") or "")
        return max(0.0, (until - sent).total_seconds()) if sent else None
    waits = (_seconds(after), _seconds(response.header("retry-after-ms") or "", scale=1000), _seconds(_retry_delay(response)))
    return next((wait for wait in waits if wait is not None), None)


def _seconds(text: str, scale: int = 1) -> float | None:
    """`30`, `1.5` and `28s` as seconds, up to about three years."""
    found = _WAIT.match(text)
    return float(found[1]) / scale if found else None


def _reset(response: Response) -> tuple[datetime | None, float | None]:
    """X-RateLimit-Reset as a moment; and as a number of seconds, as RateLimit-Reset always is."""
    ours = response.header("x-ratelimit-reset") or ""
    epoch = ours.isdecimal() and len(ours) == 10  # noqa: PLR2004 - the digits of an epoch second until 2286
    return (
        datetime.fromtimestamp(int(ours), UTC) if epoch else None,
        _seconds("" if epoch else ours or response.header("ratelimit-reset") or ""),
    )


def _retry_delay(response: Response) -> str:
    """`error.details[].retryDelay` of Google's error form; "" where the body has none."""
    try:
        error = response.json()["error"]
        return next(str(detail["retryDelay"]) for detail in error["details"] if isinstance(detail, dict) and "retryDelay" in detail)
    except (ValueError, Failed, LookupError, TypeError, StopIteration):
        return ""


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def error_text(response: Response) -> str:
    """The server's own error text, shortened: from the usual JSON forms, the title of a page, or a body of plain text; else ""."""
    try:
        text = _first_text(response.json(), 3)
    except (ValueError, Failed):
        if response.fault:
            return ""
        head = replace(response, body=response.body[:_LOOKED_AT]).text()
        found = _TITLE.search(head)
        text = one_line(html.unescape(found[2])) if found else "" if _HTML.match(head) or not _readable(head) else one_line(head)
    return clipped(whole_characters(text), _ERROR_TEXT_CAP)


def _readable(text: str) -> bool:
    """Whether a text is for people: it holds no binary data."""
    return not any(character == "\ufffd" or (character < " " and character not in "\t\r\n") for character in text)


def _first_text(value: Any, depth: int) -> str:
    """The first text under the usual names, at most `depth` levels deep, in one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict) or depth == 0:
        return ""
    return next((text for name in _ERROR_FIELDS if (text := _first_text(value.get(name), depth - 1))), "")
