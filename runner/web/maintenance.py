"""/api/maintenance: the maintenance windows, and opening and ending one by hand.

    GET /api/maintenance            every window that is open or to come
    POST /api/maintenance           opens one now: {"for": "30m", "tags": ["api"], "why": "...", "by": "..."}; 201
    DELETE /api/maintenance/{id}    ends one that was opened so

A change needs the operate token. A window names its checks, tags or targets; `"all": true` covers every check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from judge.observation import Check
from probes.core import Clock
from probes.fields import positive_seconds
from probes.text import age, iso
from runner.config.plan import Plan
from runner.config.windows import Covered, Maintained
from runner.engine.maintenance import LONGEST, Maintenance
from runner.web.access import refuse_operating
from runner.web.bodies import body_within, json_object

MOST_BYTES = 64 * 1024  # of a request
_Names = Annotated[tuple[str, ...], Field(max_length=1000)]


class _WindowRequest(BaseModel):
    """The body of POST /api/maintenance."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    seconds: Annotated[float, BeforeValidator(positive_seconds), Field(alias="for", le=LONGEST)]
    why: str = Field(min_length=1, max_length=500)
    by: str = Field(default="the API", min_length=1, max_length=100)
    name: str = Field(default="opened by hand", min_length=1, max_length=100)
    checks: _Names = ()
    tags: _Names = ()
    targets: _Names = ()
    all: bool = False

    @model_validator(mode="after")
    def _covers_something(self) -> Self:
        if self.all == bool(self.checks or self.tags or self.targets):
            raise ValueError("name checks, tags or targets, or say all: true")
        return self


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes below /api/maintenance."""

    plan: Callable[[], Plan]
    maintenance: Maintenance
    clock: Clock

    def all(self) -> list[Route]:
        """Every route."""
        return [
            Route("/api/maintenance", self.windows),
            Route("/api/maintenance", self.start, methods=["POST"]),
            Route("/api/maintenance/{id}", self.end, methods=["DELETE"]),
        ]

    async def windows(self, _: Request) -> Response:
        """GET /api/maintenance."""
        return JSONResponse([self._row(one) for one in self.maintenance.windows()])

    async def start(self, request: Request) -> Response:
        """POST /api/maintenance."""
        if (refused := refuse_operating(request, self.plan().server)) is not None:
            return refused
        body = await body_within(request, MOST_BYTES)
        try:
            if body is None:
                raise ValueError(f"a request may have at most {MOST_BYTES:,} bytes")
            wanted = _read(json_object(body))
            covered = Covered(wanted.checks, wanted.tags, wanted.targets)
            if wrong := [message for _, _, message in covered.unknown(self._checks())]:
                raise ValueError("; ".join(wrong))
            one = await self.maintenance.open(wanted.name, wanted.seconds, covered, why=wanted.why, by=wanted.by)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(self._row(one), 201, {"location": f"/api/maintenance/{one.window.id}"})

    async def end(self, request: Request) -> Response:
        """DELETE /api/maintenance/{id}."""
        if (refused := refuse_operating(request, self.plan().server)) is not None:
            return refused
        one = await self.maintenance.end(request.path_params["id"])
        if one is None:
            return JSONResponse({"error": "no window with this id is open; those of checks.yaml end when the file says so"}, 404)
        return JSONResponse(self._row(one))

    def _checks(self) -> list[Check]:
        return [check for planned in self.plan().checks for check in (planned.check, *planned.parts)]

    def _row(self, one: Maintained) -> dict[str, Any]:
        checks = [check.name for check in self._checks() if check in one.window.covered and not check.part_of]
        return row(one, self.clock.time()) | {"covers": checks}


def row(one: Maintained, now: float) -> dict[str, Any]:
    """A window for programs."""
    window, span = one.window, one.span
    found: dict[str, Any] = {"id": window.id or None, "name": window.name, "why": window.why, "by": window.by}
    found |= {"from": iso(span.start), "until": iso(span.end), "open": span.start <= now < span.end}
    found |= {key: list(getattr(window.covered, key)) for key in ("checks", "tags", "targets")}
    return found | {"ends_in": age(span.end - now)} if span.start <= now < span.end else found


def _read(body: dict[str, Any]) -> _WindowRequest:
    try:
        return _WindowRequest.model_validate(body)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc'])) or 'request'}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors())
        raise ValueError("; ".join(problems)) from None
