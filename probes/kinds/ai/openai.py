"""OpenAI's two APIs: chat completions, which many services share, and responses."""

from __future__ import annotations

from typing import Any

from probes.kinds.ai.chat import Chat, ChatApi, ReplyPiece, read_usage, reported_error, text_of, value_at

_NO_BUDGET = "this api takes no budget of thoughts; write thinking: {effort: low}"


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
        if chat.thinking and chat.thinking.effort:
            body["reasoning_effort"] = chat.thinking.effort
        if chat.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": chat.schema}}
        if chat.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def refusal_of(self, chat: Chat) -> str:
        return _NO_BUDGET if chat.thinking and chat.thinking.budget is not None else ""

    def read(self, value: Any) -> ReplyPiece:
        choice = value_at(value, "choices", 0)
        message = value_at(choice, "message") or value_at(choice, "delta")
        content = value_at(message, "content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]  # Mistral's form is a list
        return ReplyPiece(
            text="".join(text_of(value_at(part, "text")) for part in parts if value_at(part, "type") in ("text", None)),
            finish=text_of(value_at(choice, "finish_reason")),
            usage=read_usage(
                value_at(value, "usage"),
                "prompt_tokens",
                ("completion_tokens",),
                "total_tokens",
                value_at(value, "usage", "completion_tokens_details", "reasoning_tokens"),
            ),
            model=text_of(value_at(value, "model")),
            error=reported_error(value) or reported_error({"error": value_at(choice, "error")}),
            refusal=text_of(value_at(message, "refusal")) or "".join(text_of(value_at(part, "refusal")) for part in parts),
            thought=any(map(bool, (value_at(message, "reasoning_content"), value_at(message, "reasoning"), value_at(message, "thinking"))))
            or any(value_at(part, "type") in ("thinking", "reasoning") for part in parts),
            tool_call=bool(value_at(message, "tool_calls") or value_at(message, "function_call")),
        )


class Responses(ChatApi):
    """POST /v1/responses. A stream has events of many types and ends with response.completed, .incomplete or .failed."""

    def path(self, chat: Chat) -> str:  # noqa: ARG002 - the model is in the body
        return "/v1/responses"

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, chat: Chat) -> dict[str, Any]:
        body: dict[str, Any] = {"model": chat.model, "input": chat.prompt, "max_output_tokens": chat.max_tokens, "store": False}
        if chat.system:
            body["instructions"] = chat.system
        if chat.temperature is not None:
            body["temperature"] = chat.temperature
        if chat.thinking and chat.thinking.effort:
            body["reasoning"] = {"effort": chat.thinking.effort}
        if chat.schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": "reply", "strict": True, "schema": chat.schema}}
        if chat.stream:
            body["stream"] = True
        return body

    def refusal_of(self, chat: Chat) -> str:
        return _NO_BUDGET if chat.thinking and chat.thinking.budget is not None else ""

    def read(self, value: Any) -> ReplyPiece:
        kind = text_of(value_at(value, "type"))
        if not kind.startswith("response."):
            return self._whole(value, with_text=True) if value_at(value, "output") is not None else ReplyPiece(error=reported_error(value))
        delta = text_of(value_at(value, "delta"))
        match kind:
            case "response.output_text.delta":
                return ReplyPiece(text=delta)
            case "response.refusal.delta":
                return ReplyPiece(refusal=delta)
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._whole(value_at(value, "response"), with_text=False)
        return ReplyPiece(thought=".reasoning" in kind and bool(delta), tool_call="_call" in kind)

    def _whole(self, response: Any, *, with_text: bool) -> ReplyPiece:
        """A whole response; the text of one that ends a stream has come before."""
        found = value_at(response, "output")
        items = found if isinstance(found, list) else []
        parts = [part for item in items for part in (value_at(item, "content") or []) if value_at(item, "type") == "message"]
        usage, status = value_at(response, "usage"), text_of(value_at(response, "status"))
        return ReplyPiece(
            text="".join(text_of(value_at(part, "text")) for part in parts) if with_text else "",
            finish=text_of(value_at(response, "incomplete_details", "reason")) or ("" if status in ("failed", "in_progress") else status),
            usage=read_usage(
                usage, "input_tokens", ("output_tokens",), "total_tokens", value_at(usage, "output_tokens_details", "reasoning_tokens")
            ),
            model=text_of(value_at(response, "model")),
            error=reported_error(response),
            refusal="".join(text_of(value_at(part, "refusal")) for part in parts) if with_text else "",
            thought=any(value_at(item, "type") == "reasoning" for item in items) and with_text,
            tool_call=any(text_of(value_at(item, "type")).endswith("_call") for item in items),
            end=not with_text,
        )
