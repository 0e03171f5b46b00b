"""Google's API of its models, by an API key (Gemini) or in a project of Google Cloud (Vertex AI)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from probes.kinds.ai.chat import Chat, ChatApi, ReplyPiece, read_usage, reported_error, text_of, value_at


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
        if chat.thinking:
            effort, budget = chat.thinking.effort, chat.thinking.budget
            generation["thinkingConfig"] = {
                **({"thinkingLevel": effort} if effort else {}),
                **({"thinkingBudget": budget} if budget is not None else {}),
                **({"includeThoughts": True} if budget != 0 else {}),  # without it nobody sees when the first thought came
            }
        if chat.schema is not None:
            generation |= {"responseMimeType": "application/json", "responseJsonSchema": chat.schema}
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": chat.prompt}]}], "generationConfig": generation}
        if chat.system:
            body["systemInstruction"] = {"parts": [{"text": chat.system}]}
        return body

    def read(self, value: Any) -> ReplyPiece:
        candidate, usage = value_at(value, "candidates", 0), value_at(value, "usageMetadata")
        content = value_at(candidate, "content", "parts")
        parts = content if isinstance(content, list) else []
        blocked = text_of(value_at(value, "promptFeedback", "blockReason"))
        return ReplyPiece(
            text="".join(text_of(value_at(part, "text")) for part in parts if value_at(part, "thought") is not True),
            finish=text_of(value_at(candidate, "finishReason")) or blocked,
            usage=read_usage(
                usage,
                "promptTokenCount",
                ("candidatesTokenCount", "thoughtsTokenCount"),
                "totalTokenCount",
                value_at(usage, "thoughtsTokenCount"),
            ),
            model=text_of(value_at(value, "modelVersion")),
            error=reported_error(value),
            blocked=blocked,
            thought=any(value_at(part, "thought") is True for part in parts),
            tool_call=any(value_at(part, "functionCall") is not None for part in parts),
        )


class Vertex(Gemini):
    """POST /v1/projects/.../publishers/google/models/...:streamGenerateContent, with an access token; the rest is as Gemini's."""

    def path(self, chat: Chat) -> str:
        _, _, call = super().path(chat).rpartition("/models/")
        project, region = quote(chat.project, safe=""), quote(chat.region, safe="")
        return f"/v1/projects/{project}/locations/{region}/publishers/google/models/{call}"

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}
