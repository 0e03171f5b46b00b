"""The chat APIs of OpenAI-compatible services and of Gemini: building requests and reading responses. Pure."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from probes.kinds.ai.events import EventReader
from probes.text import clipped

_PER_MESSAGE = 8  # tokens, at most, that a service adds around a message


def most_prompt_tokens(*texts: str) -> int:
    """An upper bound of a prompt's tokens: no tokenizer makes more tokens of a text than it has bytes."""
    return sum(len(text.encode()) + _PER_MESSAGE for text in texts if text) + _PER_MESSAGE


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the service counts them."""

    prompt: int
    reply: int
    total: int


@dataclass(frozen=True, slots=True)
class ReplyPiece:
    """What one event of a stream, or a whole response, contains."""

    text: str = ""
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    error: str = ""
    error_code: int = 0
    end: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """One request to a model."""

    model: str
    prompt: str
    system: str = ""
    max_tokens: int = 20
    stream: bool = True
    temperature: float | None = None
    limit_as: str = "max_tokens"


def value_at(value: Any, *path: str | int) -> Any:
    """The value at a path inside a JSON value from outside, or None."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


class ChatApi(ABC):
    """One service's API."""

    @abstractmethod
    def path(self, chat: Chat) -> str:
        """The path of the request, below the target's address."""

    @abstractmethod
    def headers(self, key: str) -> dict[str, str]:
        """The headers with the key. The key is never part of the address, since addresses are logged."""

    @abstractmethod
    def body(self, chat: Chat) -> dict[str, Any]:
        """The body of the request, before it is encoded as JSON."""

    @abstractmethod
    def read(self, value: Any) -> ReplyPiece:
        """Reads the JSON of an event or of a whole response."""

    def is_end_marker(self, data: str) -> bool:
        """Whether an event's data is the marker of the stream's end, which is not JSON."""
        return data.strip() == "[DONE]"


class OpenAI(ChatApi):
    """POST /v1/chat/completions, the API of OpenAI and many other services. A stream ends with [DONE]."""

    def path(self, chat: Chat) -> str:  # noqa: ARG002 - the model is in the body
        return "/v1/chat/completions"

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, chat: Chat) -> dict[str, Any]:
        system = [{"role": "system", "content": chat.system}] if chat.system else []
        body: dict[str, Any] = {
            "model": chat.model,
            "messages": [*system, {"role": "user", "content": chat.prompt}],
            chat.limit_as: chat.max_tokens,
        }
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        if chat.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def read(self, value: Any) -> ReplyPiece:
        choice = value_at(value, "choices", 0)
        finish = _text(value_at(choice, "finish_reason"))
        whole = value_at(choice, "message", "content")
        return ReplyPiece(
            text=_text(value_at(choice, "delta", "content") if whole is None else whole),
            finish=finish,
            usage=_usage(value_at(value, "usage"), "prompt_tokens", ("completion_tokens",), "total_tokens"),
            model=_text(value_at(value, "model")),
            error=_text(value_at(value, "error", "message")) or _text(value_at(value, "error")),
            error_code=_count(value_at(value, "error", "code")),
            end=whole is not None and bool(finish),
        )


class Gemini(ChatApi):
    """POST /v1beta/models/...:streamGenerateContent. A stream ends with a finishReason."""

    def path(self, chat: Chat) -> str:
        method = "streamGenerateContent?alt=sse" if chat.stream else "generateContent"
        return f"/v1beta/models/{quote(chat.model, safe='')}:{method}"

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def body(self, chat: Chat) -> dict[str, Any]:
        generation: dict[str, Any] = {"maxOutputTokens": chat.max_tokens}
        if chat.temperature is not None:
            generation["temperature"] = chat.temperature
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": chat.prompt}]}], "generationConfig": generation}
        if chat.system:
            body["systemInstruction"] = {"parts": [{"text": chat.system}]}
        return body

    def read(self, value: Any) -> ReplyPiece:
        candidate, usage = value_at(value, "candidates", 0), value_at(value, "usageMetadata")
        content = value_at(candidate, "content", "parts")
        parts = content if isinstance(content, list) else []
        finish = _text(value_at(candidate, "finishReason")) or _text(value_at(value, "promptFeedback", "blockReason"))
        return ReplyPiece(
            text="".join(_text(value_at(part, "text")) for part in parts if value_at(part, "thought") is not True),
            finish=finish,
            usage=_usage(usage, "promptTokenCount", ("candidatesTokenCount", "thoughtsTokenCount"), "totalTokenCount"),
            model=_text(value_at(value, "modelVersion")),
            error=_text(value_at(value, "error", "message")),
            error_code=_count(value_at(value, "error", "code")),
            end=bool(finish),
        )


def _usage(value: Any, prompt: str, reply: tuple[str, ...], total: str) -> Usage | None:
    """The tokens, if the service reports them. If its total and its parts differ, the larger number counts."""
    if not isinstance(value, Mapping) or not isinstance(value.get(prompt), int):
        return None
    prompt_tokens, reply_tokens = _count(value[prompt]), sum(_count(value.get(name)) for name in reply)
    return Usage(prompt_tokens, reply_tokens, max(prompt_tokens + reply_tokens, _count(value.get(total))))


@dataclass(slots=True)
class Transcript:
    """The reply so far, and when its pieces came (monotonic seconds of the socket's events)."""

    api: ChatApi
    text: str = ""
    finish: str = ""
    model: str = ""
    usage: Usage | None = None
    error: str = ""
    error_code: int = 0
    unreadable: str = ""  # the beginning of the first event that is not JSON
    ended: bool = False
    pieces: int = 0
    first_at: float | None = None
    last_at: float | None = None
    longest_gap: float = 0.0
    _reader: EventReader = field(default_factory=EventReader)

    @property
    def events(self) -> int:
        """How many complete events were received."""
        return self._reader.events

    @property
    def pace(self) -> float | None:
        """Tokens per second after the first one; None where the reply came in one piece."""
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        tokens = self.usage.reply if self.usage and self.usage.reply else self.pieces
        return (tokens - 1) / (self.last_at - self.first_at)

    def feed(self, piece: bytes, moment: float) -> None:
        """Reads bytes of a stream that were received at this moment."""
        for data in self._reader.feed(piece):
            if self.api.is_end_marker(data):
                self.ended = True
            else:
                self._read_event(data, moment)

    def read_whole(self, value: Any) -> None:
        """Reads a response that was not streamed."""
        self._add(self.api.read(value))

    def _read_event(self, data: str, moment: float) -> None:
        try:
            piece = self.api.read(json.loads(data))
        except (ValueError, RecursionError):
            self.unreadable = self.unreadable or clipped(data, 80)
            return
        if piece.text:
            self.pieces += 1
            if self.first_at is None:
                self.first_at = moment
            elif self.last_at is not None:
                self.longest_gap = max(self.longest_gap, moment - self.last_at)
            self.last_at = moment
        self._add(piece)

    def _add(self, piece: ReplyPiece) -> None:
        self.text += piece.text
        self.finish = piece.finish or self.finish
        self.model = piece.model or self.model
        self.usage = piece.usage or self.usage
        self.ended = self.ended or piece.end
        if piece.error and not self.error:
            self.error, self.error_code = piece.error, piece.error_code
