"""Kind `ai`: sends a prompt to a model, as the application does, and judges the reply's text and speed, within a budget."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, model_validator

from probes import Ask, Context, Failed, Family, PolicyRefused, QuotaRefused, Reason, Result, fact_family
from probes.expect.assertions import document
from probes.expect.beside import beside_the_loop
from probes.expect.json_schema import judged_schema
from probes.expect.patterns import shown
from probes.expect.status import Statuses, error_text, judge_status, retry_after
from probes.fields import Key
from probes.http.message import Request, Response
from probes.http.probe import HttpProbe, http_families
from probes.kinds.ai.anthropic import Anthropic
from probes.kinds.ai.budget import Prices, TokenBudget, TokenQuota
from probes.kinds.ai.chat import Chat, ChatApi, Thinking, Usage, merged, most_prompt_tokens
from probes.kinds.ai.expected import ExpectReply
from probes.kinds.ai.gemini import Gemini, Vertex
from probes.kinds.ai.openai import OpenAI, Responses
from probes.kinds.ai.transcript import Transcript
from probes.text import latency

_REFUSES = re.compile("401|403|auth|api_?key|permission|forbidden|access_?denied", re.IGNORECASE)  # in an error's code
_THROTTLES = re.compile("429|rate_?limit|too_?many|quota|exhausted|throttl", re.IGNORECASE)
_BAD_REQUEST = 400
_THROTTLED, _OVERLOADED = 429, 529  # the latter is Anthropic's
_OVERLOAD = frozenset({_THROTTLED, 503, _OVERLOADED})
_PAUSE = 1.0  # seconds before the second attempt where an overloaded service doesn't say when
_APIS: Mapping[str, type[ChatApi]] = {
    "openai": OpenAI,
    "openai-responses": Responses,
    "gemini": Gemini,
    "vertex": Vertex,
    "anthropic": Anthropic,
}
# Members of the body that other settings write, or by which a run could use more tokens than are reserved.
_OWN = frozenset(
    {"model", "messages", "input", "contents", "system", "systemInstruction", "instructions", "stream", "n", "best_of"}
    | {"max_tokens", "max_completion_tokens", "max_output_tokens", "tools", "previous_response_id", "conversation", "background"}
)
_OWN_GENERATION = frozenset({"maxOutputTokens", "candidateCount"})


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
        fact_family("probe_ai_first_thought_seconds", "Seconds from the send's start to the first thought", "first_thought"),
        fact_family("probe_ai_thought_tokens_total", "Tokens of thoughts, as the service counts them", "thought_tokens", "counter"),
        fact_family("probe_ai_retries_total", "Second attempts after the service was overloaded", "retries", "counter"),
        fact_family("probe_ai_first_token_seconds", "Seconds from the send's start to the reply's first words", "first_token"),
        fact_family("probe_ai_longest_gap_seconds", "Longest time between two pieces of the reply, in seconds", "gap_max"),
        fact_family("probe_ai_tokens_per_second", "Tokens a second after the first one, without thoughts", "tokens_per_second"),
        fact_family("probe_ai_tokens_total", "Tokens of prompts and replies, as the service counts them", "tokens", "counter"),
        *http_families(),
    )

    api: Literal["openai", "openai-responses", "gemini", "vertex", "anthropic"] = Field(
        description="The API: OpenAI's chat completions, which many services share, its responses, Gemini's, Vertex AI's or Anthropic's."
    )
    model: str = Field(min_length=1, description="The model's name.")
    key: Key | None = Field(default=None, description="The API key; it is sent in a header, never in the address.")
    prompt: str = Field(min_length=1, description="The prompt.")
    system: str = Field(default="", description="The system prompt.")
    max_tokens: int = Field(default=20, ge=1, description="The most tokens of the reply.")
    limit_as: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="The service's name for that setting (OpenAI's API)."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="The temperature; sent only if it is set.")
    thinking: Thinking | None = Field(default=None, description="How much the model may think; thoughts count against max_tokens.")
    json_schema: Annotated[dict[str, Any], AfterValidator(judged_schema)] | None = Field(
        default=None, description="A JSON Schema that the service is asked to keep to; the reply is judged by it, too."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further members of the request's body, merged into it; null takes a member away."
    )
    project: str = Field(default="", description="The project of Google Cloud (Vertex AI).")
    region: str = Field(default="", description="The region in that project, such as us-central1 or global (Vertex AI).")
    retry_overload: bool = Field(
        default=False, description="true: asks once more where the service is overloaded (429, 503, 529) and the time allows it."
    )
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
        paced = (self.expect.first_token, self.expect.first_thought, self.expect.gap, self.expect.tokens_per_second)
        if not self.stream and any(paced):
            raise ValueError("first_thought, first_token, gap and tokens_per_second are measured in a stream; write stream: true")
        self._judge_request()
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

    def _judge_request(self) -> None:
        """Raises ValueError for a request that the API can't take, or that the budget couldn't bound."""
        generation = self.extra.get("generationConfig")
        inner = generation.keys() & _OWN_GENERATION if isinstance(generation, dict) else set()
        if own := sorted((self.extra.keys() & _OWN) | inner):
            raise ValueError(f"{own[0]} is no extra member: other settings write it, or the budget couldn't bound what it uses")
        if self.api == "vertex" and self.target is not None and not self.path and not (self.project and self.region):
            raise ValueError("vertex needs project and region, or a path of its own")
        if self.api != "vertex" and (self.project or self.region):
            raise ValueError("project and region are of api: vertex")
        if fault := self._api().refusal_of(self._chat()):
            raise ValueError(fault)

    def worst(self) -> Usage:
        """The most tokens that one attempt can use."""
        more = (json.dumps(each) for each in (self.extra, self.json_schema) if each)
        prompt = most_prompt_tokens(self.prompt, self.system, *more)
        return Usage(prompt, self.max_tokens, prompt + self.max_tokens)

    def _api(self) -> ChatApi:
        return _APIS[self.api]()

    def _chat(self) -> Chat:
        return Chat(
            self.model,
            self.prompt,
            self.system,
            self.max_tokens,
            self.stream,
            self.temperature,
            self.limit_as,
            thinking=self.thinking,
            schema=self.json_schema,
            extra=self.extra,
            project=self.project,
            region=self.region,
        )

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
        response, transcript = await self._attempt(ctx)
        first = ""
        wait = self._pause(response) if self.retry_overload else None
        if wait is not None and wait < ctx.remaining():
            first = f"{response.status}: {error_text(response) or 'no words'}"
            ctx.evidence["first_attempt"], ctx.facts["retries"] = first, 1
            await asyncio.sleep(wait)
            try:
                response, transcript = await self._attempt(ctx)
            except QuotaRefused as refused:
                raise Failed(Reason.STATUS, f"{first}; the budget allows no second attempt: {refused.message}") from refused
        try:
            await beside_the_loop(response.body, self._judge, ctx, response, transcript)
        except Failed as failed:
            if not first:
                raise
            raise Failed(failed.reason, f"{failed.message}; it was the second attempt, after {first}", answered=failed.answered) from failed
        attempt = f"; at the second attempt, after {first}" if first else ""
        return Result.passed(f"{shown(transcript.text)} in {latency(response.seconds)}{attempt}")

    def _pause(self, response: Response) -> float | None:
        """The seconds until a second attempt; None where there is none. Without Retry-After a 429 may be a bill that isn't paid."""
        if response.status not in _OVERLOAD:
            return None
        wait = retry_after(response)
        return _PAUSE if wait is None and response.status != _THROTTLED else wait

    async def _attempt(self, ctx: Context) -> tuple[Response, Transcript]:
        """Reserves, sends and settles once."""
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
        return response, transcript

    async def _send(self, ctx: Context, transcript: Transcript) -> Response:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if self.stream else "application/json"}
        own = self.base_headers()
        named = {name.lower() for name in own}
        keyed = self._api().headers(self.key.get_secret_value() if self.key else "")
        headers |= own | {name: value for name, value in keyed.items() if name.lower() not in named}
        body = merged(self._api().body(self._chat()), self.extra)
        request = Request("POST", self.location(), headers, json.dumps(body).encode())
        first_span = len(ctx.spans)

        def began() -> float:
            return ctx.started + next(span.start for span in ctx.spans[first_span:] if span.name != "token")

        def read_piece(piece: bytes, moment: float) -> bool:
            transcript.feed(piece, moment)
            if transcript.first_thought_at is not None:
                ctx.facts["first_thought"] = transcript.first_thought_at - began()
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
        wanted = self.expect
        if self.json_schema is not None and wanted.json_schema is None:
            wanted = wanted.model_copy(update={"json_schema": self.json_schema})
        wanted.judge_text(transcript)
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
    refused = 400 <= response.status < 500 or response.status == _OVERLOADED  # noqa: PLR2004 - HTTP's own numbers
    return Usage(0, 0, 0) if refused else None
