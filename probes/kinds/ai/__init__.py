"""Kind `ai`: sends a prompt to a model, as the application does, and judges the reply's text and speed, within a budget."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from probes import Ask, Context, Duration, Failed, Family, PolicyRefused, QuotaRefused, Reason, Result, fact_family
from probes.expect.assertions import Patterns, Texts, document, judge_latency
from probes.expect.beside import beside_the_loop
from probes.expect.patterns import shown
from probes.expect.status import Statuses, error_text, judge_status
from probes.fields import Key
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, http_families
from probes.kinds.ai.budget import Prices, TokenBudget, TokenQuota
from probes.kinds.ai.chat import Chat, ChatApi, Gemini, OpenAI, Usage, most_prompt_tokens
from probes.kinds.ai.transcript import Transcript
from probes.text import clipped, count, latency

_REFUSES = re.compile("401|403|auth|api_?key|permission|forbidden|access_?denied", re.IGNORECASE)  # in an error's code
_THROTTLES = re.compile("429|rate_?limit|too_?many|quota|exhausted|throttl", re.IGNORECASE)
_BAD_REQUEST = 400
# The words of services for a reply that the model itself ended. All others (length, SAFETY, tool_calls, ...) are asked for in `finish`.
_WHOLE = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"})


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
    first_token: Duration | None = Field(default=None, description="The longest time until the first token; only for a stream.")
    gap: Duration | None = Field(default=None, description="The longest time between two pieces of the stream.")
    within: Duration | None = Field(default=None, description="The longest time until the reply is complete.")
    tokens_per_second: float | None = Field(default=None, gt=0, description="The lowest rate of tokens after the first one.")

    def judge_text(self, transcript: Transcript) -> None:
        """Raises Failed(body) where there is no reply, or where it didn't end or its text is not as expected."""
        _require_reply(transcript)
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

    def judge_pace(self, facts: dict[str, Any], seconds: float) -> None:
        """Raises Failed(latency) where the reply was too slow."""
        if self.first_token is not None:
            judge_latency("the first token took", facts["first_token"], self.first_token)
        if self.gap is not None:
            judge_latency("a gap between two pieces took", facts.get("gap_max", 0.0), self.gap)
        if self.within is not None:
            judge_latency("the whole reply took", seconds, self.within)
        pace = facts.get("tokens_per_second")
        if self.tokens_per_second is not None and pace is not None and pace < self.tokens_per_second:
            raise Failed(Reason.LATENCY, f"{pace:.1f} tokens a second, expected at least {self.tokens_per_second:g}")


def _require_reply(transcript: Transcript) -> None:
    """Raises Failed(body) for a refusal and for a reply without a word, whatever its end says."""
    ended = transcript.ending
    if transcript.refusal:
        raise Failed(Reason.BODY, f"the model gave no reply: {shown(transcript.refusal, 120)}{ended}")
    if transcript.has_words:
        return
    usage = transcript.usage
    if transcript.thought or (usage and usage.thoughts):
        tokens = f" ({usage.thoughts} of {count(usage.reply, 'token')})" if usage and usage.thoughts else ""
        raise Failed(Reason.BODY, f"the reply has no text, only thoughts{tokens}{ended}; raise max_tokens")
    instead = ", only a call of a tool" if transcript.tool_call else ""
    raise Failed(Reason.BODY, f"the reply has no text{instead}{ended}")


class Ai(HttpProbe):
    """Sends a prompt to a model's chat endpoint, streamed, and judges the reply.

    The most tokens that a run may use (the prompt's bytes as tokens, and `max_tokens`) are reserved in the budget before the
    send. Afterwards the reservation is replaced by the usage that the service reports; without a report it stays. A request
    that was never sent, or that was refused (4xx), costs nothing.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "url": "http://127.0.0.1:9/v1/chat/completions",
            "api": "openai",
            "model": "gpt-4o-mini",
            "key": "example-key-1",
            "prompt": "Reply with one word only: bridge",
            "expect": {"text": "bridge", "first_token": "3s", "gap": "2s"},
            "budget": {"tokens": "20000/1d", "cost": "0.50 USD/1d"},
        },
        {
            "url": "http://127.0.0.1:9/",
            "api": "gemini",
            "model": "gemini-2.0-flash",
            "key": "example-key-1",
            "prompt": "Say yes",
            "stream": False,
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        fact_family("probe_ai_first_token_seconds", "Seconds from the send's start to the reply's first words", "first_token"),
        fact_family("probe_ai_longest_gap_seconds", "Longest time between two pieces of the reply, in seconds", "gap_max"),
        fact_family("probe_ai_tokens_per_second", "Tokens a second after the first one, without thoughts", "tokens_per_second"),
        fact_family("probe_ai_tokens_total", "Tokens of prompts and replies, as the service counts them", "tokens", "counter"),
        *http_families(),
    )

    api: Literal["openai", "gemini"] = Field(description="The API: OpenAI's, which many services share, or Gemini's.")
    model: str = Field(min_length=1, description="The model's name.")
    key: Key | None = Field(default=None, description="The API key; it is sent in a header, never in the address.")
    prompt: str = Field(min_length=1, description="The prompt.")
    system: str = Field(default="", description="The system prompt.")
    max_tokens: int = Field(default=20, ge=1, description="The most tokens of the reply.")
    limit_as: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The service's name for that setting (OpenAI's API)."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="The temperature; sent only if it is set.")
    stream: bool = Field(default=True, description="Whether the reply is streamed.")
    expect: ExpectReply = Field(default=ExpectReply(), description="Conditions for the reply; without it any complete reply passes.")
    budget: TokenBudget = Field(
        default=TokenBudget(), description="The most that prompts and replies together may use; it is never exceeded."
    )
    price: Prices = Field(default=Prices(), description="The price of tokens, for budget.cost.")

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        if {"key", "api_key", "access_token"} & parse_qs(urlsplit(self.location()).query).keys():
            raise ValueError("the key goes into key:, not into the address")
        if not self.stream and (self.expect.first_token or self.expect.gap or self.expect.tokens_per_second):
            raise ValueError("first_token, gap and tokens_per_second are measured in a stream; write stream: true")
        worst, cost = self.worst(), self.price.cost(self.worst())
        if self.budget.tokens and worst.total > self.budget.tokens.amount:
            raise ValueError(
                f"one run may use {worst.total} tokens (at most {worst.prompt} for the prompt, {worst.reply} for the reply); "
                f"the budget is {self.budget.tokens.amount:g}"
            )
        if self.budget.cost and self.budget.cost.unit != self.price.prompt.unit:
            raise ValueError(f"the budget is in {self.budget.cost.unit}; write the price in it, too")
        if self.budget.cost and cost > self.budget.cost.amount:
            raise ValueError(f"one run may cost {cost:.4f} {self.budget.cost.unit}; the budget is {self.budget.cost.amount:g}")
        return self

    def worst(self) -> Usage:
        """The most tokens that one run can use."""
        prompt = most_prompt_tokens(self.prompt, self.system)
        return Usage(prompt, self.max_tokens, prompt + self.max_tokens)

    def _api(self) -> ChatApi:
        return OpenAI() if self.api == "openai" else Gemini()

    def _chat(self) -> Chat:
        return Chat(self.model, self.prompt, self.system, self.max_tokens, self.stream, self.temperature, self.limit_as)

    def location(self, path: str | None = None) -> str:
        """The address of the request: below a target, the API's own path, unless the check has one."""
        if self.target is None or path or self.path:
            return super().location(path)
        return super().location(self._api().path(self._chat()))

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("POST", self.location(), ("path",) if self.path else ()),)

    def repeatable(self) -> bool:
        """False: a call costs money."""
        return False

    async def run(self, ctx: Context) -> Result:
        quota = TokenQuota(ctx.check, self.budget, self.price, self.worst())
        reservations = await quota.reserve(ctx.ledger)
        transcript, before = Transcript(self._api()), len(ctx.spans)
        try:
            response = await self._send(ctx, transcript)
        except (Failed, PolicyRefused, QuotaRefused, OSError) as error:
            if not any(span.name == "processing" for span in ctx.spans[before:]):
                await quota.settle(ctx.ledger, reservations, Usage(0, 0, 0))  # it was never sent
            if isinstance(error, Failed) and error.reason is Reason.TRUNCATED and transcript.pieces:
                raise Failed(Reason.TRUNCATED, f"{error.message}; the reply so far: {shown(transcript.text)}") from error
            raise
        if response.status in _GOOD and not self.stream:
            transcript.read_whole(await beside_the_loop(response.body, document, response, "the response"))
        _record_facts(ctx, transcript)
        if (usage := _billed_usage(response, transcript)) is not None:
            await quota.settle(ctx.ledger, reservations, usage)
        await beside_the_loop(response.body, self._judge, ctx, response, transcript)
        return Result.passed(f"{shown(transcript.text)} in {latency(response.seconds)}")

    async def _send(self, ctx: Context, transcript: Transcript) -> Response:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if self.stream else "application/json"}
        headers |= self.base_headers() | self._api().headers(self.key.get_secret_value() if self.key else "")
        request = Request("POST", self.location(), headers, json.dumps(self._api().body(self._chat())).encode())
        first_span = len(ctx.spans)

        def began() -> float:
            return ctx.started + next(span.start for span in ctx.spans[first_span:] if span.name != "token")

        def read_piece(piece: bytes, moment: float) -> bool:
            transcript.feed(piece, moment)
            if transcript.first_at is not None:  # recorded at once, so that a run that is cut short keeps it
                ctx.facts["first_token"] = transcript.first_at - began()
                ctx.facts["gap_max"] = transcript.longest_gap
            return transcript.marked

        async with self.session() as session:
            response = await session.send(ctx, request, on_data=read_piece if self.stream else None)
        if self.stream and response.status in _GOOD:
            transcript.close(began() + response.seconds)
            if transcript.first_at is not None:
                ctx.facts |= {"first_token": transcript.first_at - began(), "gap_max": transcript.longest_gap}
        return response

    def _judge(self, ctx: Context, response: Response, transcript: Transcript) -> None:
        if response.status == _BAD_REQUEST and "api key" in (text := error_text(response)).lower():
            raise Failed(Reason.AUTH, f"400, expected {_GOOD}: {text}")  # Gemini's response to an invalid key
        judge_status(response, _GOOD)
        if transcript.error:
            code = transcript.error.code
            reason = Reason.THROTTLED if _THROTTLES.search(code) else Reason.AUTH if _REFUSES.search(code) else Reason.STATUS
            raise Failed(reason, str(transcript.error))
        kind = (response.header("content-type") or "nothing").partition(";")[0]
        if self.stream and response.body and not transcript.events and kind != "text/event-stream":
            raise Failed(Reason.PROTOCOL, f"expected a stream of events, got {kind}; it begins {shown(response.text())}")
        if transcript.unreadable:
            raise Failed(Reason.PROTOCOL, f"an event of the stream is not JSON: {shown(transcript.unreadable)}")
        if not transcript.ended and not self.stream:
            raise Failed(Reason.SCHEMA, f"the response has no complete reply; it begins {shown(response.text())}")
        if not transcript.ended:
            pieces = f"after {transcript.pieces} pieces: {shown(transcript.text, 120)}" if transcript.pieces else "before its first piece"
            raise Failed(Reason.TRUNCATED, f"the stream ended without its end marker, {pieces}")
        self.expect.judge_text(transcript)
        self.expect.judge_pace(ctx.facts, response.seconds)


_GOOD = Statuses.parse(200)


def _record_facts(ctx: Context, transcript: Transcript) -> None:
    """Records facts of the reply; those that the service doesn't report are absent."""
    usage = transcript.usage
    if usage:
        ctx.facts |= {"tokens": usage.total, "prompt_tokens": usage.prompt, "answer_tokens": usage.reply}
        if usage.thoughts:
            ctx.facts["thought_tokens"] = usage.thoughts
    if transcript.finish:
        ctx.facts["finish"] = transcript.finish
    if transcript.model:
        ctx.facts["model"] = transcript.model
    if (pace := transcript.pace) is not None:
        ctx.facts["tokens_per_second"] = pace


def _billed_usage(response: Response, transcript: Transcript) -> Usage | None:
    """The tokens to charge: the service's report for a complete reply, zero for a refusal, None where the usage is unknown."""
    if transcript.ended and transcript.usage:
        return transcript.usage
    refused = 400 <= response.status < 500  # noqa: PLR2004 - HTTP's own numbers
    return Usage(0, 0, 0) if refused else None
