"""What a check expects of a model's reply: that it is one, its text, how it ended, its form as JSON, and its speed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from probes import Duration, Failed, Reason
from probes.expect.assertions import Patterns, Texts, judge_latency
from probes.expect.json_schema import judged_schema, schema_faults
from probes.expect.patterns import shown
from probes.kinds.ai.transcript import Transcript
from probes.text import clipped, count

# The words of services for a reply that the model itself ended. All others (length, SAFETY, tool_calls, ...) are asked for in `finish`.
_WHOLE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"})
# The words of services for a reply that their own filter took back or cut off.
_BLOCKS = frozenset({"content_filter", "safety", "image_safety", "recitation", "prohibited_content", "blocklist", "spii", "model_armor"})


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Finishes = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class ExpectReply(BaseModel):
    """What the model's reply must be: its text, then its speed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    text: Texts = Field(default=(), description="A text that the reply must contain, or several; case doesn't matter.")
    not_text: Texts = Field(default=(), description="A text that the reply must not contain, or several; case doesn't matter.")
    regex: Patterns = Field(default=(), description="A regular expression (RE2) found in the reply, or several.")
    finish: Finishes = Field(
        default=(), description="How the reply may end, in the service's words: length, or several. Default: the model itself ended it."
    )
    json_schema: Annotated[dict[str, Any], AfterValidator(judged_schema)] | None = Field(
        default=None, description="The reply must be JSON that meets this JSON Schema."
    )
    first_thought: Duration | None = Field(default=None, description="The longest time until the first thought; only for a stream.")
    first_token: Duration | None = Field(default=None, description="The longest time until the first word of the reply; only for a stream.")
    gap: Duration | None = Field(default=None, description="The longest time between two pieces of the stream.")
    within: Duration | None = Field(default=None, description="The longest time until the reply is complete.")
    tokens_per_second: float | None = Field(default=None, gt=0, description="The lowest rate of tokens after the first one.")

    def judge_text(self, transcript: Transcript) -> None:
        """Raises Failed(body) where there is no reply, or where it didn't end or its text is not as expected."""
        _require_reply(transcript, self.finish)
        reply, plain = transcript.text, transcript.text.casefold()
        how = f"; the reply is {shown(reply, 120)}{transcript.ending}"
        wanted = {word.casefold() for word in self.finish} or (_WHOLE if transcript.finish else {""})
        if transcript.finish.casefold() not in wanted:
            expected = " or ".join(self.finish) or "stop"
            end = clipped(transcript.finish, 40) or "no reason"
            hint = "" if self.finish else f"; write finish: {end} under expect if it may end so"
            raise Failed(Reason.BODY, f"the reply ended by {end}, expected {expected}{hint}; it is {shown(reply, 120)}")
        for text in self.text:
            if text.casefold() not in plain:
                raise Failed(Reason.BODY, f"the reply doesn't contain {shown(text)}{how}")
        for text in self.not_text:
            if text.casefold() in plain:
                raise Failed(Reason.BODY, f"the reply contains {shown(text)}{how}")
        for pattern in self.regex:
            if pattern.search(reply) is None:
                raise Failed(Reason.BODY, f"nothing in the reply matches {pattern}{how}")
        self._judge_json(reply, how)

    def _judge_json(self, reply: str, how: str) -> None:
        if self.json_schema is None:
            return
        try:
            value = json.loads(reply)
        except (ValueError, RecursionError):
            raise Failed(Reason.SCHEMA, f"the reply is not JSON, as json_schema wants it{how}") from None
        if fault := next(schema_faults(self.json_schema, value), ""):
            raise Failed(Reason.SCHEMA, f"{fault}{how}")

    def judge_pace(self, facts: dict[str, Any], seconds: float) -> None:
        """Raises Failed(latency) where the reply was too slow."""
        if self.first_thought is not None:
            if "first_thought" not in facts:
                raise Failed(Reason.BODY, "no thought came, of which first_thought could be measured; the service may not show them")
            judge_latency("the first thought took", facts["first_thought"], self.first_thought)
        if self.first_token is not None:
            judge_latency("the first token took", facts["first_token"], self.first_token)
        if self.gap is not None:
            judge_latency("a gap between two pieces took", facts.get("gap_max", 0.0), self.gap)
        if self.within is not None:
            judge_latency("the whole reply took", seconds, self.within)
        pace = facts.get("tokens_per_second")
        if self.tokens_per_second is not None and pace is not None and pace < self.tokens_per_second:
            raise Failed(Reason.LATENCY, f"{pace:.1f} tokens a second, expected at least {self.tokens_per_second:g}")


def _require_reply(transcript: Transcript, finish: Sequence[str]) -> None:
    """Raises Failed(body) for a refusal, a block and a reply without a word, whatever its end says, unless `finish` asks for it."""
    ended, reported = transcript.ending, transcript.finish.casefold()
    if transcript.blocked:
        raise Failed(Reason.BODY, f"the service blocked the prompt: {clipped(transcript.blocked, 40)}")
    if transcript.refusal or (reported == "refusal" and reported not in map(str.casefold, finish)):
        words = transcript.refusal or transcript.text
        raise Failed(Reason.BODY, f"the model refused to reply{f': {shown(words, 120)}' if words else ''}{ended}")
    if transcript.has_words or (reported == "refusal" and not transcript.thought):
        return
    if reported in _BLOCKS:
        raise Failed(Reason.BODY, f"the service's filter blocked the reply{ended}")
    usage = transcript.usage
    if transcript.thought or (usage and usage.thoughts):
        tokens = f" ({usage.thoughts} of {count(usage.reply, 'token')})" if usage and usage.thoughts else ""
        raise Failed(Reason.BODY, f"the reply has no text, only thoughts{tokens}{ended}; raise max_tokens")
    instead = ", only a call of a tool" if transcript.tool_call else ""
    raise Failed(Reason.BODY, f"the reply has no text{instead}{ended}")
