"""Generated journeys, checks and partners against a server that answers as badly as it can: what leaves is what is declared."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from judge.observation import Check
from probes.core import Failed, PolicyRefused, QuotaRefused
from probes.kinds.booking import Booking
from probes.kinds.booking.partners import PARTNERS
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.probe import Context, Probe
from probes.target import Target
from probes.wire.route import Route
from probes.wire.wire import Wire
from runner.config.plan import Every, Planned
from runner.engine.permits import Permits, Rules
from runner.state import StateLedger, open_ledger
from tests.support.clock import FakeClock
from tests.support.context import SENDER
from tests.support.properties import AS_FOUND

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EXAMPLES = 10_000
MOST = 6  # requests to api.test in an hour
ALLOW = {
    "api.test": ("POST /login", "POST /items/*", "PUT /items/*", "DELETE /holds/*", "POST /free"),
    "sso.test": ("POST /token", "POST /holds"),
    "cdn.test": (),
}
DENY = {"api.test": ("GET /admin", "GET /admin/*", "GET /items/secret"), "sso.test": ("GET /users/*",), "cdn.test": ("GET /private/*",)}
TOKEN = "token-of-the-session-1"
NASTY = (
    *("x", "5", "", "..", ".", "../admin", "%2e%2e/admin", "..%2fadmin", "a/../../admin", "/admin", "//evil.test/", "/ADMIN", "admin;x=1"),
    *("http://evil.test/x", "https://api.test/admin", "http://sso.test/users/1", "http://api.test@evil.test/", "http://api.test:81/"),
    *("http://cdn.test/private/a", "http://cdn.test/open", "/items/%252e%252e/admin", "/items/..;/admin", "\\evil.test", "x\r\nHost: evil"),
    *("?q=1", "#", "items/secret", "/items/secret/", "/items/Secret", "javascript:alert(1)", "http://[::1", "http://api.test\\@evil.test/"),
    *(
        "/holds/1",
        "/items/1",
        "{{v}}",
        "/%",
        "/items/\u00e4",
        "http://127.0.0.1:9/",
        "http://api.test.evil.test/",
        "/admin%00",
        "/admin%20",
    ),
)


@dataclass
class Sent:
    """A request as it came out at the other end, below every permit."""

    host: str
    method: str
    path: str  # with the query, as it was sent
    text: bytes


@dataclass
class Hostile:
    """A server for every host. It answers what it is told to, and keeps what it got."""

    answers: list[tuple[int, str, str]] = field(default_factory=list)  # status, Location, the value in the body
    sent: list[Sent] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, path, _ = lines[0].split(" ")
            self.sent.append(Sent(headers["host"], method, path, head + body))
            status, location, value = self.answers[len(self.sent) % len(self.answers)]
            content = json.dumps(
                {"v": value, "token": TOKEN, "list": [{"id": value}], "restaurants": [{"id": value, "name": "x"}]}
            ).encode()
            where = b"Location: " + location.encode().replace(b"\r\n", b"") + b"\r\n"
            writer.write(b"HTTP/1.1 %d X\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (status, where, len(content), content))
            await writer.drain()
        writer.close()


class RecordingWire(Wire):
    """Every connection leads to the hostile server, whatever its host, port and scheme."""

    def __init__(self, server: Hostile) -> None:
        super().__init__()
        self._server = server

    async def resolve(self, ctx: Any, host: str, route: Route | None = None) -> Sequence[str]:
        return ("127.0.0.1",)

    async def stream(self, ctx: Any, host: str, port: int, tls: Any = None, alpn: Sequence[str] = (), route: Any = None) -> Any:
        return await super().stream(ctx, host, self._server.port, None, (), route)

    async def once(self, ctx: Any, host: str, port: int, request: bytes, route: Route) -> Any:
        return await super().once(ctx, host, self._server.port, request, route)


def targets() -> dict[str, dict[str, Any]]:
    """The declared targets; one of them has a limit."""
    found = {}
    for host, allow in ALLOW.items():
        limit = {"limit": f"{MOST}/1h"} if host == "api.test" else {}
        found[host] = {"name": host, "url": f"http://{host}", "allow": list(allow), "deny": list(DENY[host]), **limit}
    return found


TARGETS = targets()
VALUE = st.sampled_from(NASTY)
ANSWER = st.tuples(st.sampled_from((200, 200, 200, 201, 302, 303, 307, 308, 401)), VALUE, VALUE)
PIECE = st.sampled_from(
    ("items", "holds", "admin", "secret", "{{v}}", "..", "%2e%2e", "login", "token", "users", "private", "a b", ";x", "")
)
PATH = st.lists(PIECE, max_size=3).map(lambda pieces: "/" + "/".join(pieces))
METHOD = st.sampled_from(("get", "post", "put", "patch", "delete", "head", "options"))
TEXT = st.sampled_from(("{{v}}", "{{uuid}}", "x", "{{now}}&{{v}}"))


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Steps that capture a value first, and go wherever it leads."""
    found: list[dict[str, Any]] = [{"name": "first", "get": "/items/1", "expect": {"status": "200-499"}, "capture": {"v": "$.v"}}]
    for number in range(draw(st.integers(1, 4))):
        step: dict[str, Any] = {"name": f"s{number}", draw(METHOD): draw(st.just("{{v}}") | PATH), "login": draw(st.booleans())}
        step |= {"redirects": draw(st.integers(0, 3)), "expect": {"status": "200-499"}, "always": draw(st.booleans())}
        if draw(st.booleans()):
            step["target"] = TARGETS[draw(st.sampled_from(sorted(TARGETS)))]
        if draw(st.booleans()):
            step[draw(st.sampled_from(("query", "form")))] = {"q": draw(TEXT)}
        if draw(st.booleans()):
            step["capture"] = {"v": draw(st.sampled_from(("$.v", "$.list[0].id"))) if draw(st.booleans()) else {"header": "location"}}
        found.append(step)
    return found


LOGIN = {
    "name": "admin",
    "target": TARGETS["api.test"],
    "steps": [
        {"name": "in", "post": "/login", "form": {"password": "p"}, "capture": {"token": "$.token", "v": "$.v"}, "redirects": 2},
        {"name": "out", "delete": "/holds/{{v}}", "always": True},
    ],
    "headers": {"Authorization": "Bearer {{token}}"},
}
HTTP = st.fixed_dictionaries(
    {"path": PATH, "method": METHOD.map(str.upper), "redirects": st.integers(0, 4)}, optional={"session": st.just(LOGIN)}
)
REQUEST = st.fixed_dictionaries(
    {"takes": st.just({"v": "$.list[0].id"})},
    optional={
        "query": st.just({"q": "{{v}}"}),
        "results": st.just("$.list"),
        "release": st.sampled_from(({"delete": "/holds/{{v}}"}, {"post": "/admin/{{v}}"}, {"get": "/{{v}}"})),
    },
)


@st.composite
def forms(draw: st.DrawFn) -> dict[str, Any]:
    """A partner's form of one to three requests."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        request = {**draw(REQUEST), "name": f"r{number}", draw(st.sampled_from(("get", "post", "put", "delete"))): draw(PATH)}
        if "results" in request:
            request["takes"] = {"v": "$.id"}
        found.append(request)
    return {"form": {"headers": {"X-Key": "{{key}}"}, "requests": found}, "key": "key-1234"}


SEARCH = {"search": {"near": "1,1"}}
PROBES = st.one_of(
    steps().flatmap(lambda each: st.sampled_from(({}, {"session": LOGIN})).map(lambda more: (Journey, {"steps": each, **more}))),
    HTTP.map(lambda each: (Http, each)),
    forms().map(lambda each: (Booking, each | SEARCH)),
    st.sampled_from(sorted(PARTNERS)).map(lambda name: (Booking, {"partner": name, **SEARCH})),
)


def readings(raw: str) -> set[str]:
    """The paths that some server reads in this one: decoded once or several times, with and without parameters, in any case."""
    found, text = set(), raw.partition("?")[0]
    for _ in range(4):
        text = unquote(text)
        bare = "/".join(part.split(";")[0].rstrip(" \0") if part not in (".", "..") else part for part in text.split("/"))
        for each in (text, bare):
            plain = "/" + normpath(f"/{each}").strip("/")
            found.add(plain + ("/" if plain != "/" and each.endswith(("/", "/.", "/..")) else ""))
    return {each.lower() for each in found}


def matches(rules: Sequence[str], method: str, path: str) -> bool:
    """Whether one of the rules is for it. `*` stands only at the end here."""
    for rule in rules:
        verb, _, wanted = rule.partition(" ")
        if verb == method and (path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted):
            return True
    return False


def undeclared(sent: Sent) -> str:
    """Why this request should never have left; "" where it is declared. Written without the code that decides."""
    host = sent.host.removesuffix(":443")
    if host not in ALLOW:
        return f"{sent.host} is not declared"
    free = sent.method in ("GET", "HEAD", "OPTIONS")
    for path in readings(sent.path):
        if free and any(matches(DENY[host], "GET", each) for each in (path, path.rstrip("/"))):
            return f"{sent.method} {sent.path} is denied, read as {path}"
        if not free and not matches(ALLOW[host], sent.method, path):
            return f"{sent.method} {sent.path} is not allowed, read as {path}"
    if TOKEN.encode() in sent.text and host != "api.test":
        return f"the session's token went to {host}"
    return ""


async def play(probe: Probe, target: Target, server: Hostile, ledger: StateLedger, clock: FakeClock) -> None:
    """One run, and the end of the runner."""
    wire, known = RecordingWire(server), {name: Target.model_validate(each) for name, each in TARGETS.items()}
    planned = Planned(Check("c", "kind", 1), probe, Every(30.0), 5.0, "", target=target)
    permits = Permits(Rules(planned, known), ledger, clock.time)
    ctx = Context(
        check="c",
        wire=wire,
        clock=clock,
        ledger=ledger,
        sender=SENDER,
        permit=permits,
        deadline=clock.monotonic() + 5.0,
        rng=random.Random(7),  # noqa: S311 - the same in every run of the test
    )
    try:
        with suppress(Failed, PolicyRefused, QuotaRefused, OSError, ssl.SSLError):
            await permits.acquire(5.0)
            await probe.run(ctx)
    finally:
        await permits.settle()
        await wire.aclose()


def test_nothing_is_sent_that_is_not_declared() -> None:
    """Ten thousand journeys, checks and partners send nothing but what is declared, whatever the responses say.

    Each request goes to a declared host, and is allowed and not denied in every reading of its path. No limit is exceeded, and no
    session's token leaves its target.
    """
    clock, counts = FakeClock(), {"runs": 0, "sent": 0, "redirected": 0}
    with asyncio.Runner() as runner:
        server = Hostile()
        ledger = open_ledger(None, clock)

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(server.serve, "127.0.0.1", 0)

        listening = runner.run(listen())
        server.port = listening.sockets[0].getsockname()[1]

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=AS_FOUND, suppress_health_check=list(HealthCheck)
        )
        @given(PROBES, st.lists(ANSWER, min_size=1, max_size=6))
        def examples(made: tuple[type[Probe], dict[str, Any]], answers: list[tuple[int, str, str]]) -> None:
            kind, written = made
            target = TARGETS["api.test"]
            try:
                probe = kind.model_validate({"target": target, **written})
            except ValidationError:
                return
            server.answers, server.sent = answers, []
            clock.advance(7200.0)
            runner.run(play(probe, Target.model_validate(target), server, ledger, clock))
            assert [why for sent in server.sent if (why := undeclared(sent))] == []
            assert sum(sent.host == "api.test" for sent in server.sent) <= MOST
            counts["runs"] += 1
            counts["sent"] += len(server.sent)
            counts["redirected"] += sum(sent.host in ("sso.test", "cdn.test") for sent in server.sent)

        examples()
        listening.close()
        runner.run(ledger.aclose())
    assert counts["runs"] > EXAMPLES / 2  # else the test tries nothing
    assert counts["sent"] > counts["runs"]
    assert counts["redirected"] > EXAMPLES / 100
