"""Reservations: searched at the partners over HTTP. The routes that book exist, and note that they were called."""

from __future__ import annotations

import json
from typing import Any

import httpx
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._cache import Cache
from demo._database import Database, DatabaseDown
from demo._responses import Trouble, body_of
from demo._world import World
from demo.api.auth import Auth

KEPT = 600


class Spot(BaseModel):
    """A point on the map, in degrees, by this room's own names."""

    lat: float = Field(ge=-90, le=90)
    lng: float = Field(ge=-180, le=180)


class SearchForm(BaseModel):
    """What a search is asked with."""

    query: str = ""
    location: Spot
    date: str
    party_size: int = Field(ge=1, le=20)


class AvailabilityForm(BaseModel):
    """What free times are asked with."""

    provider: str
    venue_id: str
    date: str
    party_size: int = Field(ge=1, le=20)


class Bookings:
    """Asks OpenTable and Recreation.gov. A partner that fails is left out, with status 200, as in the real one."""

    def __init__(
        self, world: World, database: Database, cache: Cache, auth: Auth, client: httpx.AsyncClient, partners: dict[str, str]
    ) -> None:
        self._world, self._database, self._cache, self._auth = world, database, cache, auth
        self._client, self._partners = client, partners

    def routes(self) -> list[Route]:
        """The routes of this room."""
        never = ("/api/reservations/book", "/api/reservations/{id}/cancel", "/api/reservations/{id}/add-to-waitlist", "/api/bookings/")
        return [
            Route("/api/reservations/search", self.search, methods=["POST"]),
            Route("/api/reservations/check-availability", self.availability, methods=["POST"]),
            Route("/api/reservations/my-reservations", self.mine),
            *(Route(path, self.booked, methods=["POST"]) for path in never),
            Route("/api/reservations/{id}/modify", self.booked, methods=["PUT"]),
        ]

    async def _get(self, partner: str, path: str, params: dict[str, Any]) -> Any:
        """A partner's answer, kept for ten minutes; None when it fails."""
        key = f"partner:{partner}:{path}:{json.dumps(params, sort_keys=True)}"
        if (kept := await self._cache.get(key)) is not None:
            return kept
        name = "apikey" if partner == "recreation" else "Authorization"
        headers = {name: ("" if name == "apikey" else "Bearer ") + self._world.secrets.application_key}
        try:
            response = await self._client.get(f"{self._partners[partner]}/{path}", params=params, headers=headers, timeout=30)
            response.raise_for_status()
            found = response.json()
        except (httpx.HTTPError, ValueError):
            return None
        await self._cache.put(key, found, KEPT)
        return found

    async def search(self, request: Request) -> Response:
        """Places to eat and to camp."""
        form = await body_of(request, SearchForm)
        self._auth.need_user(request)
        where = {"latitude": form.location.lat, "longitude": form.location.lng}
        tables = await self._get("opentable", "restaurants/search", {**where, "party_size": form.party_size, "date": form.date})
        camps = await self._get("recreation", "facilities", {**where, "radius": 25, "limit": 10})
        results = [_table(found) for found in (tables or {}).get("restaurants", [])] + [
            {"provider": "recreation", "venueId": found.get("FacilityID"), "name": found.get("FacilityName"), "cuisine": None}
            for found in (camps or {}).get("RECDATA", [])
        ]
        return JSONResponse({"results": results, "total": len(results)})

    async def availability(self, request: Request) -> Response:
        """Free times of one place."""
        form = await body_of(request, AvailabilityForm)
        self._auth.need_user(request)
        if form.provider not in self._partners:
            raise Trouble(404, f"Unknown provider {form.provider}")
        path = f"restaurants/{form.venue_id}/availability" if form.provider == "opentable" else f"{form.venue_id}/availability"
        found = await self._get(form.provider, path, {"date": form.date, "party_size": form.party_size})
        slots = (found or {}).get("time_slots", [])
        times = [slot["time"] for slot in slots] or sorted((found or {}).get("campsites", {}))
        return JSONResponse({"provider": form.provider, "venue_id": form.venue_id, "available_times": times})

    async def booked(self, request: Request) -> Response:
        """Books in the real one: no probe may come here. Here it is noted, and the row is written."""
        self._world.forbidden.append(f"{request.method} {request.url.path}")
        user = self._auth.need_user(request)
        reference = f"RT-{len(self._world.forbidden):06d}"
        sql = "INSERT INTO bookings (reference, user_id, partner) VALUES ($1, $2, $3) RETURNING reference"
        await self._database.row(sql, reference, user.id, "opentable")
        return JSONResponse({"confirmation_number": reference, "status": "confirmed"}, 201)

    async def mine(self, request: Request) -> Response:
        """Reads, and in the real one writes as well (past ones become completed): no probe may come here."""
        self._world.forbidden.append("GET /api/reservations/my-reservations")
        user = self._auth.need_user(request)
        row = await self._database.row("SELECT count(*) AS n FROM bookings WHERE user_id = $1", user.id)
        if row is None:
            raise DatabaseDown("no answer to a count")
        return JSONResponse({"total": row["n"]})


def _table(found: dict[str, Any]) -> dict[str, Any]:
    names = {
        "venueId": "id",
        "name": "name",
        "cuisine": "cuisine_type",
        "rating": "rating",
        "priceRange": "price_range",
        "distance": "distance",
    }
    return {"provider": "opentable", **{ours: found.get(theirs) for ours, theirs in names.items()}}
