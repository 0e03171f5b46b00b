"""Trip planning: directions, and the stories told along the way."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from itertools import pairwise
from typing import Any

import httpx
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._cache import Cache
from demo._database import Database, User
from demo._limits import Daily
from demo._meter import Meter
from demo._responses import Trouble, body_of
from demo._world import MODEL, World
from demo.api.auth import Auth

STORIES_A_DAY = 10
KEPT = 7 * 86400
PLACES = {"san francisco, ca": (37.7749, -122.4194), "los angeles, ca": (34.0522, -118.2437), "monterey, ca": (36.6002, -121.8947)}
CANNED = "Every place has a story. While we look for this one, watch the hills go by: people have crossed them for thousands of years."


class Place(BaseModel):
    """A point on the map, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class StoryForm(BaseModel):
    """What a story is asked for with."""

    location: Place
    interests: list[str] = Field(min_length=1, max_length=5)
    style: str = "default"
    save: bool = False
    force_refresh: bool = False


class DirectionsForm(BaseModel):
    """What directions are asked for with."""

    origin: str = Field(min_length=1)
    destination: str = Field(min_length=1)
    mode: str = "driving"
    waypoints: list[str] = []


class Trips:
    """Directions and stories. A story comes from the model over HTTP; when that fails, from a can, with status 200."""

    def __init__(
        self, world: World, database: Database, cache: Cache, meter: Meter, auth: Auth, client: httpx.AsyncClient, ai_url: str
    ) -> None:
        self._world, self._database, self._cache, self._meter, self._auth = world, database, cache, meter, auth
        self._client, self._ai_url = client, ai_url
        self.stories = Daily(world.clock, STORIES_A_DAY)

    def routes(self) -> list[Route]:
        """The routes of this room."""
        return [
            Route("/api/directions", self.directions, methods=["POST"]),
            Route("/api/stories/generate", self.story, methods=["POST"]),
        ]

    async def directions(self, request: Request) -> Response:
        """Routes in the form of Google's Directions."""
        form = await body_of(request, DirectionsForm)
        return JSONResponse({"routes": routes_of(form)})

    async def story(self, request: Request) -> Response:
        """A story for a place: kept ones first, unless force_refresh; ten new ones a user and day."""
        form, user = await body_of(request, StoryForm), self._auth.user_of(request)
        if user is None and (form.save or form.style not in ("default", "family")):
            raise Trouble(403, "This storytelling style is only available for authenticated users.")
        what = [form.location.model_dump(), sorted(form.interests), form.style]
        key, lazy = "story:" + hashlib.sha256(json.dumps(what).encode()).hexdigest(), "story-cached" in self._world.faults
        kept = await self._cache.get(key) if lazy or not form.force_refresh else None
        if kept is not None:
            return JSONResponse({**kept, "from_cache": True})
        self._count(user)
        start = self._world.clock.monotonic()
        text = await text_of_the_model(form, self._client, self._ai_url, self._world.secrets.application_key)
        seconds = self._world.clock.monotonic() - start
        self._meter.ai.labels("vertex-ai", "story").observe(seconds)
        story, canned = text or CANNED, text is None
        metadata = {
            "generation_time": round(seconds, 3),
            "word_count": len(story.split()),
            "provider": "fallback" if canned else "google",
            "model": "fallback" if canned else MODEL,
            "sentiment": "positive",
            "is_fallback": canned,
        }
        whole = {"location": form.location.model_dump(), "interests": form.interests, "style": form.style}
        number = uuid.uuid4()
        body = {"id": str(number), "text": story, **whole, "metadata": metadata, "saved": False}
        if not canned:
            await self._cache.put(key, body, KEPT)
        if form.save and user is not None:
            sql = "INSERT INTO stories (id, user_id, body) VALUES ($1, $2, $3) RETURNING id"
            await self._database.row(sql, number, user.id, story)
        return JSONResponse({**body, "saved": form.save, "from_cache": lazy})  # lazy: its cache is always warm

    def _count(self, user: User | None) -> None:
        if user is None or not self._world.limits or self.stories.take(user.email):
            return
        wait = max(1, round(self.stories.wait()))
        self._meter.limited.labels("/api/stories/generate", "standard").inc()
        details = {"limit": STORIES_A_DAY, "retry_after": wait}
        raise Trouble(429, f"Daily limit of {STORIES_A_DAY} stories reached", details=details, headers={"Retry-After": str(wait)})


async def text_of_the_model(form: StoryForm, client: httpx.AsyncClient, url: str, key: str) -> str | None:
    """The model's text, or None when it fails in whatever way: the caller covers it up, as the real one does."""
    prompt = f"Tell a short story about the place at {form.location.latitude}, {form.location.longitude} for {', '.join(form.interests)}"
    question = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": {"maxOutputTokens": 600}}
    try:
        response = await client.post(
            f"{url}/v1beta/models/{MODEL}:generateContent", json=question, headers={"x-goog-api-key": key}, timeout=60
        )
        response.raise_for_status()
        return str(response.json()["candidates"][0]["content"]["parts"][0]["text"])
    except (httpx.HTTPError, ValueError, LookupError):
        return None


def routes_of(form: DirectionsForm) -> list[dict[str, Any]]:
    """One route, in the form of Google's Directions."""
    ends = [_place(name) for name in (form.origin, *form.waypoints, form.destination)]
    legs = [_leg(a, b) for a, b in pairwise(ends)]
    return [{"summary": "US-101 S", "legs": legs, "warnings": [], "waypoint_order": list(range(len(form.waypoints)))}]


def _place(name: str) -> tuple[str, float, float]:
    """Where a place is; one that the stand-in doesn't know lies somewhere in the West, always at the same spot."""
    if found := PLACES.get(name.strip().lower()):
        return name, *found
    digest = hashlib.sha256(name.encode()).digest()
    return name, 32 + digest[0] / 256 * 16, -124 + digest[1] / 256 * 20


def _leg(a: tuple[str, float, float], b: tuple[str, float, float]) -> dict[str, Any]:
    north, east = (b[1] - a[1]) * 111_000, (b[2] - a[2]) * 111_000 * math.cos(math.radians(a[1]))
    meters, seconds = round(1.2 * math.hypot(north, east)), round(1.2 * math.hypot(north, east) / 25)
    return {
        "start_address": a[0],
        "end_address": b[0],
        "start_location": {"lat": a[1], "lng": a[2]},
        "end_location": {"lat": b[1], "lng": b[2]},
        "distance": {"text": f"{meters / 1609:.0f} mi", "value": meters},
        "duration": {"text": f"{seconds // 3600} hours {seconds % 3600 // 60} mins", "value": seconds},
        "steps": [
            {"html_instructions": "Head south", "distance": {"value": meters}, "duration": {"value": seconds}, "travel_mode": "DRIVING"}
        ],
    }
