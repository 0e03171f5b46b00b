"""A real web application on a free port of 127.0.0.1 for one test: Starlette routes on uvicorn, in the running loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo._site import Site

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Web:
    """Where the application listens, and what it was asked, in order: method, path with query, headers, body."""

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[Web]:
    """Serves `{"GET /path": answer}`: a JSON value, a Response, or a coroutine function that makes one of the request."""
    web = Web()

    def endpoint(answer: Any) -> Handler:
        async def answering(request: Request) -> Response:
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            web.asked.append((request.method, path))
            web.requests.append((request.headers, await request.body()))
            if callable(answer) and not isinstance(answer, Response):
                made: Response = await answer(request)
                return made
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return answering

    routes = []
    for written, answer in answers.items():
        method, _, path = written.partition(" ")
        routes.append(Route(path, endpoint(answer), methods=[method]))
    site = Site(Starlette(routes=routes))
    await site.start()
    web.url = site.url
    try:
        yield web
    finally:
        await site.stop()
