"""Anthropic's API: messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.kinds.ai.chat import Chat, ChatApi, ReplyPiece, Usage, reported_error, text_of, value_at

_VERSION = "2023-06-01"
_LEAST = 1024  # tokens of thoughts, which the service takes as a budget


class Anthropic(ChatApi):
    """POST /v1/messages. A stream begins with message_start, which counts the prompt, and ends with message_stop."""

    def path(self, chat: Chat) -> str:  # noqa: ARG002 - the model is in the body
        return "/v1/messages"

    def headers(self, key: str) -> dict[str, str]:
        return {"anthropic-version": _VERSION} | ({"x-api-key": key} if key else {})

    def body(self, chat: Chat) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": chat.model,
            "max_tokens": chat.max_tokens,
            "messages": [{"role": "user", "content": chat.prompt}],
        }
        if chat.system:
            body["system"] = chat.system
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        output: dict[str, Any] = {}
        if chat.thinking:
            budget, effort = chat.thinking.budget, chat.thinking.effort
            if effort:
                output["effort"] = effort
            if budget == 0:
                body["thinking"] = {"type": "disabled"}
            else:
                body["thinking"] = {"type": "adaptive"} if budget is None else {"type": "enabled", "budget_tokens": budget}
        if chat.schema is not None:
            output["format"] = {"type": "json_schema", "schema": chat.schema}
        if output:
            body["output_config"] = output
        if chat.stream:
            body["stream"] = True
        return body

    def refusal_of(self, chat: Chat) -> str:
        budget = chat.thinking.budget if chat.thinking else None
        if chat.thinking and budget != 0 and chat.temperature not in (None, 1):
            return "a model that thinks takes no temperature; leave it out"
        if budget is None or budget == 0:
            return ""
        if budget < _LEAST:
            return f"a budget of thoughts has {_LEAST} tokens at least, or is 0"
        return f"thoughts count as reply: write max_tokens above {budget}" if budget >= chat.max_tokens else ""

    def read(self, value: Any) -> ReplyPiece:
        kind = text_of(value_at(value, "type"))
        if kind == "message":
            return _message(value)
        if kind == "message_start":
            return _message(value_at(value, "message"))
        block = value_at(value, "content_block") if kind == "content_block_start" else value_at(value, "delta")
        piece = _block(block) if kind.startswith("content_block_") else ReplyPiece()
        return ReplyPiece(
            text=piece.text,
            finish=text_of(value_at(value, "delta", "stop_reason")),
            usage=_usage(value_at(value, "usage")),
            error=reported_error(value) if kind in ("error", "") else None,
            thought=piece.thought,
            tool_call=piece.tool_call,
            end=kind == "message_stop",
        )


def _message(message: Any) -> ReplyPiece:
    found = value_at(message, "content")
    blocks = [_block(block) for block in found] if isinstance(found, list) else []
    return ReplyPiece(
        text="".join(block.text for block in blocks),
        finish=text_of(value_at(message, "stop_reason")),
        usage=_usage(value_at(message, "usage")),
        model=text_of(value_at(message, "model")),
        thought=any(block.thought for block in blocks),
        tool_call=any(block.tool_call for block in blocks),
    )


def _block(block: Any) -> ReplyPiece:
    """A block of the content, its beginning, or a further piece of it."""
    kind = text_of(value_at(block, "type"))
    return ReplyPiece(
        text=text_of(value_at(block, "text")) if kind in ("text", "text_delta") else "",
        thought=kind in ("thinking", "redacted_thinking", "thinking_delta"),
        tool_call=kind in ("tool_use", "server_tool_use", "input_json_delta"),
    )


def _usage(value: Any) -> Usage | None:
    """Tokens written to and read from the cache are tokens of the prompt, too."""
    if not isinstance(value, Mapping):
        return None
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    *prompt, reply = (count if isinstance(count := value.get(name), int) and count >= 0 else 0 for name in names)
    return Usage(sum(prompt), reply, sum(prompt) + reply)
