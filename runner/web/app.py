"""The routes. They get what they show as records and functions, and what they start (a reload, a gate) as functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from probes.core import Clock
from probes.text import iso
from runner.config.errors import RefusedFile
from runner.config.plan import Plan, Server
from runner.config.windows import Maintained
from runner.engine.maintenance import Maintenance
from runner.engine.reports import Reports
from runner.sinks.evidence import Evidence
from runner.sinks.health import Health, State
from runner.sinks.registry import OPENMETRICS, TEXT
from runner.sinks.scrape import scraped
from runner.web import api, flagger, heartbeats, view
from runner.web.access import Guard, refuse_operating
from runner.web.connections import Refused
from runner.web.gates import Gates
from runner.web.gates import Routes as GateRoutes
from runner.web.graph import graph
from runner.web.maintenance import Routes as MaintenanceRoutes
from runner.web.negotiation import wants_gzip, wants_openmetrics
from runner.web.pages import Pages
from runner.web.readers import Pace, Rendered

Reload = Callable[[], Awaitable[Sequence[str]]]
_DAY = "public, max-age=3600"


def app(
    *,
    plan: Callable[[], Plan],
    registry: CollectorRegistry,
    health: Health,
    evidence: Evidence,
    reload: Reload,
    ready: Callable[[], bool],
    clock: Clock,
    version: str,
    pages: Pages | None = None,
    gates: Gates | None = None,
    refused: Refused = lambda *_: None,
    refused_file: Callable[[], RefusedFile | None] = lambda: None,
    warnings: Callable[[], tuple[str, ...]] = tuple,
    maintenance: Maintenance | None = None,
    reports: Reports | None = None,
    run_now: Callable[[str], bool] = lambda _: False,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ASGIApp:
    """All routes of a runner as one ASGI application, guarded by runner.web.access.

    `plan` returns the plan that runs now; /metrics shows what is in `registry`. `reload` reads checks.yaml again and returns its
    errors, or nothing when the new plan runs. `ready` returns whether the schedule runs. Without `pages` the templates are read here:
    call it in a thread then. `refused` counts refused requests, and `wait` slows the response to a wrong token.
    `refused_file` returns the checks.yaml that is not in use because of its errors, `warnings` what else the runner lacks.
    """
    windows = maintenance.windows if maintenance else tuple
    routes = _Routes(plan, registry, health, evidence, reload, ready, clock, version, pages or Pages(), refused_file, warnings, windows)
    deployments = _gate_routes(gates, lambda: plan().server) if gates else []
    operating = MaintenanceRoutes(plan, maintenance, clock).all() if maintenance else []
    operating += heartbeats.routes(reports) if reports else []
    operating.append(_run_route(plan, run_now))
    inside = Starlette(routes=[*operating, *routes.all(), *deployments], exception_handlers={404: routes.missing})
    return Guard(inside, lambda: plan().server, refused, wait, Pace())


@dataclass(frozen=True, slots=True)
class _Routes:
    plan: Callable[[], Plan]
    registry: CollectorRegistry
    health: Health
    evidence: Evidence
    reload: Reload
    ready: Callable[[], bool]
    clock: Clock
    version: str
    pages: Pages
    refused_file: Callable[[], RefusedFile | None]
    warnings: Callable[[], tuple[str, ...]]
    windows: Callable[[], tuple[Maintained, ...]]
    shown: Rendered = field(default_factory=Rendered)
    scraped: Rendered = field(default_factory=Rendered)  # of its own: no page keeps a scrape waiting

    def all(self) -> list[Route]:
        return [
            Route("/", self.overview),
            Route("/checks/{name:path}", self.check),
            Route("/metrics", self.scrape),
            Route("/health/metrics", self.health_report),
            Route("/-/healthy", self.healthy),
            Route("/-/ready", self.is_ready),
            Route("/-/reload", self.reload_checks, methods=["POST"]),
            Route("/api/checks", self.api_checks),
            Route("/api/checks/{name:path}", self.api_check),
            Route("/static/{name}", self.static),
        ]

    async def scrape(self, request: Request) -> Response:
        """/metrics in the format and encoding that the scraper accepts. Scrapes at the same time share one page."""
        content_type = OPENMETRICS if wants_openmetrics(_header(request, "accept")) else TEXT
        packed = wants_gzip(_header(request, "accept-encoding"))
        body = await self.scraped.made((content_type, packed), partial(scraped, self.registry, content_type, packed=packed))
        headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"} | ({"content-encoding": "gzip"} if packed else {})
        return Response(body, headers=headers)

    async def health_report(self, _: Request) -> Response:
        """/health/metrics: runner.sinks.health describes its fields and status codes."""

        def begin() -> Callable[[], bytes]:
            status, report = self.health.report()
            refused = self.refused_file()
            since = {"refused_since": iso(refused.since), "errors": list(refused.errors)} if refused else {}
            report["configuration"] = {"loaded": not refused, **since}
            report |= {"warnings": list(found)} if (found := self.warnings()) else {}
            return lambda: b"%d" % status + JSONResponse(report).body

        made = await self.shown.get("health", begin, self._version)
        return Response(made[3:], int(made[:3]), media_type="application/json")

    async def healthy(self, _: Request) -> Response:
        """200 while the process responds, whatever the targets do."""
        return PlainTextResponse("healthy\n")

    async def is_ready(self, _: Request) -> Response:
        """200 when a plan is loaded and its schedule runs, else 503. It says whether options select the checks, and how far a start is."""
        if not self.ready():
            return PlainTextResponse("not ready\n", 503)
        plan = self.plan()  # no name is told: it is open to everybody
        selected = f"a selection of the checks runs here: {len(plan.checks)}\n" if plan.selected else ""
        ran, checks = self.health.progress()
        starting = f"{ran} of {checks} checks have run\n" if ran < checks else ""
        return PlainTextResponse(f"ready\n{selected}{starting}")

    async def reload_checks(self, request: Request) -> Response:
        """POST /-/reload: 200 when the new plan runs, 422 with the errors of checks.yaml when the old plan runs on."""
        if (refused := refuse_operating(request, self.plan().server)) is not None:
            return refused
        errors = list(await self.reload())
        warnings = {"warnings": list(found)} if (found := self.warnings()) else {}
        return JSONResponse({"reloaded": not errors, "errors": errors, **warnings}, 422 if errors else 200)

    async def overview(self, _: Request) -> Response:
        """The page at /."""

        def begin() -> Callable[[], bytes]:
            seen = self.health.states(), self.windows()
            return partial(self._overview, *seen, self.plan(), self.refused_file(), self.clock.time())

        return HTMLResponse(await self.shown.get("/", begin, self._version))

    def _overview(
        self, states: tuple[State, ...], windows: tuple[Maintained, ...], plan: Plan, refused: RefusedFile | None, now: float
    ) -> bytes:
        page = view.overview(states, _file(plan), now, windows)
        banner = view.banner(refused, _file(plan), now)
        around: dict[str, Any] = {"banner": banner, "warnings": self.warnings(), "version": self.version}
        around["graph"] = graph(states, now, {state.check.name: view.href(state.check.name) for state in states})
        return self.pages.render("overview.html", page=page, plan=plan, shape=page.shape, **around)

    async def check(self, request: Request) -> Response:
        """One check's page."""
        name, still = self._known(request), "still" in request.query_params

        def begin() -> Callable[[], bytes]:
            if self.health.state(name) is None:
                raise HTTPException(404)  # a reload removed it while this request waited
            seen = self.health.states(), self.evidence.failures(name), self.plan(), self.refused_file(), self.clock.time()
            return partial(self._check, name, still, *seen)

        return HTMLResponse(await self.shown.get(("check", name, still), begin, self._version))

    def _check(
        self,
        name: str,
        still: bool,  # noqa: FBT001 - as above
        states: tuple[State, ...],
        failures: tuple[Any, ...],
        plan: Plan,
        refused: RefusedFile | None,
        now: float,
    ) -> bytes:
        state = next(state for state in states if state.check.name == name)
        page = view.detail(state, states, failures, _file(plan), now)
        around: dict[str, Any] = {
            "parent": view.href(state.check.part_of),
            "banner": view.banner(refused, _file(plan), now),
            "still": still,
        }
        around["warnings"] = self.warnings()
        return self.pages.render("check.html", page=page, plan=plan, shape=page.row.shape, version=self.version, **around)

    async def api_checks(self, _: Request) -> Response:
        """Every check as JSON."""

        def begin() -> Callable[[], bytes]:
            states, now = self.health.states(), self.clock.time()
            return lambda: bytes(JSONResponse([api.summary(state, now) for state in states]).body)

        return Response(await self.shown.get("/api/checks", begin, self._version), media_type="application/json")

    async def api_check(self, request: Request) -> Response:
        """One check as JSON, with its recent runs and its last failures."""
        name = self._known(request)

        def begin() -> Callable[[], bytes]:
            state, failures, now = self.health.state(name), self.evidence.failures(name), self.clock.time()
            if state is None:
                raise HTTPException(404)
            return lambda: bytes(JSONResponse(api.detail(state, failures, now)).body)

        return Response(await self.shown.get(f"/api/checks/{name}", begin, self._version), media_type="application/json")

    async def missing(self, request: Request, _: Exception) -> Response:
        """404: a page where a page was asked for, with the names that are near; JSON below /api; else a line."""
        path = request.url.path
        if path.startswith("/api/"):
            return JSONResponse({"error": "not found; /api/checks lists all checks"}, 404)
        if not path.startswith("/checks/") or path == "/checks/":
            return PlainTextResponse("Not found. All checks are listed at /\n", 404)
        name, plan, now = request.path_params["name"], self.plan(), self.clock.time()
        page = view.missing(name, [state.check.name for state in self.health.states()], now)
        around: dict[str, Any] = {"plan": plan, "banner": view.banner(self.refused_file(), _file(plan), now), "version": self.version}
        around["warnings"] = self.warnings()
        return Response(self.pages.render("missing.html", page=page, shape="pending", **around), 404, media_type="text/html")

    async def static(self, request: Request) -> Response:
        """A file that the pages refer to."""
        found = self.pages.static(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return Response(found[0], headers={"content-type": found[1], "cache-control": _DAY})

    def _version(self) -> tuple[object, ...]:
        """What changes whenever a page would: the plan, what was observed, and the second."""
        return id(self.plan()), self.health.version, self.refused_file(), int(self.clock.time())

    def _known(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if self.health.state(name) is None:
            raise HTTPException(404)
        return name


def _run_route(plan: Callable[[], Plan], run_now: Callable[[str], bool]) -> Route:
    async def run_check(request: Request) -> Response:
        if (refused := refuse_operating(request, plan().server)) is not None:
            return refused
        if request.path_params["name"] not in {planned.check.name for planned in plan().checks}:
            return JSONResponse({"error": "there is no such check; /api/checks lists all checks"}, 404)
        if not run_now(request.path_params["name"]):
            return JSONResponse({"error": "it can't begin now: the check is running, or too many others are"}, 409)
        return JSONResponse({"run": "begun"}, 202)

    return Route("/api/checks/{name}/run", run_check, methods=["POST"])


def _gate_routes(gates: Gates, server: Callable[[], Server]) -> list[Route]:
    async def from_flagger(request: Request) -> Response:
        return await flagger.respond(request, server(), gates.run)

    routes = GateRoutes(gates, server)
    return [
        Route("/api/gate", routes.start, methods=["POST"]),
        Route("/api/gate/flagger", from_flagger, methods=["POST"]),
        Route("/api/gate/{id}", routes.progress),
        Route("/api/gate/{id}", routes.end, methods=["DELETE"]),
    ]


def _header(request: Request, name: str) -> str:
    return ", ".join(request.headers.getlist(name))


def _file(plan: Plan) -> str:
    return plan.path.name if plan.path else "checks.yaml"
