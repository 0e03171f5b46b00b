"""What the APIs of models share: a request, what a piece of a reply contains, and the errors that a reply reports. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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

    def and_later(self, later: Usage | None) -> Usage:
        """What two reports of one reply say together: Anthropic tells the prompt first and the reply at the end."""
        if later is None:
            return self
        prompt, reply = max(self.prompt, later.prompt), max(self.reply, later.reply)
        return Usage(prompt, reply, max(self.total, later.total, prompt + reply), max(self.thoughts, later.thoughts))


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
    refusal: str = ""  # the model's words
    blocked: str = ""  # why the service blocked the prompt, in its own word
    thought: bool = False  # it contains a piece of a thought
    tool_call: bool = False
    end: bool = False  # nothing of the reply comes after it


class Thinking(BaseModel):
    """How much a model may think before it replies. What a service calls it differs: see the API."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    effort: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="The service's word for the effort, such as minimal, low, medium or high."
    )
    budget: int | None = Field(default=None, ge=-1, description="The most tokens of thoughts; 0 is none. Gemini: -1 lets the model choose.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.effort is None and self.budget is None:
            raise ValueError("write effort or budget, such as effort: low")
        return self


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
    thinking: Thinking | None = None
    schema: Mapping[str, Any] | None = None  # of the reply, which the service is asked to keep to
    extra: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""  # of Google Cloud
    region: str = ""


def value_at(value: Any, *path: str | int) -> Any:
    """The value at a path inside a JSON value from outside, or None."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def text_of(value: Any) -> str:
    """A text from outside; "" for anything else."""
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
        """The body of the request without the check's extra members, before it is encoded as JSON."""

    def refusal_of(self, chat: Chat) -> str:  # noqa: ARG002 - for the APIs that lack something
        """What of the request this API can't express, and what to write instead; "" for nothing."""
        return ""

    @abstractmethod
    def read(self, value: Any) -> ReplyPiece:
        """Reads the JSON of an event or of a whole response. A reply is complete where a piece has a finish."""

    def is_end_marker(self, data: str) -> bool:
        """Whether an event's data is the marker of the stream's end, which is not JSON."""
        return data.strip() == "[DONE]"


def read_usage(value: Any, prompt: str, reply: tuple[str, ...], total: str, thoughts: Any) -> Usage | None:
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
    text = text_of(error) or next((text_of(value_at(error, name)) for name in ("message", "detail", "msg") if value_at(error, name)), "")
    codes = (value_at(error, "code"), value_at(error, "type"), value_at(error, "status"), value_at(value, "type"))
    code = next((str(code) for code in codes if isinstance(code, int | str) and code and code is not True and code != "error"), "")
    return ReportedError(text or shown(error), clipped(code, 80))


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body with extra members; an object is merged member by member, and null takes a member away."""
    whole = dict(body)
    for name, value in extra.items():
        if value is None:
            whole.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(whole.get(name), Mapping):
            whole[name] = merged(whole[name], value)
        else:
            whole[name] = value
    return whole
