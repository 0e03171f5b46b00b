from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.kinds.ai.budget import Price
from probes.kinds.ai.chat import Usage, most_prompt_tokens
from probes.kinds.ai.events import EventReader, ServerEvent
from probes.kinds.ai.gemini import Gemini
from probes.kinds.ai.openai import OpenAI
from probes.kinds.ai.transcript import Transcript

TEXT = 'data: {"a": "é€😀"}\r\n\r\n: a comment\ndata: one\ndata:two\rid: 7\r\rdata\n\nevent: x\n\ndata: lost'.encode()


@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
@settings(max_examples=200)
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """A stream cut anywhere, inside a character or between CR and LF, gives the same events; an unfinished one never comes."""
    bounds = [0, *sorted(cuts), len(TEXT)]
    reader = EventReader()
    events = [event.data for start, end in pairwise(bounds) for event in reader.feed(TEXT[start:end])]

    assert events == ['{"a": "é€😀"}', "one\ntwo", ""]
    assert reader.events == 3


def test_a_byte_order_mark_is_ignored() -> None:
    """A stream may begin with a byte order mark."""
    assert list(EventReader().feed(b"\xef\xbb\xbfdata: x\n\n")) == [ServerEvent("x")]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "usage", "candidates", "parts", "text", "error", "usageMetadata", "finishReason"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(json_like)
@settings(max_examples=150)
def test_no_answer_breaks_the_reading(value: Any) -> None:
    """Whatever JSON a service sends, it is read or passed over."""
    for form in (OpenAI(), Gemini()):
        transcript = Transcript(form)
        transcript.feed(f"data: {json.dumps(value)}\n\n".encode(), 1.0)
        transcript.read_whole(value)
        assert isinstance(transcript.text, str)


def test_pace() -> None:
    """The longest gap and the pace come from the moments at which the pieces came, and the tokens from the service's count."""
    transcript = Transcript(OpenAI())
    for text, moment in (("a", 10.0), ("b", 10.5), ("c", 12.0)):
        transcript.feed(f'data: {{"choices": [{{"delta": {{"content": "{text}"}}}}]}}\n\n'.encode(), moment)

    assert (transcript.text, transcript.first_at, transcript.longest_gap, transcript.pace) == ("abc", 10.0, 1.5, 1.0)
    transcript.feed(b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}\n\n', 12.0)
    assert transcript.pace == 4.0
    assert transcript.usage == Usage(3, 9, 12)
    assert Transcript(OpenAI()).pace is None


@given(st.text(max_size=40))
@settings(max_examples=50)
def test_a_prompt_has_no_more_tokens_than_bytes(prompt: str) -> None:
    """The bound of a prompt's tokens is never below its bytes."""
    assert most_prompt_tokens(prompt) >= len(prompt.encode())


def test_prices() -> None:
    """A price is for a thousand or a million tokens."""
    assert Price.parse("0.40 USD/1M").per_token == pytest.approx(4e-7)
    assert Price.parse("0.00025 EUR/1k") == Price("0.00025 EUR/1k", 2.5e-7, "EUR")
