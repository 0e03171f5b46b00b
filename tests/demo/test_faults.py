from __future__ import annotations

import asyncio
import json
import re
import ssl
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import ReadOnlyError

from demo.faults import FAULTS, UnknownFault
from demo.servers import HOST
from demo.standin import StandIn
from tests.demo.conftest import login
from tests.demo.test_api import ANYONE, SEARCH, STORY, TRIP

pytestmark = pytest.mark.slow  # each waits for what it breaks
APPLICATION = ("/health/", "/health/ready", "/health/metrics", "/api/tts/voices")
PROMPT = {"contents": [{"role": "user", "parts": [{"text": "Reply with one word only: bridge"}]}]}


async def tell(standin: StandIn, api: httpx.AsyncClient, *, stream: bool = False) -> httpx.Response:
    """Asks the model as the probe does."""
    where = standin.environment()
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    key = {"x-goog-api-key": standin.world.secrets.ai_key}
    return await api.post(f"{where['AI_URL']}/v1beta/models/{where['AI_MODEL']}:{method}", json=PROMPT, headers=key)


async def tables(standin: StandIn, api: httpx.AsyncClient) -> httpx.Response:
    """Searches the first partner as the probe does."""
    key = {"Authorization": f"Bearer {standin.world.secrets.opentable}"}
    return await api.get(f"{standin.environment()['OPENTABLE_URL']}/restaurants/search", headers=key)


async def handshake(standin: StandIn) -> None:
    """A TLS handshake with the front by its authority; raises SSLCertVerificationError."""
    trusting = await asyncio.to_thread(ssl.create_default_context, cafile=standin.environment()["API_CA"])
    _, writer = await asyncio.open_connection(HOST, standin.tls_site.port, ssl=trusting, server_hostname=HOST)
    writer.close()
    await writer.wait_closed()


async def test_every_fault_goes_back(standin: StandIn, api: httpx.AsyncClient) -> None:
    """All faults on, then off again in the other order: everything answers as before."""
    last = ("db-down", "redis-down", "db-frozen", "redis-frozen")  # the others want a server that runs
    for name in sorted(FAULTS, key=lambda name: name in last):
        await standin.switch_on(name)
    for name in sorted(FAULTS, key=lambda name: name not in last):
        await standin.switch_off(name)
    assert standin.on == frozenset()
    assert (await api.get("/health/ready")).json()["status"] == "ready"
    assert (await login(standin, api)).status_code == 200
    assert not (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json()["metadata"]["is_fallback"]
    assert (await tell(standin, api)).status_code == 200
    assert "mock" not in (await tables(standin, api)).json()
    await handshake(standin)


async def test_an_unknown_fault_is_said_with_those_that_there_are(standin: StandIn) -> None:
    """A wrong word names the right ones."""
    with pytest.raises(UnknownFault, match=r"there is no fault db-dwon; the faults are api-500, .*metrics-silent"):
        await standin.switch_on("db-dwon")


async def test_api_500(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Every application route answers 500 in the error form; /metrics goes on."""
    await standin.switch_on("api-500")
    answers = [await api.get(path) for path in APPLICATION]
    assert {answer.status_code for answer in answers} == {500}
    assert (await login(standin, api)).status_code == 500
    assert answers[0].json()["error"]["code"] == "INTERNAL_SERVER_ERROR"
    assert (await api.get("/metrics")).status_code == 200


async def test_api_slow(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Application routes answer rightly, and late."""
    await standin.switch_on("api-slow")
    for path in ("/health/ready", "/api/tts/voices"):
        answer = await api.get(path)
        assert (answer.status_code, answer.elapsed.total_seconds() >= standin.world.delays.slow) == (200, True)


async def test_api_stall(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The API takes the request and says nothing until the client gives up."""
    await standin.switch_on("api-stall")
    for path in ("/api/tts/voices", "/metrics"):
        with pytest.raises(httpx.ReadTimeout):
            await api.get(path, timeout=0.2)


async def test_api_reset(standin: StandIn) -> None:
    """Half of the promised answer comes, then a reset."""
    await standin.switch_on("api-reset")
    reader, writer = await asyncio.open_connection(HOST, standin.api_site.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    promised = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    came = await reader.readexactly(promised // 2)
    assert came == b'{"status": "rea'
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()


async def test_db_down(standin: StandIn, api: httpx.AsyncClient) -> None:
    """PostgreSQL refuses; ready is 200 with not_ready inside, the report says so, login is 500, and live lies on."""
    await standin.switch_on("db-down")
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(standin.postgres.dsn, ssl=False)
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json()[0]["status"], ready.json()[1]) == (200, "not_ready", 503)
    report = (await api.get("/health/metrics")).json()
    assert (report["db_healthy"], report["redis_healthy"]) == (False, True)
    assert (await login(standin, api)).status_code == 500
    assert (await api.get("/api/health/database/test-query")).status_code == 503
    assert (await api.get("/health/v2/ready")).status_code == 503
    for path in ("/health/", "/health/live", "/health/detailed", "/api/tts/voices"):
        assert (await api.get(path)).status_code == 200
    await standin.switch_off("db-down")
    assert (await api.get("/health/ready")).json()["status"] == "ready"


async def test_db_frozen(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The first request that touches the database hangs, and with it the whole API, until the database is thawed."""
    await standin.switch_on("db-frozen")
    assert (await api.get("/health/live")).status_code == 200
    asked = asyncio.create_task(api.get("/health/ready"))
    await standin.api.front.gate.closed.wait()
    for path in ("/health/live", "/metrics", "/api/tts/voices"):
        with pytest.raises(httpx.ReadTimeout):
            await api.get(path, timeout=0.1)
    await standin.switch_off("db-frozen")
    assert (await asked).json()["status"] == "ready"
    assert (await api.get("/health/live")).status_code == 200


async def test_db_locked_out(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The probe's role is refused; the application isn't."""
    await standin.switch_on("db-locked-out")
    with pytest.raises(asyncpg.InvalidPasswordError, match='"outrider"'):
        await asyncpg.connect(standin.postgres.dsn, ssl=False)
    assert (await api.get("/health/ready")).json()["status"] == "ready"


async def test_redis_down(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Redis refuses; ready and the report say so, and the API tells stories without its cache."""
    await standin.switch_on("redis-down")
    async with redis.asyncio.Redis.from_url(standin.redis.url, driver_info=None, retry=None) as client:
        with pytest.raises(RedisGone):
            await client.ping()
    assert (await api.get("/health/ready")).json()[1] == 503
    assert not (await api.get("/health/metrics")).json()["redis_healthy"]
    assert (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).status_code == 200
    await standin.switch_off("redis-down")
    assert (await api.get("/health/metrics")).json()["redis_healthy"]


async def test_redis_readonly(standin: StandIn, api: httpx.AsyncClient) -> None:
    """A write is refused with READONLY, a PING answered; the API doesn't notice."""
    await standin.switch_on("redis-readonly")
    async with redis.asyncio.Redis.from_url(standin.redis.url, driver_info=None) as client:
        assert await client.ping()
        with pytest.raises(ReadOnlyError):
            await client.set("outrider:test", "1")
    assert (await api.get("/health/ready")).json()["status"] == "ready"
    assert (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).status_code == 200


async def test_ai_down(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The model answers 503, and the API a canned story with 200 that marks itself as fallback."""
    await standin.switch_on("ai-down")
    assert (await tell(standin, api)).status_code == 503
    story = await api.post("/api/stories/generate", json=STORY, headers=ANYONE)
    assert (story.status_code, story.json()["metadata"]["is_fallback"], story.json()["metadata"]["provider"]) == (200, True, "fallback")
    await standin.switch_off("ai-down")
    assert not (await api.post("/api/stories/generate", json={**STORY, "force_refresh": False}, headers=ANYONE)).json()["metadata"][
        "is_fallback"
    ]


async def test_ai_slow(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The first token is late, the answer right; the API's story waits for it."""
    await standin.switch_on("ai-slow")
    answer = await tell(standin, api, stream=True)
    assert answer.elapsed.total_seconds() >= standin.world.delays.first_token
    story = await api.post("/api/stories/generate", json=STORY, headers=ANYONE)
    assert (story.json()["metadata"]["is_fallback"], story.elapsed.total_seconds() >= standin.world.delays.first_token) == (False, True)


async def test_ai_truncated(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The stream stops with a part of the text and no end mark; the API's own story, not streamed, is whole."""
    await standin.switch_on("ai-truncated")
    events = [json.loads(line[6:]) for line in (await tell(standin, api, stream=True)).text.splitlines() if line]
    assert [event["candidates"][0]["content"]["parts"][0]["text"] for event in events] == ["bri"]
    assert "finishReason" not in events[-1]["candidates"][0]
    assert not (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json()["metadata"]["is_fallback"]


async def test_ai_throttled(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The probe's key is throttled for 30 s; the application's isn't."""
    await standin.switch_on("ai-throttled")
    answer = await tell(standin, api)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert not (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json()["metadata"]["is_fallback"]


@pytest.mark.parametrize(
    ("fault", "finish", "texts"), [("ai-refuses", "SAFETY", []), ("ai-empty", "STOP", [""]), ("ai-thinks", "MAX_TOKENS", [])]
)
async def test_no_reply(standin: StandIn, api: httpx.AsyncClient, fault: str, finish: str, texts: list[str]) -> None:
    """The probe gets no word, whole and streamed, and the end says why; the application's story is whole."""
    await standin.switch_on(fault)
    whole = (await tell(standin, api)).json()
    streamed = [json.loads(line[6:]) for line in (await tell(standin, api, stream=True)).text.splitlines() if line]
    for candidate in (whole["candidates"][0], streamed[-1]["candidates"][0]):
        assert candidate["finishReason"] == finish
        assert [part["text"] for part in candidate["content"]["parts"] if not part.get("thought")] == texts
    assert not (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json()["metadata"]["is_fallback"]


async def test_story_cached(standin: StandIn, api: httpx.AsyncClient) -> None:
    """From the first request on stories come from the cache, whatever force_refresh says, with 200."""
    await standin.switch_on("story-cached")
    answers = [(await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json() for _ in range(2)]
    assert [answer["from_cache"] for answer in answers] == [True, True]
    assert answers[0]["id"] == answers[1]["id"]


@pytest.mark.parametrize(("fault", "status"), [("partner-429", 429), ("partner-500", 500)])
async def test_a_partner_that_refuses(standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str], fault: str, status: int) -> None:
    """OpenTable answers with the error; the API leaves it out and answers 200."""
    await standin.switch_on(fault)
    assert (await tables(standin, api)).status_code == status
    found = await api.post("/api/reservations/search", json=SEARCH, headers=bearer)
    assert (found.status_code, {result["provider"] for result in found.json()["results"]}) == (200, {"recreation"})


@pytest.mark.parametrize(("fault", "field", "value"), [("partner-schema", "rating", "4.6 stars"), ("partner-mock", "mock", True)])
async def test_a_partner_that_answers_wrongly(standin: StandIn, api: httpx.AsyncClient, fault: str, field: str, value: Any) -> None:
    """The status stays 200; a field changes its type, or the answer is marked as mock."""
    await standin.switch_on(fault)
    answer = await tables(standin, api)
    assert answer.status_code == 200
    assert {**answer.json(), **answer.json()["restaurants"][0]}[field] == value


async def test_health_lies(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Ready is 200 with not_ready and 503 inside, while all its checks are healthy."""
    await standin.switch_on("health-lies")
    answer = await api.get("/health/ready")
    assert (answer.status_code, answer.json()[0]["status"], answer.json()[1]) == (200, "not_ready", 503)
    assert {check["status"] for check in answer.json()[0]["checks"].values()} == {"healthy"}


async def test_https_redirect(standin: StandIn, api: httpx.AsyncClient) -> None:
    """While it is on, the forwarded header counts for nothing; over TLS the API answers."""
    await standin.switch_on("https-redirect")
    for path in ("/health/ready", "/metrics"):
        assert (await api.get(path)).status_code == 301
    assert (await api.get(f"{standin.tls_site.url}/health/ready")).status_code == 200


@pytest.mark.parametrize(("fault", "words"), [("cert-expired", "expired"), ("cert-wrong-host", "mismatch")])
async def test_a_wrong_certificate(standin: StandIn, api: httpx.AsyncClient, fault: str, words: str) -> None:
    """The front shows the wrong certificate to new connections until the fault is off; the API is well."""
    await handshake(standin)
    await standin.switch_on(fault)
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        await handshake(standin)
    assert (await api.get("/health/ready")).json()["status"] == "ready"
    await standin.switch_off(fault)
    await handshake(standin)


async def test_login_refused(standin: StandIn, api: httpx.AsyncClient) -> None:
    """The probe's right password is 401 with the attempts left, and others log in; off clears the lock-out as well."""
    await standin.switch_on("login-refused")
    refused = [await login(standin, api) for _ in range(6)]
    assert [answer.status_code for answer in refused] == [401] * 5 + [423]
    other = {"username": "traveller@roadtrip.example", "password": "open-trip-2026"}
    assert (await api.post("/api/auth/token", data=other)).status_code == 200
    assert (await api.post("/api/directions", json=TRIP, headers=ANYONE)).status_code == 200
    await standin.switch_off("login-refused")
    assert (await login(standin, api)).status_code == 200


async def test_metrics_silent(standin: StandIn, api: httpx.AsyncClient) -> None:
    """A promised family keeps its head and loses its samples; the status stays 200."""
    await standin.switch_on("metrics-silent")
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert "# TYPE ai_request_duration_seconds histogram" in answer.text
    assert not re.search(r"^ai_request_duration_seconds", answer.text, re.MULTILINE)
    assert re.search(r"^revenue_total", answer.text, re.MULTILINE)


async def test_a_token_that_cant_be_revoked(standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """R4: with revoke-refused the right token is 400 "Invalid token", as the application is built, and stays good."""
    token = {"token": bearer["Authorization"].removeprefix("Bearer ")}
    await standin.switch_on("revoke-refused")
    refused = await api.post("/api/auth/revoke", json=token, headers=bearer)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "Invalid token")
    assert (await api.get("/api/auth/me", headers=bearer)).status_code == 200
    await standin.switch_off("revoke-refused")
    assert (await api.post("/api/auth/revoke", json=token, headers=bearer)).status_code == 200
