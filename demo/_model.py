"""The AI service: what it says to a prompt, its routes, and its faults. The vendors' forms are in _model_forms."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from demo._model_forms import BAD_KEY, Anthropic, Asked, Event, Form, Gemini, OpenAI, Responses
from demo._model_reply import MODELS, reply
from demo._world import ReceivedRequest, World, who

_FAULTS = ("refuses", "empty", "thinks")


class Model:
    """The routes of the vendors' forms, and the faults of the model."""

    def __init__(self, world: World) -> None:
        self._world = world

    def app(self) -> Starlette:
        """The ASGI application."""
        vertex = "/v1/projects/{project}/locations/{region}/publishers/google/models/{call}"
        return Starlette(
            routes=[
                Route("/v1beta/models/{call}", self._route(Gemini()), methods=["POST"]),
                Route(vertex, self._route(Gemini(vertex=True)), methods=["POST"]),
                Route("/v1/chat/completions", self._route(OpenAI()), methods=["POST"]),
                Route("/v1/responses", self._route(Responses()), methods=["POST"]),
                Route("/v1/messages", self._route(Anthropic()), methods=["POST"]),
                Route("/v1/models", self.models),
            ]
        )

    def _note(self, request: Request, status: int) -> None:
        agent = request.headers.get("user-agent", "")
        self._world.record(ReceivedRequest(self._world.clock.time(), "ai", who(agent), agent, request.method, request.url.path, status))

    async def models(self, request: Request) -> Response:
        """Which models there are."""
        self._note(request, 200)
        return JSONResponse({"object": "list", "data": [{"id": model, "object": "model"} for model in MODELS]})

    def _route(self, form: Form) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            asked = form.read(request, await _read(request))
            if trouble := self._trouble(form.key(request)) or form.trouble(request, asked):
                status, code, message = trouble
                self._note(request, status)
                headers = {"Retry-After": "30"} if status == 429 else {}  # noqa: PLR2004 - HTTP's own number
                return JSONResponse(form.error(status, code, message), form.status(status, code), headers)
            self._note(request, 200)
            return await self._respond(form, asked, self._reply_fault(form.key(request)))

        return respond

    async def _respond(self, form: Form, asked: Asked, fault: str) -> Response:
        made = reply(asked.model, asked.prompt, asked.most, thinks=asked.thinks, fault=fault)
        if asked.stream:
            return self._stream(form.events(made, asked))
        await self._think()
        return JSONResponse(form.whole(made))

    def _reply_fault(self, key: str) -> str:
        """What the model does to the probe alone instead of an answer."""
        if key != self._world.secrets.ai_key:
            return ""
        return next((fault for fault in _FAULTS if f"ai-{fault}" in self._world.faults), "")

    def _trouble(self, key: str) -> tuple[int, str, str] | None:
        """The faults of the model, and a wrong key: status, code and message."""
        if "ai-down" in self._world.faults:
            return 503, "UNAVAILABLE", "The model is overloaded. Please try again later."
        if key not in (self._world.secrets.ai_key, self._world.secrets.application_key):
            return 401, BAD_KEY, "Incorrect API key provided"
        if "ai-throttled" in self._world.faults and key == self._world.secrets.ai_key:
            return 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"
        return None

    async def _think(self) -> None:
        await self._world.pause(self._world.delays.first_token if "ai-slow" in self._world.faults else self._world.delays.token)

    def _stream(self, events: list[Event]) -> Response:
        """Server-sent events; ai-truncated sends the first half alone, of what comes before the first mark of an end."""
        if "ai-truncated" in self._world.faults:
            events = [event for event in events if not event.ends]
            events = events[: max(1, len(events) // 2)]

        async def pieces() -> AsyncIterator[str]:
            await self._think()
            for number, event in enumerate(events):
                if number:
                    await self._world.pause(self._world.delays.token)
                name = f"event: {event.name}\r\n" if event.name else ""
                yield f"{name}data: {event.data if isinstance(event.data, str) else json.dumps(event.data)}\r\n\r\n"

        return StreamingResponse(pieces(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _read(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
