"""What a wrong status is told with: the server's own words, and until when it asks to wait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.core import Failed, Reason
from probes.expect.status import any_success, error_text, judge_status
from probes.http.message import Response

DATE = {"date": "Mon, 30 Nov 2026 12:00:00 GMT"}


def failure(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> Failed:
    """How a response with this status fails."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    with pytest.raises(Failed) as raised:
        judge_status(Response(status, fields, content, 0.1, "http://api.test/"), any_success())
    return raised.value


QUOTA = {"error": {"message": "You exceeded your current quota, please check your plan and billing details", "code": "insufficient_quota"}}
RETRY_INFO = {"error": {"message": "Resource has been exhausted", "details": [{"@type": "x"}, {"retryDelay": "28s"}]}}


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (QUOTA, {}, "429, throttled; the response doesn't say until when: You exceeded your current quota, please check"),
        ("Please try again in 20s", {"retry_after_ms": "20000"}, "429, throttled for 20 s: Please try again in 20s"),
        (RETRY_INFO, DATE, "429, throttled until 12:00:28 UTC: Resource has been exhausted"),
        (b"", {"retry_after": "30", **DATE}, "429, throttled until 12:00:30 UTC"),
        (b"", {"retry_after": "Mon, 30 Nov 2026 13:00:00 GMT", **DATE}, "429, throttled until 13:00:00 UTC"),
        (b"", {"ratelimit_reset": "5"}, "429, throttled for 5 s"),
        (b"", {"x_ratelimit_reset": "1796126400", **DATE}, "429, throttled until 2026-12-01 12:00:00 UTC"),
        (b"", {"x_ratelimit_reset": "60", **DATE}, "429, throttled until 12:01:00 UTC"),
        ({"error": {"details": "none"}}, {"retry_after": "soon"}, "429, throttled; the response doesn't say until when"),
    ],
)
def test_a_throttled_response_keeps_its_words(body: Any, headers: dict[str, str], message: str) -> None:
    """S6: a bill to pay reads differently from a limit that is over in 20 s."""
    failed = failure(429, body, **headers)
    assert failed.reason is Reason.THROTTLED
    assert failed.message.startswith(message)


ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
NGINX = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (ENVOY, ENVOY),
        (NGINX, "502 Bad Gateway"),
        ("<!DOCTYPE html>\n<h1 class=x>Application &amp; database</h1>", "Application & database"),
        ("<html><body><p>nothing to say</p></body></html>", ""),
        (b"\x1f\x8b\x08\x00binary", ""),
        (b"", ""),
        ("  two\n lines ", "two lines"),
    ],
)
def test_a_plain_error_is_told(body: bytes | str, text: str) -> None:
    """S15b: what a proxy says in plain text or as a page's title stands in the message."""
    assert failure(503, body).message == ("503, expected 2xx" + (f": {text}" if text else ""))


@given(st.binary(max_size=200), st.sampled_from(["", "text/html; charset=utf-16", "application/json", "text/plain; charset=x"]))
def test_no_body_breaks_the_message(body: bytes, content_type: str) -> None:
    """S6, S15b: whatever the body holds, there is a message, in one line."""
    failed = failure(429, body, content_type=content_type)
    assert "\n" not in failed.message
    assert len(error_text(Response(500, (), body, 0.1, "http://api.test/"))) < 400
