"""Whatever a stranger asks, the routes respond, and nothing breaks."""

from __future__ import annotations

import asyncio
from functools import cache
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from tests.support.observations import failed, made_check, passed
from tests.support.site import Site, site

ROUTES = (
    "/",
    "/checks/api",
    "/metrics",
    "/health/metrics",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
    "/api/checks",
    "/api/checks/api",
    "/static/page.css",
)
PIECE = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["..", "%00", "%ff", "%ed%a0%80", "{{7*7}}", "<b>", "api", "é", "\u202e", "/", "?still", "#"]
)
PATHS = (
    st.sampled_from(ROUTES)
    | st.lists(PIECE, max_size=4).map(lambda pieces: "/checks/" + "/".join(pieces))
    | PIECE.map(lambda piece: f"/{piece}")
)
HEADER = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n\0"))
NAMES = st.sampled_from(
    ["Accept", "Accept-Encoding", "Authorization", "Host", "Prefer", "Idempotency-Key", "Cookie", "Range", "If-None-Match"]
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])


@cache
def here() -> Site:
    """A guarded site with a run and a failure; made outside the loop."""
    check = made_check()
    return site(check).saw(passed(check), failed(check)).guarded(operate_token="operate-me-now")


async def status_of(method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """The status of the response, with the request as the server hands it on. An exception of the application is one here."""
    plain, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(plain),
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("10.0.0.7", 1234),
        "server": ("127.0.0.1", 9797),
    }
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await here().app(scope, receive, send)
    assert not messages[-1].get("more_body")
    return int(messages[0]["status"])


@given(METHODS, PATHS, st.lists(st.tuples(NAMES, HEADER), max_size=4), st.binary(max_size=60))
def test_no_request_breaks_a_route(method: str, path: str, headers: list[tuple[str, bytes]], body: bytes) -> None:
    """m1: no path, header or body of a stranger is an exception, which would be a line in the journal for each request."""
    named = [(b"host", b"127.0.0.1"), *((name.lower().encode(), value) for name, value in headers)]
    assert asyncio.run(status_of(method, path, named, body)) < 500 or path in {"/health/metrics", "/-/ready"}
    assert here().reloads == 0
