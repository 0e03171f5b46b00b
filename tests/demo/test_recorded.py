"""The stand-in as built, held against 203 recorded responses of the application's real modules (recorded.json).

A record that the recording's harness shaped is held by its status and keys alone. Times, ids, tokens and counts differ
from run to run: those are held by their form.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo._world import ADMIN_USER, DEMO_PASSWORD, DEMO_USER, PREMIUM_USER, PROBE_USER, TWO_FACTOR_USER, Built, Delays
from demo.built.api import BuiltApi
from demo.servers import PostgresServer, RedisServer
from demo.standin import StandIn
from tests.demo.conftest import FORWARDED
from tests.support.clock import FakeClock

Servers = tuple[PostgresServer, RedisServer]
RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
DELAYS = Delays(slow=0.2, first_token=0.2, token=0.001, stuck=0.1, reconnect=0.3, redis=0.2)
JWT, CSRF = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "bWFkZS11cA.1767225600.0000"
GROUPS = {
    "healthy": ("healthy; fresh process, no request before", "healthy", "AI absent", "AI and speech absent"),
    "locked": ("healthy; user never failed before",),
    "database": ("database stopped", "database back"),
    "database-frozen": ("database frozen",),
    "redis": ("redis stopped", "redis back"),
    "redis-frozen": ("redis frozen",),
    "model": ("AI present",),
    "as-written": ("healthy; middleware as written",),
    "debug-off": ("healthy; DEBUG=false",),
    "production": ("healthy; ENVIRONMENT=production",),
    "limit": ("one address",),
}
FAULTS = {
    "AI absent": {"ai-down"},
    "AI and speech absent": {"ai-down"},
    "database stopped": {"db-down", "ai-down"},
    "database frozen": {"db-frozen"},
    "redis stopped": {"redis-down", "ai-down"},
    "redis frozen": {"redis-frozen"},
    "healthy; middleware as written": {"metrics-crash"},
}
USERS = {
    "probe@example.com": PROBE_USER,
    "locked@example.com": DEMO_USER,
    "twofactor@example.com": TWO_FACTOR_USER,
}
# Headers whose absence tells something: of the others the records keep only a few examples.
TELLING = ("content-type", "www-authenticate", "retry-after", "allow", "set-cookie", "x-error-id", "x-ratelimit-limit", "location")
FORMS = {  # what differs from run to run, by the form of its recorded value
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"),
    "server time": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|<uuid>"),
    "jwt": re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"),
    "csrf token": re.compile(r"[\w-]+\.\d{10}\.[0-9a-f]{4,64}"),
    "64 hex": re.compile(r"[0-9a-f]{64}"),
    "trace": re.compile(r"<a Python stack trace of \d+ lines stood here>|Traceback .*", re.DOTALL),
    "key": re.compile(r"made-up-modulus-of-342-characters-base64url|made-up-kid|outrider-demo|[\w-]{342}"),
    "database": re.compile(r"PostgreSQL 15.*"),
    "lost database": re.compile(r"(Database query test failed: )?\(psycopg2.OperationalError\).*", re.DOTALL),
    "lost redis": re.compile(r"Error \d+ connecting to \S+:\d+\..*"),
    "milliseconds": re.compile(r"(<number>|\d+\.\d+)ms"),
    "seconds": re.compile(r"(<number>|\d+\.\d+)s"),
    "plain seconds": re.compile(r"<seconds>|\d+\.\d+"),
    "worker": re.compile(r'worker_uptime_seconds\{worker_id="\d+"\} [\d.]+\nworker_active_requests.*\nworker_health_checks_total.* 0'),
    "wait": re.compile(r".*Try again in \d+ seconds"),
    "report": re.compile(r"# HELP app_info .*process_memory_mb [\d.]+\n", re.DOTALL),
}
VOLATILE = {1234, 1767225600, 3596, 140000000000000}


class Talk:
    """Sends recorded requests with the tokens and passwords of this stand-in in place of the recorded ones."""

    def __init__(self, standin: StandIn, client: httpx.AsyncClient) -> None:
        self.standin, self.client = standin, client
        self._tokens: dict[str, tuple[str, str]] = {}
        self._csrf: dict[str, str] = {}

    @property
    def prepared(self) -> bool:
        """Whether everybody is logged in."""
        return bool(self._tokens)

    async def prepare(self) -> None:
        """Logs everybody in, and takes both kinds of CSRF token."""
        for email, password in ((PROBE_USER, self.standin.world.secrets.probe_password), (PREMIUM_USER, ""), (ADMIN_USER, "")):
            body = {"username": email, "password": password or DEMO_PASSWORD}
            given = (await self.client.post("/api/auth/token", data=body, headers=FORWARDED)).json()
            self._tokens[email] = given["access_token"], given["refresh_token"]
        for path in ("/api/csrf/token", "/api/csrf-token"):
            self._csrf[path] = (await self.client.get(path, headers=FORWARDED)).json()["csrf_token"]
        self.client.cookies.clear()

    async def send(self, record: Mapping[str, Any]) -> httpx.Response:
        """The response to a record's request."""
        asked, name = record["request"], record["name"]
        if not self.prepared and any(word in json.dumps(asked) for word in (JWT, CSRF)):
            await self.prepare()
        user = PREMIUM_USER if "premium" in name and "standard" not in name else ADMIN_USER if "admin" in name else PROBE_USER
        access, refresh = self._tokens.get(user, ("", ""))
        csrf = self._csrf.get("/api/csrf-token" if "second-kind" in name else "/api/csrf/token", "")

        def ours(text: str) -> str:
            return text.replace(JWT, refresh if "refresh" in name else access).replace(CSRF, csrf)

        headers = {key: ours(value) for key, value in asked["headers"].items()}
        body = asked.get("body")
        if isinstance(body, str) and body.startswith("username"):
            right = self.standin.world.secrets.probe_password if "probe%40" in body else DEMO_PASSWORD
            body = body.replace("made-up-password", right)
            for recorded, user in USERS.items():
                body = body.replace(recorded.replace("@", "%40"), user.replace("@", "%40"))
        content = body if isinstance(body, str) else None if body is None else ours(json.dumps(body))
        content = content.replace("<501 characters>", "x" * 501) if content else content
        return await self.client.request(asked["method"], asked["path"], headers=headers, content=content)


@asynccontextmanager
async def talking(servers: Servers, clock: FakeClock, built: Built = Built()) -> AsyncIterator[Talk]:  # noqa: B008 - frozen
    """A stand-in as built, and a client of it."""
    async with (
        StandIn(clock=clock, delays=DELAYS, servers=servers, built=built) as standin,
        httpx.AsyncClient(base_url=standin.api_site.url, trust_env=False, timeout=5) as client,
    ):
        yield Talk(standin, client)


def of_group(group: str) -> list[dict[str, Any]]:
    """The records of a group's states, in their order."""
    exact = group in ("healthy", "locked", "as-written", "debug-off", "production")
    return [
        record
        for record in RECORDED
        if any(record["state"] == state or (not exact and record["state"].startswith(state)) for state in GROUPS[group])
        or (group == "healthy" and record["state"].startswith("AI a") and "present" not in record["state"])
    ]


def test_every_record_is_in_one_group() -> None:
    """203 records, and each is walked once."""
    walked = [record["name"] for group in GROUPS for record in of_group(group)]
    assert len(RECORDED) == 203
    assert sorted(walked) == sorted(record["name"] for record in RECORDED)


async def arrange(talk: Talk, record: Mapping[str, Any], clock: FakeClock) -> None:
    """Brings the stand-in into the record's state."""
    wanted = next((faults for state, faults in FAULTS.items() if record["state"].startswith(state)), set())
    if not talk.prepared and record["state"].startswith(("database stopped", "redis stopped", "healthy; user never failed")):
        await talk.prepare()  # while it can
    for fault in talk.standin.on - wanted:
        await talk.standin.switch_off(fault)
    for fault in wanted - talk.standin.on:
        await talk.standin.switch_on(fault)
    if record["name"] == "db-back-health-database":
        clock.advance(31)  # past what it keeps
    if record["name"] == "limit-get":
        api = talk.standin.api
        assert isinstance(api, BuiltApi)
        assert [api.front.hourly.take("127.0.0.1") for _ in range(1000)] == [True] * 999 + [False]  # one was asked already


async def walk(group: str, servers: Servers, built: Built = Built()) -> None:  # noqa: B008 - frozen
    """Sends a group's requests in their order, and holds each response against its record."""
    clock = FakeClock()
    async with talking(servers, clock, built) as talk:
        for record in of_group(group):
            await arrange(talk, record, clock)
            response = await talk.send(record)
            talk.client.cookies.clear()
            hold(record, response)


def hold(record: Mapping[str, Any], response: httpx.Response) -> None:
    """Holds a response against its record."""
    expected, name = record["response"], record["name"]
    assert response.status_code == expected["status"], (name, response.text)
    body = expected.get("body")
    if record.get("shaped_by_harness"):
        if isinstance(body, dict | list):
            assert keys_of(response.json()) == keys_of(body), name
        return
    if "families" in expected:
        hold_families(expected["families"], response.text)
    elif isinstance(body, str) and body.startswith("# HELP"):
        hold_lines(body.splitlines(), response.text)
    elif "lines" in expected:
        hold_lines(expected["lines"], response.text)
    elif isinstance(body, dict | list):
        hold_like(body, response.json(), name)
    elif isinstance(body, str):
        hold_like(body, response.text, name)
    if "headers" in expected and "lines" not in expected:
        hold_headers(expected, response, name)


def hold_headers(expected: Mapping[str, Any], response: httpx.Response, name: str) -> None:
    """Each recorded header is there, by value or form; one that wasn't recorded and whose absence tells something isn't."""
    for header, value in expected["headers"].items():
        if header == "set-cookie":
            assert cookies_of(response) == value, name
        elif header in ("x-ratelimit-remaining", "x-ratelimit-reset", "x-worker-id", "x-error-id", "retry-after"):
            assert response.headers[header].isdigit(), (name, header)
            if header == "x-ratelimit-remaining" and value in ("0", "999"):
                assert value == "0" or int(response.headers[header]) > 900, (name, header)
        elif header == "location":
            path = value.removeprefix("https://app.example.com")
            assert response.headers[header] == f"https://{response.request.url.netloc.decode()}{path}", name
        else:
            hold_like(value, response.headers.get(header), f"{name}: {header}")
    for header in expected.get("present", ()):
        assert header in response.headers, (name, header)
    for header in TELLING:
        if header not in expected["headers"]:
            assert header not in response.headers, (name, header)
    if "x-request-id" not in expected["headers"] and "x-request-id" not in expected.get("present", ()):
        assert "x-request-id" not in response.headers or name.startswith("metrics-"), name


def cookies_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The cookies that are set, as the records write them."""
    cookies = []
    for line in response.headers.get_list("set-cookie"):
        pair, *attributes = line.split("; ")
        key, _, value = pair.partition("=")
        kept = sorted(attribute for attribute in attributes if not attribute.startswith("expires"))
        cookies.append({"name": key, "empty": value in ("", '""'), "attributes": kept})
    return sorted(cookies, key=lambda cookie: str(cookie["name"]))


def hold_like(expected: object, found: object, name: str) -> None:
    """Equal, or of the same form where the value differs from run to run."""
    if isinstance(expected, dict) and isinstance(found, dict):
        assert expected.keys() == found.keys(), name
        for key, value in expected.items():
            hold_like(value, found[key], f"{name}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        assert len(expected) == len(found), name
        for number, (a, b) in enumerate(zip(expected, found, strict=True)):
            hold_like(a, b, f"{name}[{number}]")
    elif isinstance(expected, str) and isinstance(found, str) and expected != found:
        form = next((form for form in FORMS.values() if form.fullmatch(expected)), None)
        assert form is not None, (name, expected, found)
        assert form.fullmatch(found), (name, expected, found)
    elif isinstance(expected, float) or expected in VOLATILE:
        assert isinstance(found, type(expected)), (name, expected, found)
    else:
        assert expected == found, (name, expected, found)


def keys_of(value: object, depth: int = 2) -> object:
    """The keys of an object and of the objects in it; a list by its elements where these are objects."""
    if isinstance(value, dict):
        return {key: keys_of(inner, depth - 1) if depth > 1 else None for key, inner in value.items()}
    return [keys_of(inner, depth) for inner in value if isinstance(inner, dict)] if isinstance(value, list) and depth > 1 else None


def hold_lines(lines: list[str], text: str) -> None:
    """Each recorded line is in the text; of a sample its labels, since the counts are those of the recording."""
    found = {line.rpartition(" ")[0] if not line.startswith("#") else line for line in text.splitlines()}
    for line in lines:
        if not line.startswith("worker_info_info"):
            assert (line if line.startswith("#") else line.rpartition(" ")[0]) in found, line


def hold_families(families: Mapping[str, list[Any]], text: str) -> None:
    """The same families of the same types, and samples with the same labels in the same ones."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert types == {name: kind for name, (kind, _) in families.items()}
    for name, (_, labels) in families.items():
        samples = re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} ", text, re.MULTILINE)
        seen = {tuple(sorted(set(re.findall(r'(\w+)="', sample)) - {"le"})) for sample in samples}
        assert seen == (set() if labels is None else {tuple(labels)}), name


@pytest.mark.parametrize("group", ["healthy", "locked", "model", "as-written", "limit"])
async def test_responds_as_recorded(group: str, servers: Servers) -> None:
    """Status, headers, body: as the real modules responded."""
    await walk(group, servers)


@pytest.mark.parametrize(("group", "built"), [("debug-off", Built(debug=False)), ("production", Built(production=True))])
async def test_responds_as_recorded_without_traces(group: str, built: Built, servers: Servers) -> None:
    """With DEBUG off and in production the words that tell a CSRF refusal are gone."""
    await walk(group, servers, built)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["database", "redis"])
async def test_responds_as_recorded_without_a_server(group: str, servers: Servers) -> None:
    """With PostgreSQL or Redis stopped, and when they are back."""
    await walk(group, servers)


@pytest.mark.slow
async def test_a_frozen_database_holds_up_every_route(servers: Servers) -> None:
    """The recorded readiness call got nothing; nothing else does either until PostgreSQL goes on."""
    [record] = of_group("database-frozen")
    assert "response" not in record
    async with talking(servers, FakeClock()) as talk:
        await talk.standin.switch_on("db-frozen")
        asked = asyncio.create_task(talk.send(record))
        await talk.standin.api.front.gate.closed.wait()
        others = [asyncio.create_task(talk.client.get(path, headers=FORWARDED)) for path in ("/health/live", "/metrics")]
        done, _ = await asyncio.wait([asked, *others], timeout=0.3)
        assert done == set()
        await talk.standin.switch_off("db-frozen")
        assert [one.status_code for one in await asyncio.gather(asked, *others)] == [200] * 3


@pytest.mark.slow
async def test_a_frozen_redis_holds_up_every_route_for_two_calls(servers: Servers) -> None:
    """The limiter asks twice and waits for each: then the voices come without its headers, and /health/live has waited with them."""
    [record] = of_group("redis-frozen")
    async with talking(servers, FakeClock()) as talk:
        await talk.standin.switch_on("redis-frozen")
        asked = asyncio.create_task(talk.send(record))
        await talk.standin.api.front.gate.closed.wait()
        live = asyncio.create_task(talk.client.get("/health/live", headers=FORWARDED))
        done, _ = await asyncio.wait([asked, live], timeout=0.05)
        assert done == set()
        response = await asked
        hold(record, response)
        assert response.elapsed.total_seconds() >= 2 * DELAYS.redis
        assert (await live).status_code == 200
