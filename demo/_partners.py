"""Two booking partners, OpenTable and Recreation.gov: reading is answered, booking is answered as well, and noted as forbidden."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._limits import SlidingWindow
from demo._world import ReceivedRequest, World, who

OPENTABLE_BASE, RECREATION_BASE = "/v2", "/api/v1"
RECREATION_AVAILABILITY = "/api/camps/availability/campground"
RESTAURANTS = (
    ("ot-1042", "The Salted Anchor", "Seafood", 4.6),
    ("ot-2210", "Ridge & Ember", "Californian", 4.3),
    ("ot-3377", "Casa Alameda", "Mexican", 4.5),
)
CAMPS = (("232447", "Upper Pines", 37.7361, -119.5625), ("233116", "Kirby Cove", 37.8257, -122.4905))


class _Partner:
    """What both have in common: the key, the limit a minute, who asked, and that booking is noted."""

    part = ""

    def __init__(self, world: World, key: str, a_minute: int) -> None:
        self._world = world
        self._keys = (key, world.secrets.application_key)
        self._window = SlidingWindow(world.clock, a_minute, 60.0)

    def key_of(self, request: Request) -> str:
        """The key that the request carries."""
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def fault(self) -> Response | None:
        """A fault of this partner as a whole."""
        return None

    def guarded(self, respond: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Fault, key and limit before the answer; the visit after it."""

        async def guard(request: Request) -> Response:
            response = self.fault() or self._refusal(self.key_of(request)) or await respond(request)
            agent = request.headers.get("user-agent", "")
            self._world.record(
                ReceivedRequest(
                    self._world.clock.time(), self.part, who(agent), agent, request.method, request.url.path, response.status_code
                )
            )
            return response

        return guard

    def _refusal(self, key: str) -> Response | None:
        if key not in self._keys:
            return JSONResponse({"error": "unauthorized", "message": "The API key is not valid"}, 401)
        if self._world.limits and not self._window.take(key):
            return self.too_many(max(1, round(self._window.wait(key))))
        return None

    def too_many(self, wait: int) -> Response:
        """429 and when to come back."""
        return JSONResponse({"error": "too_many_requests", "message": "Rate limit exceeded"}, 429, {"Retry-After": str(wait)})

    async def booked(self, request: Request) -> Response:
        """Books in the real one: no probe may come here. Here it is noted."""
        self._world.forbidden.append(f"{self.part}: {request.method} {request.url.path}")
        return JSONResponse({"confirmation_number": "OT-000001", "status": "confirmed"}, 201)


class OpenTable(_Partner):
    """Restaurants: searched, asked for free tables. The partner that the partner-* faults break."""

    part = "opentable"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.secrets.opentable, 60)

    def app(self) -> Starlette:
        """The ASGI application."""
        paths = {"/restaurants/search": self.search, "/restaurants/{id}/availability": self.availability}
        reads = [Route(OPENTABLE_BASE + path, self.guarded(respond)) for path, respond in paths.items()]
        writes = [
            Route(f"{OPENTABLE_BASE}/reservations", self.guarded(self.booked), methods=["POST"]),
            Route(f"{OPENTABLE_BASE}/reservations/{{id}}", self.guarded(self.booked), methods=["DELETE", "PUT"]),
        ]
        return Starlette(routes=[*reads, *writes])

    def fault(self) -> Response | None:
        """partner-429 and partner-500."""
        if "partner-429" in self._world.faults:
            return self.too_many(30)
        if "partner-500" in self._world.faults:
            return JSONResponse({"error": "internal", "message": "Something went wrong"}, 500)
        return None

    def _marked(self, body: dict[str, Any]) -> Response:
        return JSONResponse({**body, "mock": True} if "partner-mock" in self._world.faults else body)

    async def search(self, _request: Request) -> Response:
        """Restaurants near a place."""
        found = [
            {
                "id": number,
                "name": name,
                "cuisine_type": cuisine,
                "rating": f"{rating} stars" if "partner-schema" in self._world.faults else rating,
                "price_range": "$$",
                "distance": 0.4 + place,
                "reservation_available": True,
            }
            for place, (number, name, cuisine, rating) in enumerate(RESTAURANTS)
        ]
        return self._marked({"restaurants": found, "total_count": len(found)})

    async def availability(self, request: Request) -> Response:
        """Free tables of one restaurant, with what a table costs."""
        names = {number: name for number, name, _, _ in RESTAURANTS}
        number = request.path_params["id"]
        if number not in names:
            return JSONResponse({"error": "not_found", "message": "No such restaurant"}, 404)
        pricing = {"reservation_fee": 0.0, "per_person_minimum": 25.0, "currency": "USD"}
        slots = [{"time": time, "availability_type": "standard", "pricing": pricing} for time in ("18:30", "19:00", "20:15")]
        return self._marked({"restaurant_id": number, "restaurant_name": names[number], "time_slots": slots})


class Recreation(_Partner):
    """Camp sites: searched, asked for free nights. It stays well under every fault."""

    part = "recreation"

    def __init__(self, world: World) -> None:
        super().__init__(world, world.secrets.recreation, 30)

    def key_of(self, request: Request) -> str:
        """The key in any of the three headers that it takes."""
        return request.headers.get("apikey") or request.headers.get("x-api-key") or super().key_of(request)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(f"{RECREATION_BASE}/facilities", self.guarded(self.search)),
                Route(f"{RECREATION_BASE}/{{id}}/availability", self.guarded(self.availability)),
                Route(f"{RECREATION_AVAILABILITY}/{{id}}/availability", self.guarded(self.availability)),
                Route(f"{RECREATION_BASE}/reservations", self.guarded(self.booked), methods=["POST"]),
            ]
        )

    async def search(self, _request: Request) -> Response:
        """Facilities near a place."""
        found = [
            {
                "FacilityID": number,
                "FacilityName": name,
                "FacilityLatitude": north,
                "FacilityLongitude": east,
                "FacilityTypeDescription": "Campground",
                "Reservable": True,
            }
            for number, name, north, east in CAMPS
        ]
        count = {"CURRENT_COUNT": len(found), "TOTAL_COUNT": len(found)}
        return JSONResponse({"RECDATA": found, "METADATA": {"RESULTS": count}})

    async def availability(self, request: Request) -> Response:
        """Free nights of one campground."""
        names = {number: name for number, name, _, _ in CAMPS}
        number = request.path_params["id"]
        if number not in names:
            return JSONResponse({"error": "not_found", "message": "No such facility"}, 404)
        night = request.query_params.get("start_date", "2026-07-01T00:00:00.000Z")
        sites = {f"{number}{n:02d}": {"site": f"{n:03d}", "availabilities": {night: "Available"}} for n in (1, 2, 7)}
        return JSONResponse({"facility_id": number, "facility_name": names[number], "campsites": sites})
