"""The stand-in's model in each vendor's form, asked by kind `ai` as a check would."""

from __future__ import annotations

from typing import Any

import pytest

from demo.standin import StandIn
from judge.observation import Observation
from probes.core import Reason, Verdict
from probes.kinds.ai import Ai
from tests.support.engine import Observer, observer

FORMS: dict[str, dict[str, Any]] = {
    "openai": {"model": "gpt-4o-mini"},
    "openai-responses": {"model": "gpt-4o-mini"},
    "gemini": {"model": "gemini-2.0-flash-001"},
    "vertex": {"model": "gemini-2.0-flash-001", "project": "roadtrip", "region": "europe-west1"},
    "anthropic": {"model": "claude-sonnet-4-5"},
}


async def asked(standin: StandIn, runs: Observer, api: str, **more: Any) -> Observation:
    """The observation of a check of the model, with the probe's key."""
    target = {"name": "model", "url": standin.ai_site.url, "allow": ["POST /*"]}
    settings = {"target": target, "api": api, "key": standin.world.secrets.ai_key, "prompt": "Reply with one word only: bridge"}
    return await runs.observe(Ai.model_validate(settings | FORMS[api] | more), kind="ai")


@pytest.mark.parametrize("api", list(FORMS))
@pytest.mark.parametrize("stream", [True, False])
async def test_each_form_speaks(standin: StandIn, api: str, stream: bool) -> None:  # noqa: FBT001 - a row
    """Each form replies, whole and streamed, with its usage and its model's end."""
    async with observer() as runs:
        seen = await asked(standin, runs, api, stream=stream, expect={"text": "bridge"})
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message
    assert (seen.facts["answer_tokens"], seen.facts["model"]) == (2, FORMS[api]["model"])


@pytest.mark.parametrize("api", list(FORMS))
async def test_each_form_thinks(standin: StandIn, api: str) -> None:
    """A model that is asked to think does so before its first word, and its thoughts count."""
    async with observer() as runs:
        seen = await asked(standin, runs, api, thinking={"effort": "low"}, expect={"text": "bridge", "first_thought": "4s"})
    assert (seen.verdict, seen.reason) == (Verdict.PASS, None), seen.message
    assert seen.facts["first_thought"] <= seen.facts["first_token"]
    assert seen.facts["answer_tokens"] == 7


@pytest.mark.parametrize("api", list(FORMS))
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ai-refuses", Reason.BODY),
        ("ai-empty", Reason.BODY),
        ("ai-thinks", Reason.BODY),
        ("ai-truncated", Reason.TRUNCATED),
        ("ai-down", Reason.STATUS),
        ("ai-throttled", Reason.THROTTLED),
    ],
)
async def test_each_form_fails(standin: StandIn, api: str, fault: str, reason: Reason) -> None:
    """The faults of the model have their reason in each form, and the vendor's words where there are any."""
    await standin.switch_on(fault)
    async with observer() as runs:
        seen = await asked(standin, runs, api)
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, reason), seen.message
    words = {"ai-down": "The model is overloaded", "ai-throttled": "You exceeded your current quota", "ai-thinks": "only thoughts"}
    assert words.get(fault, "") in seen.message
    assert standin.world.secrets.ai_key not in seen.message


@pytest.mark.parametrize("api", list(FORMS))
async def test_each_form_refuses_a_wrong_key(standin: StandIn, api: str) -> None:
    """A wrong key is auth in each form."""
    async with observer() as runs:
        seen = await asked(standin, runs, api, key="wrong-key-9")
    assert (seen.verdict, seen.reason) == (Verdict.FAIL, Reason.AUTH), seen.message
    assert "wrong-key-9" not in seen.message
