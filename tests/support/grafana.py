"""A stand-in for Grafana's annotations, on a real port: both APIs, their odd answers, and faults between any two questions.

It does what Grafana's own source does with what it is sent, as far as annotations and their dashboards go.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from demo._site import Site, line_of

TOKEN = "glsa_4f7d1c0b9e8a_made-up"
APIS = "/apis/annotation.grafana.app/v0alpha1/namespaces/{namespace}"
NEVER_STORED = 1_795_521_600_000  # what a missing `time` becomes: noon of the stand-in's day
_TAGS_LENGTH = 500
_PAGE = "<html><title>Grafana</title><form action='/login'></form></html>"


class StandInGrafana:
    """Its annotations, what it was asked, and how it misbehaves. `start` and `stop` may be called again: the port stays."""

    def __init__(self) -> None:
        self.annotations: list[dict[str, Any]] = []  # the legacy API's
        self.resources: dict[str, dict[str, Any]] = {}  # the new API's, by name
        self.dashboards = {"roadtrip-overview"}
        self.asked: list[tuple[str, str]] = []
        self.sent: list[bytes] = []
        self.faults: list[str | int] = []  # one for each question to come: see `_fault`
        self.always: str | int | None = None
        self.odd: set[str] = set()  # patch-keeps-end, put-keeps-end, id-0, no-legacy, no-apis, no-search, no-delete, no-patch, viewer
        self.before: Callable[[str], None] = lambda _: None  # called with each question's method, before it is answered
        self._next = 1
        self._site = Site(self._application())

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return self._site.url

    async def start(self) -> None:
        """Listens, on the same port as before."""
        await self._site.start()

    async def stop(self) -> None:
        """Goes down; what it holds stays."""
        await self._site.stop()

    def regions(self) -> list[dict[str, Any]]:
        """What a dashboard would show, of either API: text, time, timeEnd, tags."""
        return self.annotations + [r["spec"] for r in self.resources.values()]

    def _application(self) -> Starlette:
        one = "/api/annotations/{id:int}"
        ours = f"{APIS}/annotations"
        table: tuple[tuple[str, str, Callable[..., Response]], ...] = (
            ("GET", "/api/annotations", self._list),
            ("POST", "/api/annotations", self._post),
            ("PATCH", one, self._patch),
            ("PUT", one, self._put),
            ("DELETE", one, self._delete),
            ("GET", "/api/dashboards/uid/{uid}", self._dashboard),
            ("GET", f"{APIS}/search", self._search),
            ("GET", ours, self._listed),
            ("POST", ours, self._create),
            ("GET", ours + "/{name}", self._get),
            ("PATCH", ours + "/{name}", self._merge),
            ("DELETE", ours + "/{name}", self._drop),
        )
        return Starlette(routes=[Route(path, self._endpoint(answer), methods=[method]) for method, path, answer in table])

    def _endpoint(self, answer: Callable[..., Response]) -> Any:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            self.asked.append((request.method, request.url.path))
            self.sent.append(body)
            self.before(request.method)
            fault = self.faults.pop(0) if self.faults else self.always
            if fault == "lost":  # carried out, and the answer never comes
                answer(request, body)
            if fault is not None and fault != "none":
                return self._fault(request, fault)
            return self._denied(request) or answer(request, body)

        return endpoint

    def _fault(self, request: Request, fault: str | int) -> Response:
        if fault in ("lost", "reset"):
            line_of(request.scope).reset()
            return PlainTextResponse("")
        if fault == "login":
            return RedirectResponse("/login", 302)
        if fault == "page":
            return Response(_PAGE, media_type="text/html")
        if str(fault).startswith("slow-down"):  # in so many seconds
            return JSONResponse({"message": "too many requests"}, 429, {"Retry-After": str(fault).removeprefix("slow-down") or "7"})
        if fault == "huge":
            return Response(b"[" + b" " * (5 << 20) + b"]", media_type="application/json")
        return Response(_PAGE, int(fault), media_type="text/html")

    def _denied(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            said = f"invalid API key {request.headers.get('authorization', '')}"
            return JSONResponse({"message": said}, 401)
        if "viewer" in self.odd and request.method != "GET":
            return JSONResponse({"message": "You'll need additional permissions to perform this action."}, 403)
        if f"no-{request.method.lower()}" in self.odd:
            return JSONResponse({"message": "Permission denied"}, 403)
        gone = "no-apis" if request.url.path.startswith("/apis/") else "no-legacy"
        if gone in self.odd and "dashboards" not in request.url.path:
            return JSONResponse({"message": "Not found"}, 404)
        return None

    # The legacy API

    def _list(self, request: Request, _: bytes) -> Response:
        uid = request.query_params.get("dashboardUID")
        if uid and uid not in self.dashboards:
            return JSONResponse({"message": "Dashboard not found"}, 400)
        tags = set(request.query_params.getlist("tags"))
        found = [a for a in self.annotations if tags <= set(a["tags"])]
        found.sort(key=lambda a: -int(a["time"]))
        return JSONResponse(found[: int(request.query_params.get("limit", 100))])

    def _post(self, _: Request, body: bytes) -> Response:
        try:
            item = json.loads(body)
        except ValueError:
            return JSONResponse({"message": "bad request data"}, 400)
        if not item.get("text"):
            return JSONResponse({"message": "Failed to save annotation: text field should not be empty"}, 400)
        if sum(len(tag.encode()) + 3 for tag in item.get("tags", [])) + 1 > _TAGS_LENGTH:
            return JSONResponse({"message": "Failed to save annotation: tags length exceeds the maximum allowed"}, 400)
        time = int(item.get("time") or NEVER_STORED)
        ends = int(item.get("timeEnd") or time)
        uid = item.get("dashboardUID", "")
        number = 0 if "id-0" in self.odd else self._next
        self._next += 1
        known = uid if uid in self.dashboards else ""
        stored = {"id": number, "text": item["text"], "time": min(time, ends), "timeEnd": max(time, ends), "tags": item.get("tags", [])}
        self.annotations.append(stored | {"dashboardUID": known, "panelId": item.get("panelId", 0) if known else 0})
        return JSONResponse({"message": "Annotation added", "id": number})

    def _found(self, request: Request) -> dict[str, Any] | None:
        number = request.path_params["id"]
        return next((a for a in self.annotations if number and a["id"] == number), None)

    def _patch(self, request: Request, body: bytes) -> Response:
        return self._changed(request, body, "Annotation patched", "patch-keeps-end")

    def _put(self, request: Request, body: bytes) -> Response:
        return self._changed(request, body, "Annotation updated", "put-keeps-end")

    def _changed(self, request: Request, body: bytes, said: str, keeps_end: str) -> Response:
        if (stored := self._found(request)) is None:
            return JSONResponse({"message": "Annotation not found"}, 404)
        item = json.loads(body)
        names = ["text", "tags", "time", *([] if keeps_end in self.odd else ["timeEnd"])]
        stored.update({name: item[name] for name in names if item.get(name)})
        stored["timeEnd"] = max(int(stored["time"]), int(stored["timeEnd"]))
        return JSONResponse({"message": said})

    def _delete(self, request: Request, _: bytes) -> Response:
        if (stored := self._found(request)) is None:
            return JSONResponse({"message": "Annotation not found"}, 404)
        self.annotations.remove(stored)
        return JSONResponse({"message": "Annotation deleted"})

    def _dashboard(self, request: Request, _: bytes) -> Response:
        uid = request.path_params["uid"]
        known = uid in self.dashboards
        return JSONResponse({"dashboard": {"uid": uid}} if known else {"message": "Dashboard not found"}, 200 if known else 404)

    # The new API

    def _search(self, request: Request, _: bytes) -> Response:
        if "no-search" in self.odd:
            return JSONResponse({"kind": "Status", "message": "the server could not find the requested resource"}, 404)
        tags = set(request.query_params.getlist("tag"))
        found = [r for r in self.resources.values() if tags <= set(r["spec"].get("tags", []))]
        return JSONResponse({"kind": "AnnotationList", "items": found})

    def _listed(self, _request: Request, _: bytes) -> Response:
        return JSONResponse({"kind": "AnnotationList", "items": list(self.resources.values())})

    def _create(self, _: Request, body: bytes) -> Response:
        item = json.loads(body)
        name = item["metadata"]["name"]
        if name in self.resources:
            return JSONResponse({"kind": "Status", "message": f'annotations "{name}" already exists'}, 409)
        self.resources[name] = item
        return JSONResponse(item, 201)

    def _get(self, request: Request, _: bytes) -> Response:
        stored = self.resources.get(request.path_params["name"])
        return JSONResponse(stored or {"kind": "Status", "message": "not found"}, 200 if stored else 404)

    def _merge(self, request: Request, body: bytes) -> Response:
        stored = self.resources.get(request.path_params["name"])
        if stored is None or request.headers["content-type"] != "application/merge-patch+json":
            return JSONResponse({"kind": "Status", "message": "not found"}, 404 if stored is None else 415)
        stored["spec"].update({k: v for k, v in json.loads(body)["spec"].items() if k in ("text", "tags")})
        return JSONResponse(stored)

    def _drop(self, request: Request, _: bytes) -> Response:
        stored = self.resources.pop(request.path_params["name"], None)
        return JSONResponse({"kind": "Status", "status": "Success"}, 200 if stored else 404)


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandInGrafana]:
    """One that is up until the end."""
    grafana = StandInGrafana()
    await grafana.start()
    try:
        yield grafana
    finally:
        await grafana.stop()
