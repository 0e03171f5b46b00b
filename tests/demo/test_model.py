from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from demo.standin import StandIn

WORD = "Reply with one word only: bridge"


@pytest.fixture
async def model(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the model with the probe's key, in the headers of both forms."""
    key = standin.world.secrets.ai_key
    headers = {"Authorization": f"Bearer {key}", "x-goog-api-key": key}
    async with httpx.AsyncClient(base_url=standin.ai_site.url, headers=headers, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
        yield client


def gemini(text: str, most: int | None = None) -> dict[str, Any]:
    """A question in Gemini's form."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": most}}


def openai(text: str, **more: Any) -> dict[str, Any]:
    """A question in OpenAI's form."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


def events(answer: httpx.Response) -> list[str]:
    """The data of each server-sent event."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [line.removeprefix("data: ") for line in answer.text.splitlines() if line]


async def test_gemini_whole(model: httpx.AsyncClient) -> None:
    """One candidate with the word, STOP, and tokens that add up."""
    body = (await model.post("/v1beta/models/gemini-2.0-flash:generateContent", json=gemini(WORD))).json()
    assert body["candidates"][0]["content"]["parts"][0]["text"] == "bridge"
    assert body["candidates"][0]["finishReason"] == "STOP"
    usage = body["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]


async def test_gemini_streamed(model: httpx.AsyncClient) -> None:
    """Pieces that join to the word; the last one alone says STOP, and counts all tokens."""
    answer = await model.post("/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse", json=gemini(WORD))
    pieces = [json.loads(event) for event in events(answer)]
    assert "".join(piece["candidates"][0]["content"]["parts"][0]["text"] for piece in pieces) == "bridge"
    assert [piece["candidates"][0].get("finishReason") for piece in pieces] == [None, "STOP"]
    assert pieces[-1]["usageMetadata"]["candidatesTokenCount"] == 2


async def test_openai_whole(model: httpx.AsyncClient) -> None:
    """One choice with the word, stop, and tokens that add up."""
    body = (await model.post("/v1/chat/completions", json=openai(WORD))).json()
    assert (body["choices"][0]["message"]["content"], body["choices"][0]["finish_reason"]) == ("bridge", "stop")
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]


async def test_openai_streamed(model: httpx.AsyncClient) -> None:
    """Deltas that join to the word, stop, usage when it is asked for, and [DONE]."""
    asked = openai(WORD, stream=True, stream_options={"include_usage": True})
    *pieces, done = events(await model.post("/v1/chat/completions", json=asked))
    chunks = [json.loads(piece) for piece in pieces]
    assert "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]) == "bridge"
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "stop"
    assert (chunks[-1]["usage"]["completion_tokens"], done) == (2, "[DONE]")


async def test_openai_streamed_and_truncated(standin: StandIn, model: httpx.AsyncClient) -> None:
    """A truncated stream has neither [DONE] nor a finish_reason."""
    await standin.switch_on("ai-truncated")
    pieces = events(await model.post("/v1/chat/completions", json=openai(WORD, stream=True)))
    assert "[DONE]" not in pieces
    assert not [choice for piece in pieces for choice in json.loads(piece)["choices"] if choice["finish_reason"]]


async def test_a_longer_answer_is_cut_at_the_limit(model: httpx.AsyncClient) -> None:
    """The token limit cuts the answer, and the finish reason says so."""
    body = (await model.post("/v1beta/models/gemini-2.0-flash:generateContent", json=gemini("Tell a story", 5))).json()
    assert (body["candidates"][0]["finishReason"], body["usageMetadata"]["candidatesTokenCount"]) == ("MAX_TOKENS", 5)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1beta/models/gemini-2.0-flash:generateContent", 400), ("/v1/chat/completions", 401)], ids=["gemini", "openai"]
)
async def test_a_wrong_key_is_refused(standin: StandIn, model: httpx.AsyncClient, path: str, status: int) -> None:
    """Each form refuses a wrong key with its provider's own status, and tells nothing of the right one."""
    answer = await model.post(path, json={**gemini(WORD), **openai(WORD)}, headers={"Authorization": "Bearer no", "x-goog-api-key": "no"})
    assert answer.status_code == status
    assert standin.world.secrets.ai_key not in answer.text


async def test_a_model_that_is_not_there_is_404(model: httpx.AsyncClient) -> None:
    """A wrong model's name is 404 in both forms."""
    assert (await model.post("/v1beta/models/gemini-9:generateContent", json=gemini(WORD))).status_code == 404
    assert (await model.post("/v1/chat/completions", json={**openai(WORD), "model": "gpt-9"})).status_code == 404
