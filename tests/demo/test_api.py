from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from demo._app import Api
from demo.standin import StandIn
from tests.demo.conftest import login
from tests.support.clock import FakeClock

STORY = {"location": {"latitude": 37.8, "longitude": -122.4}, "interests": ["history"], "force_refresh": True}
TRIP = {"origin": "San Francisco, CA", "destination": "Los Angeles, CA"}
SEARCH = {"location": {"lat": 37.8, "lng": -122.4}, "date": "2026-12-01", "party_size": 2}
ANYONE = {"Authorization": "Bearer anonymous"}
OF_THE_GUIDE = (
    "http_request_duration_seconds http_requests_total active_users_total ai_request_duration_seconds booking_conversion_rate "
    "booking_initiated_total booking_completed_total booking_failed_total revenue_total commission_earned_total auth_login_failed_total "
    "security_incident_total user_2fa_enabled rate_limit_exceeded_total db_connection_pool_used db_connection_pool_size "
    "db_query_duration_seconds log_entries_total"
).split()


async def test_health_routes_say_well(api: httpx.AsyncClient) -> None:
    """Every health route answers 200 in the real one's form while everything is well."""
    healthy, ready = await api.get("/health/"), await api.get("/health/ready")
    assert (healthy.json()["status"], healthy.json()["version"]) == ("healthy", healthy.headers["x-version"])
    assert ready.json()["status"] == "ready"
    assert {check["status"] for check in ready.json()["checks"].values()} == {"healthy"}
    names = ("db_healthy", "redis_healthy", "ai_service_healthy", "booking_providers_healthy")
    assert (await api.get("/health/metrics")).json() == dict.fromkeys(names, True)
    assert (await api.get("/api/health/database/test-query")).json()["test_value"] == 1
    for path in ("live", "detailed", "v2/live", "v2/ready", "v2/status", "v2/worker"):
        assert (await api.get(f"/health/{path}")).status_code == 200, path
    assert (await api.get("/health")).status_code == 307


async def test_plain_http_is_sent_to_https(standin: StandIn) -> None:
    """Without the forwarded header every path, /metrics too, is a 301 to https on the same host."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as direct:  # noqa: S501 - plain HTTP
        for path in ("/health/ready", "/metrics", "/api/tts/voices?a=b"):
            answer = await direct.get(standin.api_site.url + path)
            assert (answer.status_code, answer.headers["location"]) == (301, standin.api_site.url.replace("http:", "https:") + path)


async def test_headers_are_those_of_the_real_one(api: httpx.AsyncClient) -> None:
    """Each answer carries a fresh request id, its time, the revision, and what is left of the hour."""
    answer = await api.get("/api/tts/voices", headers={"X-Request-ID": "mine"})
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])
    assert float(answer.headers["x-process-time"]) >= 0
    assert answer.headers["x-revision"]
    assert (answer.headers["x-api-version"], answer.headers["x-frame-options"]) == ("v2", "DENY")
    assert answer.headers["x-ratelimit-remaining"] == "999"


async def test_an_error_has_the_real_ones_form(api: httpx.AsyncClient) -> None:
    """404 and 422 come as error{code, message, error_id, timestamp}."""
    missing, invalid = await api.get("/api/nowhere"), await api.post("/api/directions", content=b"{", headers=ANYONE)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "HTTP_404")
    assert (invalid.status_code, invalid.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert {"message", "error_id", "timestamp"} <= missing.json()["error"].keys()


async def test_the_thousand_and_first_request_of_an_hour_is_429(standin: StandIn, api: httpx.AsyncClient, clock: FakeClock) -> None:
    """1,000 an hour from one address, health and metrics not counted; the hour's end lets requests through again."""
    for _ in range(999):
        standin.api.front.hourly.take("127.0.0.1")
    assert (await api.get("/api/tts/voices")).headers["x-ratelimit-remaining"] == "0"
    clock.advance(600)
    refused = await api.get("/api/tts/voices")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3000")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["details"]["limit_type"] == "per_ip"
    assert (await api.get("/health/ready")).status_code == 200
    assert (await api.get("/metrics")).status_code == 200
    clock.advance(3000)
    assert (await api.get("/api/tts/voices")).status_code == 200


async def test_a_login_opens_the_users_page_until_it_is_revoked(standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """A token is good for /me, and worth nothing after revoke."""
    assert (await api.get("/api/auth/me", headers=bearer)).json()["email"] == standin.environment()["PROBE_USER"]
    token = {"token": bearer["Authorization"].removeprefix("Bearer ")}
    assert (await api.post("/api/auth/revoke", headers=bearer)).status_code == 422
    assert (await api.post("/api/auth/revoke", headers=bearer, json=token)).status_code == 200
    assert (await api.post("/api/auth/revoke", headers=bearer, json=token)).status_code == 400
    assert (await api.get("/api/auth/me", headers=bearer)).status_code == 401
    assert (await api.get("/api/auth/me")).status_code == 401


async def test_five_bad_logins_lock_the_account(standin: StandIn, api: httpx.AsyncClient, clock: FakeClock) -> None:
    """401 with the attempts left, then 423 even for the right password, until half an hour has passed."""
    refused = [await login(standin, api, "wrong") for _ in range(5)]
    assert [answer.json()["error"]["details"]["attempts_left"] for answer in refused] == [4, 3, 2, 1, 0]
    assert {answer.status_code for answer in refused} == {401}
    assert "3 attempts left" in refused[1].json()["error"]["message"]
    locked = await login(standin, api)
    assert (locked.status_code, locked.headers["retry-after"]) == (423, "1800")
    clock.advance(1800)
    assert (await login(standin, api)).status_code == 200


async def test_directions_have_legs(api: httpx.AsyncClient) -> None:
    """A trip has a route of legs with distances and durations."""
    legs = (await api.post("/api/directions", json={**TRIP, "waypoints": ["Monterey, CA"]}, headers=ANYONE)).json()["routes"][0]["legs"]
    assert [leg["end_address"] for leg in legs] == ["Monterey, CA", "Los Angeles, CA"]
    assert all(leg["distance"]["value"] > 100_000 for leg in legs)


async def test_a_story_comes_from_the_model_and_then_from_the_cache(
    standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str]
) -> None:
    """A fresh story asks the model; the same again comes from the cache unless force_refresh; the cache lasts a week."""
    first = (await api.post("/api/stories/generate", json=STORY, headers=bearer)).json()
    assert (first["metadata"]["is_fallback"], first["from_cache"]) == (False, False)
    lazily = {**STORY, "force_refresh": False}
    assert (await api.post("/api/stories/generate", json=lazily, headers=ANYONE)).json()["from_cache"]
    assert not (await api.post("/api/stories/generate", json=STORY, headers=ANYONE)).json()["from_cache"]
    assert standin.world.asked(part="ai") == 2
    standin.world.clock.advance(7 * 86400)  # type: ignore[attr-defined]
    assert not (await api.post("/api/stories/generate", json=lazily, headers=ANYONE)).json()["from_cache"]


async def test_the_eleventh_story_of_a_day_is_429(
    standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str], clock: FakeClock
) -> None:
    """Ten fresh stories a user and UTC day, then 429 until midnight."""
    for _ in range(9):
        assert isinstance(standin.api, Api)
        standin.api.trips.stories.take(standin.environment()["PROBE_USER"])
    assert (await api.post("/api/stories/generate", json=STORY, headers=bearer)).status_code == 200
    refused = await api.post("/api/stories/generate", json=STORY, headers=bearer)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(12 * 3600))
    clock.advance(12 * 3600)
    assert (await api.post("/api/stories/generate", json=STORY, headers=bearer)).status_code == 200


@pytest.mark.parametrize("wrong", [{"interests": []}, {"interests": list("abcdef")}, {"location": {"latitude": 91, "longitude": 0}}])
async def test_a_story_wants_one_to_five_interests_and_a_place(api: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    """A story form that is out of bounds is 422."""
    assert (await api.post("/api/stories/generate", json={**STORY, **wrong}, headers=ANYONE)).status_code == 422


async def test_an_anonymous_listener_gets_plain_styles_and_saves_nothing(api: httpx.AsyncClient) -> None:
    """Other styles and saving want a login."""
    assert (await api.post("/api/stories/generate", json={**STORY, "style": "noir"}, headers=ANYONE)).status_code == 403
    assert (await api.post("/api/stories/generate", json={**STORY, "save": True}, headers=ANYONE)).status_code == 403


async def test_reservations_are_searched_at_both_partners(standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """A search asks OpenTable and Recreation.gov once in ten minutes; without a login it is 401; nothing is booked."""
    results, again = [(await api.post("/api/reservations/search", json=SEARCH, headers=bearer)).json()["results"] for _ in range(2)]
    assert results == again
    assert {result["provider"] for result in results} == {"opentable", "recreation"}
    assert (standin.world.asked(part="opentable"), standin.world.asked(part="recreation")) == (1, 1)
    place = {"provider": "opentable", "venue_id": results[0]["venueId"], "date": "2026-12-01", "party_size": 2}
    free = await api.post("/api/reservations/check-availability", json=place, headers=bearer)
    assert "19:00" in free.json()["available_times"]
    assert (await api.post("/api/reservations/search", json=SEARCH, headers=ANYONE)).status_code == 401
    assert standin.world.forbidden == []


async def test_a_booking_is_noted_as_forbidden(standin: StandIn, api: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """The routes that no probe may call work, and leave a trace that a test can look for."""
    assert (await api.post("/api/reservations/book", json={}, headers=bearer)).status_code == 201
    assert (await api.get("/api/reservations/my-reservations", headers=bearer)).json() == {"total": 1}
    await api.post("/health/v2/shutdown/graceful")
    assert standin.world.forbidden == [
        "POST /api/reservations/book",
        "GET /api/reservations/my-reservations",
        "POST /health/v2/shutdown/graceful",
    ]


async def test_voice_routes(api: httpx.AsyncClient, bearer: dict[str, str]) -> None:
    """Speech for 500 letters without a login and for more with one; the assistant wants one."""
    long = {"text": "a" * 501}
    assert (await api.post("/api/tts/synthesize", json={"text": "hello"}, headers=ANYONE)).json()["audio_url"].endswith(".mp3")
    assert (await api.post("/api/tts/synthesize", json=long, headers=ANYONE)).status_code == 400
    assert (await api.post("/api/tts/synthesize", json=long, headers=bearer)).status_code == 200
    assert (await api.post("/api/stt/transcribe", json={"audio_base64": "?"}, headers=ANYONE)).json()["error"]
    assert (await api.post("/api/voice-assistant/interact", json={"voice_input": {"text": "hi"}}, headers=bearer)).status_code == 200
    assert (await api.get("/api/voice/status")).status_code == 401
    assert (await api.get("/api/voice/metrics", headers=bearer)).json()["circuit_breakers"]["ai"] == "closed"


async def test_metrics_have_every_family_of_the_guide_with_data(api: httpx.AsyncClient) -> None:
    """Each family that the guide names is declared and has a sample, by the guide's very name."""
    await api.get("/api/tts/voices")
    text = (await api.get("/metrics")).text
    for name in OF_THE_GUIDE:
        assert re.search(rf"^{name}(_bucket|_count)?(\{{.*\}})? ", text, re.MULTILINE), name
    assert 'http_requests_total{endpoint="/api/tts/voices",method="GET",status="200"} 1.0' in text


async def test_outrider_is_told_from_the_users(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Requests are counted by who asked, and keep the trace that they came with."""
    await api.get("/api/tts/voices", headers={"User-Agent": "Outrider/0.1 (check api)", "traceparent": "00-1-2-01"})
    await api.get("/api/tts/voices")
    assert (standin.world.asked("outrider"), standin.world.asked("user", path="/api/tts/voices")) == (1, 1)
    assert standin.world.requests[0].traceparent == "00-1-2-01"


async def test_no_limits_lifts_the_limiter(standin: StandIn, api: httpx.AsyncClient) -> None:
    """Without limits the thousand-and-first request is answered."""
    standin.world.limits = False
    for _ in range(1000):
        standin.api.front.hourly.take("127.0.0.1")
    assert (await api.get("/api/tts/voices")).status_code == 200


async def test_a_change_wants_a_bearer_or_the_csrf_token(api: httpx.AsyncClient) -> None:
    """R4: a POST with neither is the real one's 500; any bearer token will do, or the CSRF token in its cookie and in its header."""
    refused = await api.post("/api/directions", json=TRIP)
    assert (refused.status_code, refused.json()["error"]["message"]) == (500, "403: CSRF validation failed")
    assert (await api.post("/api/directions", json=TRIP, headers=ANYONE)).status_code == 200
    for route, status in (("/api/csrf/token", 200), ("/api/csrf-token", 500)):
        token = (await api.get(route)).json()["csrf_token"]
        both = {"X-CSRF-Token": token, "Cookie": f"csrf_token={token}"}
        assert (await api.post("/api/directions", json=TRIP, headers=both)).status_code == status, route
    for half in ({"X-CSRF-Token": "a.b.c"}, {"Cookie": "csrf_token=a.b.c"}, {"X-CSRF-Token": "a.b.c", "Cookie": "csrf_token=a.b.d"}):
        assert (await api.post("/api/directions", json=TRIP, headers=half)).status_code == 500
    assert (await api.get("/api/directions")).status_code == 405


async def test_voices_have_a_name_and_no_id(api: httpx.AsyncClient) -> None:
    """R4: a voice has the real one's members, and a bad token gets what an anonymous caller gets."""
    voices = (await api.get("/api/tts/voices")).json()
    assert {frozenset(voice) for voice in voices} == {frozenset({"name", "language_code", "gender", "premium", "description"})}
    assert (await api.get("/api/tts/voices", headers=ANYONE)).json() == voices
