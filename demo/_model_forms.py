"""The forms in which vendors sell their models: what they read, and what they say, whole, streamed and as an error."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from demo._model_reply import MODELS, Reply

BAD_KEY = "invalid_api_key"  # 401 at most vendors, 400 at Google
Trouble = tuple[int, str, str]  # status, code and message


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for."""

    model: str
    prompt: str
    most: int | None
    stream: bool
    thinks: bool = False
    usage: bool = True  # whether a stream tells it


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `ends` where it says that the reply, or the stream, is complete."""

    data: dict[str, Any] | str
    ends: bool = False
    name: str = ""


class Form(ABC):
    """One vendor's form."""

    def key(self, request: Request) -> str:
        """The key of a request."""
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    @abstractmethod
    def read(self, request: Request, body: dict[str, Any]) -> Asked:
        """What a request asks for."""

    def trouble(self, request: Request, asked: Asked) -> Trouble | None:  # noqa: ARG002 - for the forms that say more in the path
        """Why a request can't be answered."""
        if asked.model not in MODELS:
            return 404, "model_not_found", f"The model `{asked.model}` does not exist"
        return None if asked.prompt else (400, "invalid_request_error", "a prompt is required")

    def status(self, status: int, code: str) -> int:  # noqa: ARG002 - Google's differs
        """The status of an error."""
        return status

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:  # noqa: ARG002 - Google's form has the status
        """The body of an error."""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code.lower()}}

    @abstractmethod
    def whole(self, made: Reply) -> dict[str, Any]:
        """A whole response."""

    @abstractmethod
    def events(self, made: Reply, asked: Asked) -> list[Event]:
        """The same as a stream."""


def _texts(value: Any) -> str:
    """The texts of a prompt, however they are nested."""
    if isinstance(value, list):
        return " ".join(filter(None, map(_texts, value)))
    if isinstance(value, dict):
        return _texts(value.get("text") or value.get("content") or value.get("parts"))
    return value if isinstance(value, str) else ""


class Gemini(Form):
    """`{model}:generateContent` and `{model}:streamGenerateContent?alt=sse`, with a key or, on Vertex AI, a bearer token."""

    def __init__(self, *, vertex: bool = False) -> None:
        self._vertex = vertex

    def key(self, request: Request) -> str:
        """Of a header or the query; on Vertex AI a bearer token."""
        return super().key(request) if self._vertex else request.headers.get("x-goog-api-key") or request.query_params.get("key", "")

    def read(self, request: Request, body: dict[str, Any]) -> Asked:
        """The model and the method are in the path."""
        model, _, method = request.path_params["call"].partition(":")
        generation = body.get("generationConfig") or {}
        thinks = (generation.get("thinkingConfig") or {}).get("thinkingBudget", 1) != 0 and "thinkingConfig" in generation
        return Asked(model, _texts(body.get("contents")), generation.get("maxOutputTokens"), method.startswith("stream"), thinks)

    def trouble(self, request: Request, asked: Asked) -> Trouble | None:
        """A model or a method that isn't there, and no prompt."""
        method = request.path_params["call"].partition(":")[2]
        if asked.model not in MODELS or method not in ("generateContent", "streamGenerateContent"):
            return 404, "NOT_FOUND", f"models/{asked.model} is not found for API version v1beta, or is not supported for {method}"
        return None if asked.prompt else (400, "INVALID_ARGUMENT", "contents is not specified")

    def status(self, status: int, code: str) -> int:
        """A wrong key is a bad argument, except on Vertex AI."""
        return 400 if code == BAD_KEY and not self._vertex else status

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        """Google's form."""
        if code == BAD_KEY:
            status = self.status(status, code)
            code = "UNAUTHENTICATED" if self._vertex else "INVALID_ARGUMENT"
            message = message if self._vertex else "API key not valid. Please pass a valid API key."
        return {"error": {"code": status, "message": message, "status": code}}

    def whole(self, made: Reply) -> dict[str, Any]:
        """One candidate."""
        return self._chunk(made, made.text, made.thought, made.tokens, last=True)

    def events(self, made: Reply, asked: Asked) -> list[Event]:  # noqa: ARG002 - usage is in each
        """A candidate for each piece."""
        if made.refused:
            return [Event(self.whole(made), ends=True)]
        first = [Event(self._chunk(made, "", made.thought, 0, last=not made.pieces), not made.pieces)] if made.thought else []
        pieces = [Event(self._chunk(made, piece, "", n, last=n == made.tokens), n == made.tokens) for n, piece in enumerate(made.pieces, 1)]
        return [*first, *pieces] or [Event(self.whole(made), ends=True)]

    def _chunk(self, made: Reply, text: str, thought: str, so_far: int, *, last: bool) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"text": thought, "thought": True}] if thought else []
        if text or not (thought or made.refused):
            parts.append({"text": text})
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if made.cut else "SAFETY" if made.refused else "STOP"
        if made.refused:
            candidate["content"] = {"parts": [], "role": "model"}
        usage = {"promptTokenCount": made.prompt_tokens, "candidatesTokenCount": so_far, "totalTokenCount": made.prompt_tokens + so_far}
        if made.thoughts:
            usage |= {"thoughtsTokenCount": made.thoughts, "totalTokenCount": made.prompt_tokens + so_far + made.thoughts}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": made.model, "responseId": uuid.uuid4().hex}


class OpenAI(Form):
    """`/v1/chat/completions`."""

    def read(self, request: Request, body: dict[str, Any]) -> Asked:  # noqa: ARG002 - all is in the body
        """All is in the body."""
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        stream, thinks = bool(body.get("stream")), "reasoning_effort" in body
        return Asked(str(body.get("model")), _texts(body.get("messages")), most, stream, thinks, usage)

    def whole(self, made: Reply) -> dict[str, Any]:
        """One choice."""
        message: dict[str, Any] = {"role": "assistant", "content": None if made.refused else made.text}
        message |= {"refusal": made.text} if made.refused else {"reasoning_content": made.thought} if made.thought else {}
        choice = {"index": 0, "message": message, "finish_reason": "length" if made.cut else "stop"}
        base = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": 0, "model": made.model}
        return {**base, "choices": [choice], "usage": self._usage(made)}

    def events(self, made: Reply, asked: Asked) -> list[Event]:
        """A delta for each piece, usage when it is asked for, and [DONE]."""
        base = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": 0, "model": made.model}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> Event:
            return Event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, finish is not None)

        member = "refusal" if made.refused else "content"
        events = [chunk({"role": "assistant", "content": ""})]
        events += [chunk({"reasoning_content": made.thought})] if made.thought else []
        events += [chunk({member: piece}) for piece in made.pieces]
        events.append(chunk({}, "length" if made.cut else "stop"))
        events += [Event({**base, "choices": [], "usage": self._usage(made)}, ends=True)] if asked.usage else []
        return [*events, Event("[DONE]", ends=True)]

    def _usage(self, made: Reply) -> dict[str, Any]:
        details = {"completion_tokens_details": {"reasoning_tokens": made.thoughts}} if made.thoughts else {}
        reply = made.tokens + made.thoughts
        return {"prompt_tokens": made.prompt_tokens, "completion_tokens": reply, "total_tokens": made.total, **details}


class Responses(Form):
    """`/v1/responses`."""

    def read(self, request: Request, body: dict[str, Any]) -> Asked:  # noqa: ARG002 - all is in the body
        """All is in the body."""
        prompt, stream = _texts(body.get("input")), bool(body.get("stream"))
        return Asked(str(body.get("model")), prompt, body.get("max_output_tokens"), stream, "reasoning" in body)

    def whole(self, made: Reply) -> dict[str, Any]:
        """A response with its items."""
        part = {"type": "refusal", "refusal": made.text} if made.refused else {"type": "output_text", "text": made.text, "annotations": []}
        output: list[dict[str, Any]] = []
        if made.thought:
            output.append({"type": "reasoning", "summary": [{"type": "summary_text", "text": made.thought}]})
        if made.pieces:
            output.append({"type": "message", "role": "assistant", "status": "completed", "content": [part]})
        return {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "status": "incomplete" if made.cut else "completed",
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if made.cut else None,
            "model": made.model,
            "output": output,
            "usage": {
                "input_tokens": made.prompt_tokens,
                "output_tokens": made.tokens + made.thoughts,
                "output_tokens_details": {"reasoning_tokens": made.thoughts},
                "total_tokens": made.total,
            },
        }

    def events(self, made: Reply, asked: Asked) -> list[Event]:  # noqa: ARG002 - usage is in the last
        """Typed events, of which the last has the whole response."""
        final = self.whole(made)
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("response.created", {"response": {**final, "status": "in_progress", "output": [], "usage": None}})
        ]
        kinds += [("response.reasoning_summary_text.delta", {"delta": made.thought})] if made.thought else []
        kinds += [(f"response.{'refusal' if made.refused else 'output_text'}.delta", {"delta": piece}) for piece in made.pieces]
        kinds.append((f"response.{final['status']}", {"response": final}))
        last = len(kinds) - 1
        return [Event({"type": kind, "sequence_number": n, **data}, n == last, kind) for n, (kind, data) in enumerate(kinds)]


class Anthropic(Form):
    """`/v1/messages`."""

    def key(self, request: Request) -> str:
        """Of a header of its own."""
        return request.headers.get("x-api-key", "")

    def read(self, request: Request, body: dict[str, Any]) -> Asked:  # noqa: ARG002 - all is in the body
        """All is in the body."""
        thinks = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        return Asked(str(body.get("model")), _texts(body.get("messages")), body.get("max_tokens"), bool(body.get("stream")), thinks)

    def trouble(self, request: Request, asked: Asked) -> Trouble | None:
        """As others, and a request that names no version or no limit."""
        if "anthropic-version" not in request.headers or not asked.most:
            return 400, "invalid_request_error", "anthropic-version: header is required, and max_tokens: Field required"
        return (404, "not_found_error", f"model: {asked.model}") if asked.model not in MODELS else super().trouble(request, asked)

    def error(self, status: int, code: str, message: str) -> dict[str, Any]:
        """Anthropic's form, and its words."""
        words = {401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error"}
        return {"type": "error", "error": {"type": words.get(status, code), "message": message}, "request_id": f"req_{uuid.uuid4().hex}"}

    def status(self, status: int, code: str) -> int:  # noqa: ARG002 - as above
        """Overloaded is 529."""
        return 529 if status == 503 else status  # noqa: PLR2004 - HTTP's own number

    def whole(self, made: Reply) -> dict[str, Any]:
        """A message with its blocks."""
        blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": made.thought, "signature": "s"}] if made.thought else []
        blocks += [{"type": "text", "text": made.text}] if made.pieces else []
        stop = "max_tokens" if made.cut else "refusal" if made.refused else "end_turn"
        usage = {"input_tokens": made.prompt_tokens, "output_tokens": made.tokens + made.thoughts}
        base = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", "model": made.model}
        return {**base, "content": blocks, "stop_reason": stop, "stop_sequence": None, "usage": usage}

    def events(self, made: Reply, asked: Asked) -> list[Event]:  # noqa: ARG002 - usage is in two of them
        """Typed events: the message without its content, its blocks in pieces, and how it ended."""
        whole = self.whole(made)
        usage = {"input_tokens": made.prompt_tokens, "output_tokens": 1}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": usage}},
            {"type": "ping"},
        ]
        blocks = [("thinking", [made.thought])] if made.thought else []
        blocks += [("text", list(made.pieces))] if made.pieces else []
        for index, (kind, pieces) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}})
            events += [{"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", kind: piece}} for piece in pieces]
            events.append({"type": "content_block_stop", "index": index})
        ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": ended, "usage": {"output_tokens": whole["usage"]["output_tokens"]}})
        events.append({"type": "message_stop"})
        return [Event(event, event["type"] in ("message_delta", "message_stop"), str(event["type"])) for event in events]
