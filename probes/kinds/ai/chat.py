"""The chat APIs of OpenAI-compatible services and of Gemini: building requests and reading responses. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from probes.expect.patterns import shown
from probes.text import clipped

_PER_MESSAGE = 8  # tokens, at most, that a service adds around a message


def most_prompt_tokens(*texts: str) -> int:
    """An upper bound of a prompt's tokens: no tokenizer makes more tokens of a text than it has bytes."""
    return sum(len(text.encode()) + _PER_MESSAGE for text in texts if text) + _PER_MESSAGE


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the service counts them."""

    prompt: int
    reply: int  # with the thoughts
    total: int
    thoughts: int = 0


@dataclass(frozen=True, slots=True)
class ReportedError:
    """An error that a response with status 200 reports: its text, and the service's number or word for it."""

    text: str
    code: str = ""

    def __str__(self) -> str:
        return f"the response reports an error{' ' if self.code else ''}{self.code}: {shown(self.text, 160)}"


@dataclass(frozen=True, slots=True)
class ReplyPiece:
    """What one event of a stream, or a whole response, contains."""

    text: str = ""
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    error: ReportedError | None = None
    refusal: str = ""  # the model's words, or why the service blocked the prompt
    thought: bool = False  # it contains a piece of a thought
    tool_call: bool = False


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
        """Reads the JSON of an event or of a whole response. A reply is complete where a piece has a finish."""

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
        message = value_at(choice, "message") or value_at(choice, "delta")
        content = value_at(message, "content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]  # Mistral's form is a list
        return ReplyPiece(
            text="".join(_text(value_at(part, "text")) for part in parts if value_at(part, "type") in ("text", None)),
            finish=_text(value_at(choice, "finish_reason")),
            usage=_usage(
                value_at(value, "usage"),
                "prompt_tokens",
                ("completion_tokens",),
                "total_tokens",
                value_at(value, "usage", "completion_tokens_details", "reasoning_tokens"),
            ),
            model=_text(value_at(value, "model")),
            error=reported_error(value) or reported_error({"error": value_at(choice, "error")}),
            refusal=_text(value_at(message, "refusal")) or "".join(_text(value_at(part, "refusal")) for part in parts),
            thought=any(map(bool, (value_at(message, "reasoning_content"), value_at(message, "reasoning"), value_at(message, "thinking"))))
            or any(value_at(part, "type") in ("thinking", "reasoning") for part in parts),
            tool_call=bool(value_at(message, "tool_calls") or value_at(message, "function_call")),
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
        blocked = _text(value_at(value, "promptFeedback", "blockReason"))
        return ReplyPiece(
            text="".join(_text(value_at(part, "text")) for part in parts if value_at(part, "thought") is not True),
            finish=_text(value_at(candidate, "finishReason")) or blocked,
            usage=_usage(
                usage,
                "promptTokenCount",
                ("candidatesTokenCount", "thoughtsTokenCount"),
                "totalTokenCount",
                value_at(usage, "thoughtsTokenCount"),
            ),
            model=_text(value_at(value, "modelVersion")),
            error=reported_error(value),
            refusal=f"the prompt was blocked by {blocked}" if blocked else "",
            thought=any(value_at(part, "thought") is True for part in parts),
            tool_call=any(value_at(part, "functionCall") is not None for part in parts),
        )


def _usage(value: Any, prompt: str, reply: tuple[str, ...], total: str, thoughts: Any) -> Usage | None:
    """The tokens, if the service reports them. If its total and its parts differ, the larger number counts."""
    if not isinstance(value, Mapping) or not isinstance(value.get(prompt), int):
        return None
    prompt_tokens, reply_tokens = _count(value[prompt]), sum(_count(value.get(name)) for name in reply)
    whole = max(prompt_tokens + reply_tokens, _count(value.get(total)))
    return Usage(prompt_tokens, reply_tokens, whole, min(_count(thoughts), reply_tokens))


def reported_error(value: Any, *, certain: bool = False) -> ReportedError | None:
    """The error that a JSON value reports in one of the services' forms; None where it reports none.

    `certain`: it is known to be an error (its event is named so), whatever its form.
    """
    error = value_at(value, "error")
    if not error:
        names = value.keys() if isinstance(value, dict) else frozenset()
        is_error = certain or value_at(value, "object") == "error" or value_at(value, "type") == "error"
        is_error = is_error or ("message" in names and not names & {"choices", "candidates", "usage", "usageMetadata"})
        if not is_error:
            return None
        error = value
    text = _text(error) or next((_text(value_at(error, name)) for name in ("message", "detail", "msg") if value_at(error, name)), "")
    codes = (value_at(error, "code"), value_at(error, "type"), value_at(error, "status"), value_at(value, "type"))
    code = next((str(code) for code in codes if isinstance(code, int | str) and code and code is not True and code != "error"), "")
    return ReportedError(text or shown(error), clipped(code, 80))
