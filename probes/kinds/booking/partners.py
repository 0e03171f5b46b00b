"""The booking partners as data: their requests that read, their key headers, and the shape of their responses.

Kind `booking` can send these requests and no others. Requests that make, change or cancel a reservation are not here, and
can't be added: Read refuses them. A form of a user's own (see form) may hold something, and says how it is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from probes.expect.assertions import Expect
from probes.expect.contract import Shape
from probes.expect.json_path import JsonPath

ANY_SHAPE: Shape = "string|number|boolean|array|object|null"
_READS_BY_POST = frozenset({"/search/products", "/availability/check"})  # Viator's: they need a body, and change nothing
CHANGES = ("reserv", "book", "order", "session", "cancel", "cart", "hold", "payment", "create", "modify")


@dataclass(frozen=True, slots=True)
class Release:
    """The request that gives back what another one holds."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Read:
    """One request that reads. `{{name}}` in path, query and body is filled in from the search and from earlier responses.

    `results` is the path to the list (or the mapping by id) of results; `takes` maps a variable to the member of the first
    result that later requests need, or to its place there. One that is `declared` stands in checks.yaml: the target's rules decide.
    """

    name: str  # search, availability or quote
    path: str
    shape: Shape
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    results: tuple[str, ...] = ()
    takes: Mapping[str, str | JsonPath] = field(default_factory=dict)
    some: bool = False  # whether a response without results is a failure
    elsewhere: bool = False  # sent to availability_url where that is set: another host of the same partner
    declared: bool = False
    expect: Expect = field(default_factory=Expect)
    release: Release | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a request that may change something, unless it is declared."""
        if self.declared:
            return
        if self.method != "GET" and (self.method != "POST" or self.path not in _READS_BY_POST):
            raise ValueError(f"{self.method} {self.path} is not known to be a read")
        if any(word in self.path.lower() for word in CHANGES):
            raise ValueError(f"{self.path} is where reservations are made or changed")


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner: its public address, the headers with the key ({key}), and its requests in their order."""

    name: str
    base: str
    key_headers: Mapping[str, str]
    reads: tuple[Read, ...]
    headers: Mapping[str, str] = field(default_factory=dict)


_OPENTABLE = Partner(
    name="opentable",
    base="https://api.opentable.com/v2",
    key_headers={"Authorization": "Bearer {key}"},
    reads=(
        Read(
            name="search",
            path="/restaurants/search",
            query={
                "latitude": "{{latitude}}",
                "longitude": "{{longitude}}",
                "radius": "{{radius_miles}}",
                "party_size": "{{party}}",
                "per_page": "5",
                "sort_by": "distance",
                "date": "{{date}}",
                "time": "19:00",
            },
            shape={
                "restaurants": [
                    {
                        "id": "string",
                        "name": "string",
                        "cuisine_type?": "string",
                        "rating?": "number",
                        "price_range?": "string",
                        "distance?": "number",
                        "reservation_available?": "boolean",
                    }
                ]
            },
            results=("restaurants",),
            takes={"id": "id"},
            some=True,
        ),
        Read(
            name="availability",
            path="/restaurants/{{id}}/availability",
            query={"date": "{{date}}", "party_size": "{{party}}", "time": "19:00", "range_minutes": "120"},
            shape={
                "time_slots": [
                    {
                        "time": "string",
                        "availability_type?": "string",
                        "pricing?": {"reservation_fee?": "number", "per_person_minimum?": "number", "currency?": "string"},
                    }
                ],
                "restaurant_name?": "string",
            },
            results=("time_slots",),
        ),
    ),
)

_RECREATION = Partner(
    name="recreation",
    base="https://ridb.recreation.gov/api/v1",
    key_headers={"apikey": "{key}", "X-Api-Key": "{key}", "Authorization": "Bearer {key}"},
    reads=(
        Read(
            name="search",
            path="/facilities",
            query={
                "latitude": "{{latitude}}",
                "longitude": "{{longitude}}",
                "radius": "{{radius_miles}}",
                "limit": "5",
                "offset": "0",
            },
            shape={
                "RECDATA": [
                    {
                        "FacilityID": "string",
                        "FacilityName": "string",
                        "FacilityLatitude": "number",
                        "FacilityLongitude": "number",
                        "FacilityTypeDescription?": "string",
                    }
                ]
            },
            results=("RECDATA",),
            takes={"id": "FacilityID"},
            some=True,
        ),
        Read(
            name="availability",
            path="/{{id}}/availability",
            query={"start_date": "{{date}}T00:00:00.000Z", "end_date": "{{next_date}}T00:00:00.000Z"},
            shape={"campsites": "object", "facility_name?": "string"},
            results=("campsites",),
            elsewhere=True,
        ),
    ),
)

_SHELL = Partner(
    name="shell",
    base="https://api.shellrecharge.com/v2",
    key_headers={"X-API-Key": "{key}"},
    reads=(
        Read(
            name="search",
            path="/locations/nearby",
            query={
                "latitude": "{{latitude}}",
                "longitude": "{{longitude}}",
                "radius": "{{radius_km}}",
                "limit": "5",
                "include": "connectors,pricing,amenities",
            },
            shape={
                "data": [
                    {
                        "id": "string",
                        "name": "string",
                        "address": {"street": "string", "city": "string"},
                        "coordinates": {"latitude": "number", "longitude": "number"},
                        "distance": "number",
                        "connectors?": [{"id": "string", "type": "string", "max_power_kw": "number"}],
                    }
                ]
            },
            results=("data",),
            takes={"id": "id"},
            some=True,
        ),
        Read(
            name="availability",
            path="/locations/{{id}}/availability",
            shape={"connectors": [{"id": "string", "status": "string", "active_session_id?": "string"}]},
            results=("connectors",),
            takes={"connector": "id"},
            some=True,
        ),
        Read(
            name="quote",
            path="/locations/{{id}}/connectors/{{connector}}",
            query={"include": "status,pricing"},
            shape={
                "data": {
                    "status": "string",
                    "max_power_kw": "number",
                    "pricing": {"per_kwh": "number", "per_minute?": "number", "session_fee?": "number", "currency?": "string"},
                }
            },
        ),
    ),
)

_VIATOR = Partner(
    name="viator",
    base="https://api.viator.com/partner",
    key_headers={"exp-api-key": "{key}"},
    headers={"Accept": "application/json;version=2.0", "Accept-Language": "en-US"},
    reads=(
        Read(
            name="search",
            path="/search/products",
            method="POST",
            body={
                "currency": "USD",
                "limit": 5,
                "filters": [
                    {"type": "location", "value": {"latitude": "{{latitude}}", "longitude": "{{longitude}}", "radius": "{{radius_km}}"}},
                    {"type": "dateRange", "value": {"from": "{{date}}", "to": "{{next_date}}"}},
                ],
            },
            shape={"products": [{"productCode": "string", "title": "string"}]},
            results=("products",),
            takes={"id": "productCode"},
            some=True,
        ),
        Read(
            name="availability",
            path="/availability/check",
            method="POST",
            body={
                "productCode": "{{id}}",
                "travelDate": "{{date}}",
                "currency": "USD",
                "paxMix": [{"ageBand": "ADULT", "numberOfTravelers": "{{party}}"}],
            },
            shape={"bookableItems": [{"available": "boolean", "productOptionCode?": "string", "totalPrice?": "object"}]},
            results=("bookableItems",),
        ),
    ),
)

PARTNERS: Mapping[str, Partner] = MappingProxyType({each.name: each for each in (_OPENTABLE, _RECREATION, _SHELL, _VIATOR)})
