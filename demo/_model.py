"""The AI service: Gemini's and OpenAI's chat forms, whole or streamed, as far as a client can see."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from demo._world import MODEL, ReceivedRequest, World, who

MODELS = (MODEL, "gemini-1.5-flash", "gemini-2.0-flash-001", "gpt-4o-mini")
TALE = (
    "Long before the highway, a mule train crossed this ridge by night. The driver, Inez, sang so that the animals would follow her "
    "voice and not the drop beside them. When the fog comes in over the water, people here still leave a lamp in the window, and say "
    "that it is for her."
)
BAD_KEY = "invalid_api_key"  # 401 at OpenAI, 400 at Google
_ONE_WORD = re.compile(r"one word only:\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to a prompt, in pieces, and what it counts."""

    model: str
    pieces: tuple[str, ...]
    prompt_tokens: int
    cut: bool

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """Tokens of the answer: one a piece."""
        return len(self.pieces)


def reply(model: str, prompt: str, most: int | None) -> Reply:
    """The model's answer to a prompt, at most so many tokens of it."""
    found = _ONE_WORD.search(prompt)
    pieces = re.findall(r"\w{1,3}", found[1]) if found else re.findall(r"\S+\s*", TALE)
    kept = pieces if most is None else pieces[:most]
    return Reply(model, tuple(kept), max(1, len(re.findall(r"\w+|[^\w\s]", prompt))), len(kept) < len(pieces))


class Model:
    """The two forms of the chat endpoint, and the faults of the model."""

    def __init__(self, world: World) -> None:
        self._world = world

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1beta/models/{call}", self.gemini, methods=["POST"]),
                Route("/v1/chat/completions", self.openai, methods=["POST"]),
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

    async def gemini(self, request: Request) -> Response:
        """`{model}:generateContent` and `{model}:streamGenerateContent?alt=sse`."""
        key = request.headers.get("x-goog-api-key") or request.query_params.get("key", "")
        model, _, method = request.path_params["call"].partition(":")
        if trouble := self._gemini_trouble(key, model, method):
            return self._refuse(request, *trouble, google=True)
        body = await _read(request)
        prompt = " ".join(str(part.get("text", "")) for content in body.get("contents", []) for part in content.get("parts", []))
        if not prompt:
            return self._refuse(request, 400, "INVALID_ARGUMENT", "contents is not specified", google=True)
        made = reply(model, prompt, (body.get("generationConfig") or {}).get("maxOutputTokens"))
        self._note(request, 200)
        if method == "generateContent":
            await self._think()
            return JSONResponse(_gemini_chunk(made, made.text, made.tokens, last=True))
        events = [_gemini_chunk(made, piece, n, last=n == made.tokens) for n, piece in enumerate(made.pieces, 1)]
        return self._stream([json.dumps(event) for event in events], [])

    async def openai(self, request: Request) -> Response:
        """`/v1/chat/completions`."""
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        body = await _read(request)
        if trouble := self._trouble(key):
            return self._refuse(request, *trouble, google=False)
        if body.get("model") not in MODELS:
            return self._refuse(request, 404, "model_not_found", f"The model `{body.get('model')}` does not exist", google=False)
        prompt = " ".join(str(message.get("content", "")) for message in body.get("messages", []))
        made = reply(body["model"], prompt, body.get("max_completion_tokens") or body.get("max_tokens"))
        self._note(request, 200)
        if not body.get("stream"):
            await self._think()
            return JSONResponse(_openai_whole(made))
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return self._stream([json.dumps(event) for event in _openai_chunks(made, usage=usage)], ["[DONE]"])

    def _gemini_trouble(self, key: str, model: str, method: str) -> tuple[int, str, str] | None:
        if (trouble := self._trouble(key)) is not None:
            return (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.") if trouble[1] == BAD_KEY else trouble
        if model not in MODELS or method not in ("generateContent", "streamGenerateContent"):
            return 404, "NOT_FOUND", f"models/{model} is not found for API version v1beta, or is not supported for {method}"
        return None

    def _trouble(self, key: str) -> tuple[int, str, str] | None:
        """The faults of the model, and a wrong key: status, code and message."""
        if "ai-down" in self._world.faults:
            return 503, "UNAVAILABLE", "The model is overloaded. Please try again later."
        if key not in (self._world.secrets.ai_key, self._world.secrets.application_key):
            return 401, BAD_KEY, "Incorrect API key provided"
        if "ai-throttled" in self._world.faults and key == self._world.secrets.ai_key:
            return 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"
        return None

    def _refuse(self, request: Request, status: int, code: str, message: str, *, google: bool) -> Response:
        self._note(request, status)
        headers = {"Retry-After": "30"} if status == 429 else {}  # noqa: PLR2004 - HTTP's own number
        if google:
            return JSONResponse({"error": {"code": status, "message": message, "status": code}}, status, headers)
        return JSONResponse(
            {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code.lower()}}, status, headers
        )

    async def _think(self) -> None:
        await self._world.pause(self._world.delays.first_token if "ai-slow" in self._world.faults else self._world.delays.token)

    def _stream(self, events: list[str], end: list[str]) -> Response:
        """Server-sent events; ai-truncated leaves out what marks the end, however the events are counted."""
        if "ai-truncated" in self._world.faults:
            events, end = _without_end(events), []

        async def pieces() -> AsyncIterator[str]:
            await self._think()
            for number, event in enumerate([*events, *end]):
                if number:
                    await self._world.pause(self._world.delays.token)
                yield f"data: {event}\r\n\r\n"

        return StreamingResponse(pieces(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _read(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _without_end(events: list[str]) -> list[str]:
    """The events before the first that says it is the end; what is left has no end mark either."""
    kept = [json.loads(event) for event in events]
    for event in kept:
        for choice in event.get("candidates", []) + event.get("choices", []):
            choice.pop("finishReason", None)
            if choice.get("finish_reason"):
                choice["finish_reason"] = None
        event.pop("usageMetadata", None)
    half = kept[: max(1, len(kept) // 2)]
    return [json.dumps(event) for event in half]


def _gemini_chunk(made: Reply, text: str, so_far: int, *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if made.cut else "STOP"
    usage = {"promptTokenCount": made.prompt_tokens, "candidatesTokenCount": so_far, "totalTokenCount": made.prompt_tokens + so_far}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": made.model, "responseId": uuid.uuid4().hex}


def _openai_usage(made: Reply) -> dict[str, int]:
    return {"prompt_tokens": made.prompt_tokens, "completion_tokens": made.tokens, "total_tokens": made.prompt_tokens + made.tokens}


def _openai_whole(made: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": made.text}
    choice = {"index": 0, "message": message, "finish_reason": "length" if made.cut else "stop"}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": 0,
        "model": made.model,
        "choices": [choice],
        "usage": _openai_usage(made),
    }


def _openai_chunks(made: Reply, *, usage: bool) -> list[dict[str, Any]]:
    base = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": 0, "model": made.model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": piece}) for piece in made.pieces]
    chunks.append(chunk({}, "length" if made.cut else "stop"))
    if usage:
        chunks.append({**base, "choices": [], "usage": _openai_usage(made)})
    return chunks
