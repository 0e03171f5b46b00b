"""A model's reply as it comes, piece by piece, and how it ended. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from probes.kinds.ai.chat import ChatApi, ReplyPiece, ReportedError, Usage, reported_error
from probes.kinds.ai.events import EventReader, ServerEvent
from probes.text import clipped

_THINK, _THOUGHT = "<think>", "</think>"  # some models write their thoughts into the reply, before it


@dataclass(slots=True)
class Transcript:
    """The reply so far, and when its pieces came (monotonic seconds of the socket's events)."""

    api: ChatApi
    text: str = ""  # without thoughts
    finish: str = ""
    model: str = ""
    usage: Usage | None = None
    error: ReportedError | None = None
    refusal: str = ""
    blocked: str = ""
    thought: bool = False
    tool_call: bool = False
    unreadable: str = ""  # the beginning of the first event that is not JSON
    marked: bool = False  # the end marker came: nothing of the reply comes after it
    pieces: int = 0
    first_thought_at: float | None = None
    first_at: float | None = None
    last_at: float | None = None
    longest_gap: float = 0.0
    _held: str | None = ""  # the reply's beginning while it is or may be a thought; None after it
    _reader: EventReader = field(default_factory=EventReader)

    @property
    def events(self) -> int:
        """How many complete events were received."""
        return self._reader.events

    @property
    def ended(self) -> bool:
        """Whether the reply is complete: by its finish, or by the marker of the stream's end."""
        return self.marked or bool(self.finish)

    @property
    def ending(self) -> str:
        """How it ended, as the end of a message; "" where the service doesn't say it."""
        return f" and ended by {clipped(self.finish, 40)}" if self.finish else ""

    @property
    def has_words(self) -> bool:
        """Whether there is anything to be read in the reply."""
        return any(sign.isprintable() and not sign.isspace() for sign in self.text)

    @property
    def pace(self) -> float | None:
        """Tokens of the visible text per second after the first one; None where the reply came in one piece."""
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        counted = self.usage is not None and (bool(self.usage.thoughts) or not self.thought)  # else thoughts are among the tokens
        visible = self.usage.reply - self.usage.thoughts if self.usage and counted else 0
        return ((visible or self.pieces) - 1) / (self.last_at - self.first_at)

    def feed(self, piece: bytes, moment: float) -> None:
        """Reads bytes of a stream that were received at this moment. Raises Failed(size) for too many lines."""
        for event in self._reader.feed(piece):
            self._read_event(event, moment)

    def close(self, moment: float) -> None:
        """The stream has ended at this moment."""
        for event in self._reader.rest():
            if self.api.is_end_marker(event.data) or _json(event.data) is not None:
                self._read_event(event, moment)
        if self._held and not self._held.startswith(_THINK):
            self._show(self._held, moment)
        if self.last_at is not None:
            self.longest_gap = max(self.longest_gap, moment - self.last_at)

    def read_whole(self, value: Any) -> None:
        """Reads a response that was not streamed."""
        piece = self.api.read(value)
        self._add(piece)
        self.text = self._visible(piece.text)
        if self._held and not self._held.startswith(_THINK):
            self.text = self._held

    def _read_event(self, event: ServerEvent, moment: float) -> None:
        if self.api.is_end_marker(event.data):
            self.marked = True
            return
        if (value := _json(event.data)) is None:
            if event.name == "error":
                self.error = self.error or ReportedError(event.data)
            else:
                self.unreadable = self.unreadable or clipped(event.data, 80)
            return
        if event.name == "error":
            self.error = self.error or reported_error(value, certain=True)
        piece = self.api.read(value)
        self._show(self._visible(piece.text), moment)
        self._add(piece)
        if self.thought and self.first_thought_at is None:
            self.first_thought_at = moment

    def _show(self, text: str, moment: float) -> None:
        """Adds words that a user sees."""
        if not text:
            return
        self.text += text
        self.pieces += 1
        if self.first_at is None:
            self.first_at = moment
        elif self.last_at is not None:
            self.longest_gap = max(self.longest_gap, moment - self.last_at)
        self.last_at = moment

    def _visible(self, text: str) -> str:
        """The part of this piece that is no thought between <think> and </think>, and no blank before the reply."""
        if self._held is None or not text:
            return text
        held = (self._held + text).lstrip()
        if held.startswith(_THINK):
            self.thought = True
            before, ended, words = held.partition(_THOUGHT)
            self._held = "" if ended else _THINK + before[len(_THINK) :][-len(_THOUGHT) :]
            return self._visible(words)
        if _THINK.startswith(held):
            self._held = held
            return ""
        self._held = None
        return held

    def _add(self, piece: ReplyPiece) -> None:
        self.finish = piece.finish or self.finish
        self.model = piece.model or self.model
        self.usage = self.usage.and_later(piece.usage) if self.usage else piece.usage
        self.error = self.error or piece.error
        self.refusal += piece.refusal
        self.blocked = self.blocked or piece.blocked
        self.marked = self.marked or piece.end
        self.thought = self.thought or piece.thought
        self.tool_call = self.tool_call or piece.tool_call


def _json(data: str) -> Any:
    """The JSON in an event's data; None where it is none, and an empty object for a value that says nothing."""
    try:
        return json.loads(data) or {}
    except (ValueError, RecursionError):
        return None
