"""The chat forms of OpenAI-compatible services and of Gemini: what is sent, and what is read out of the answer. Pure."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from probes.kinds.ai.events import EventReader

_PER_MESSAGE = 8  # tokens that a service adds around a message, generously


def most_prompt_tokens(*texts: str) -> int:
    """An upper bound of the tokens that a prompt counts as: no tokenizer makes more of a text than it has bytes."""
    return sum(len(text.encode()) + _PER_MESSAGE for text in texts if text) + _PER_MESSAGE


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the service counts them."""

    prompt: int
    answer: int
    total: int


@dataclass(frozen=True, slots=True)
class Said:
    """What one event, or a whole answer, says."""

    text: str = ""
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    error: str = ""
    error_code: int = 0
    end: bool = False


@dataclass(frozen=True, slots=True)
class Chat:
    """What is asked of a model."""

    model: str
    prompt: str
    system: str = ""
    max_tokens: int = 20
    stream: bool = True
    temperature: float | None = None
    limit_as: str = "max_tokens"


def at(value: Any, *path: str | int) -> Any:
    """What a foreign JSON value holds at a path, or None."""
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


class Form(ABC):
    """One service's way of asking and answering."""

    @abstractmethod
    def path(self, chat: Chat) -> str:
        """Where it is asked, below the target's address."""

    @abstractmethod
    def headers(self, key: str) -> dict[str, str]:
        """The headers that carry the key; the key is in no address, since addresses are logged."""

    @abstractmethod
    def body(self, chat: Chat) -> dict[str, Any]:
        """What is sent."""

    @abstractmethod
    def read(self, value: Any) -> Said:
        """What an event's JSON, or a whole answer's, says."""

    def mark(self, data: str) -> bool:
        """Whether an event's data is no JSON but the mark of the end."""
        return data.strip() == "[DONE]"


class OpenAI(Form):
    """POST /v1/chat/completions, as OpenAI and the many compatible services have it. A stream ends with [DONE]."""

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

    def read(self, value: Any) -> Said:
        choice = at(value, "choices", 0)
        finish = _text(at(choice, "finish_reason"))
        whole = at(choice, "message", "content")
        return Said(
            text=_text(at(choice, "delta", "content") if whole is None else whole),
            finish=finish,
            usage=_usage(at(value, "usage"), "prompt_tokens", ("completion_tokens",), "total_tokens"),
            model=_text(at(value, "model")),
            error=_text(at(value, "error", "message")) or _text(at(value, "error")),
            error_code=_count(at(value, "error", "code")),
            end=whole is not None and bool(finish),
        )


class Gemini(Form):
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

    def read(self, value: Any) -> Said:
        candidate = at(value, "candidates", 0)
        parts = at(candidate, "content", "parts")
        finish = _text(at(candidate, "finishReason")) or _text(at(value, "promptFeedback", "blockReason"))
        return Said(
            text="".join(_text(at(part, "text")) for part in parts if at(part, "thought") is not True) if isinstance(parts, list) else "",
            finish=finish,
            usage=_usage(at(value, "usageMetadata"), "promptTokenCount", ("candidatesTokenCount", "thoughtsTokenCount"), "totalTokenCount"),
            model=_text(at(value, "modelVersion")),
            error=_text(at(value, "error", "message")),
            error_code=_count(at(value, "error", "code")),
            end=bool(finish),
        )


def _usage(value: Any, prompt: str, answer: tuple[str, ...], total: str) -> Usage | None:
    """The tokens, where the service counted them; the larger where its total and its parts disagree."""
    if not isinstance(value, Mapping) or not isinstance(value.get(prompt), int):
        return None
    asked, answered = _count(value[prompt]), sum(_count(value.get(name)) for name in answer)
    return Usage(asked, answered, max(asked + answered, _count(value.get(total))))


@dataclass(slots=True)
class Transcript:
    """What a model has said so far, and when (monotonic seconds of the socket's events). `feed` takes a stream's bytes."""

    form: Form
    text: str = ""
    finish: str = ""
    model: str = ""
    usage: Usage | None = None
    error: str = ""
    error_code: int = 0
    unreadable: str = ""  # the beginning of an event that is no JSON
    ended: bool = False
    pieces: int = 0
    first_at: float | None = None
    last_at: float | None = None
    longest_gap: float = 0.0
    _reader: EventReader = field(default_factory=EventReader)

    @property
    def events(self) -> int:
        """How many events came whole."""
        return self._reader.events

    @property
    def pace(self) -> float | None:
        """Tokens a second after the first; None where the reply came in one moment, which shows no pace."""
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        tokens = self.usage.answer if self.usage and self.usage.answer else self.pieces
        return (tokens - 1) / (self.last_at - self.first_at)

    def feed(self, piece: bytes, moment: float) -> None:
        """Takes a piece of the stream that came at this moment."""
        for data in self._reader.feed(piece):
            if self.form.mark(data):
                self.ended = True
            else:
                self._event(data, moment)

    def whole(self, value: Any) -> None:
        """Takes an answer that was not streamed."""
        self._take(self.form.read(value))

    def _event(self, data: str, moment: float) -> None:
        try:
            said = self.form.read(json.loads(data))
        except (ValueError, RecursionError):
            self.unreadable = self.unreadable or data[:80]
            return
        if said.text:
            self._heard(moment)
        self._take(said)

    def _heard(self, moment: float) -> None:
        self.pieces += 1
        if self.first_at is None:
            self.first_at = moment
        elif self.last_at is not None:
            self.longest_gap = max(self.longest_gap, moment - self.last_at)
        self.last_at = moment

    def _take(self, said: Said) -> None:
        self.text += said.text
        self.finish = said.finish or self.finish
        self.model = said.model or self.model
        self.usage = said.usage or self.usage
        self.ended = self.ended or said.end
        if said.error and not self.error:
            self.error, self.error_code = said.error, said.error_code
