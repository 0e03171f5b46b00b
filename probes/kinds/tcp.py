"""Kind `tcp`: whether a port accepts connections, shakes hands where TLS is wanted, and holds a dialogue where one is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from probes import Context, Failed, Family, Host, Port, Probe, Reason, Result, fact_family, host_and_port, network_families, phase_family
from probes.expect.dialogue import Dialogue, Heard, Step, judge_names
from probes.expect.template import fill
from probes.wire.endpoint import Endpoint
from probes.wire.stream import Stream
from probes.wire.tls import Tls, tls_families

_ENDS = {"crlf": b"\r\n", "lf": b"\n", "none": b""}
_LABEL = 128  # characters of what a server may put into a label


def _caught(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for fact, value in facts.items():
        if fact.startswith("expect."):
            yield (fact.removeprefix("expect."), str(value)), 1.0


class Tcp(Probe):
    """Opens a connection; then TLS, and a dialogue of lines or bytes, as far as they are asked for.

    Reasons: status (a line that `reject` names), body (the connection closed after other lines than the expected one), truncated (in
    the middle of a line, or before any), protocol (other bytes than the expected ones, or more than an answer before STARTTLS), size.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"host": "127.0.0.1", "port": 9},
        {"host": "127.0.0.1", "port": 9, "tls": {}},
        {"host": "127.0.0.1", "port": 9, "dialogue": [{"send": "PING"}, {"expect": r"^\+PONG$"}]},
        {"host": "127.0.0.1", "port": 9, "dialogue": [{"send_hex": "00000008 04d2162f"}, {"expect_hex": "53"}, {"starttls": True}]},
    )
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_tcp_duration_seconds", "Seconds in each phase of the connection", "resolve", "connect", "tls", "dialogue"),
        fact_family("probe_failed_due_to_regex", "1 when the expected line didn't come", "failed_due_to_regex"),
        fact_family("probe_failed_due_to_bytes", "1 when the expected bytes didn't come", "failed_due_to_bytes"),
        Family("probe_expect_info", "The dialogue's labels, as name and value", _caught, ("name", "value")),
        *network_families(),
        *tls_families(),
    )

    host: Host = Field(description="A name or an address.")
    port: Port
    tls: Tls | None = Field(default=None, description="Use TLS; {} takes the defaults. With starttls in the dialogue, TLS starts there.")
    dialogue: Dialogue = Field(default=(), description="The lines to expect and to send, in order.")
    newline: Literal["crlf", "lf", "none"] = Field(default="crlf", description="What ends each line that is sent.")

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if sum(step.starttls for step in self.dialogue) > 1:
            raise ValueError("TLS can start only once: write starttls in one step")
        judge_names(self.dialogue)
        return self

    def address(self) -> str:
        return host_and_port(self.host, self.port)

    def repeatable(self) -> bool:
        """What a dialogue says may do something each time."""
        return not any(step.send or step.send_hex is not None for step in self.dialogue)

    def endpoint(self) -> Endpoint:
        later = any(step.starttls for step in self.dialogue)
        return Endpoint.of(self.host, self.port, None if later else self.tls)

    async def run(self, ctx: Context) -> Result:
        later = any(step.starttls for step in self.dialogue)
        stream = await ctx.wire.stream(ctx, self.host, self.port, None if later else self.tls)
        try:
            if self.dialogue:
                await _Talk(self, ctx, stream).hold()
        except BaseException:
            stream.abort()
            raise
        stream.close()
        spoken = f" · {ctx.facts['tls_version']}" if "tls_version" in ctx.facts else ""
        where = host_and_port(ctx.facts["ip"], self.port)
        return Result.passed(f"{where} {'responds as expected' if self.dialogue else 'accepts connections'}{spoken}")


class _Talk:
    """One dialogue under way."""

    def __init__(self, probe: Tcp, ctx: Context, stream: Stream) -> None:
        self._probe = probe
        self._ctx = ctx
        self._stream = stream
        self._heard = Heard()
        self._caught: dict[str, str] = {}

    async def hold(self) -> None:
        """Step by step. Raises Failed for the first expectation that isn't met; what was heard last is evidence."""
        for number, step in enumerate(self._probe.dialogue, 1):
            self._ctx.step = str(number)
            try:
                await self._expect(step)
            finally:
                self._ctx.evidence["received"] = self._heard.lines
            await self._say(step)
            if step.starttls:
                await self._secure()
        self._ctx.step = ""

    async def _expect(self, step: Step) -> None:
        if step.expect:
            with self._failing("failed_due_to_regex"):
                self._caught |= await self._line(step)
            for name, text in step.labels.items():
                self._ctx.facts[f"expect.{name}"] = fill(text, self._caught)[:_LABEL]
        elif step.expect_hex is not None:
            with self._failing("failed_due_to_bytes"):
                await self._bytes(step.expect_hex)

    @contextmanager
    def _failing(self, fact: str) -> Iterator[None]:
        """The fact is true until the expectation is met: at the deadline too."""
        self._ctx.facts[fact] = True
        with self._ctx.phase("dialogue") as interval:
            yield
            interval.end = max(interval.start, self._stream.last_read_at)  # what came before is none of this step's time
        self._ctx.facts[fact] = False

    async def _line(self, step: Step) -> Mapping[str, str]:
        while (caught := self._heard.match(step)) is None:
            await self._listen(str(step.expect))
        return caught

    async def _bytes(self, wanted: bytes) -> None:
        while not self._heard.taken(wanted):
            await self._listen(wanted.hex(" "))

    async def _listen(self, wanted: str) -> None:
        data = await self._stream.read()
        if not data:
            raise self._heard.ending(wanted)
        self._heard.feed(data)

    async def _say(self, step: Step) -> None:
        if step.send:
            text = fill(step.send.get_secret_value(), self._caught)
            await self._stream.write(text.encode() + _ENDS[self._probe.newline])
        elif step.send_hex:
            await self._stream.write(step.send_hex)

    async def _secure(self) -> None:
        """TLS from here on. What was said in the open beyond an answer could be anybody's, so it must be nothing."""
        if extra := self._heard.left():
            raise Failed(Reason.PROTOCOL, f"the server sent {extra} bytes more than its response before TLS began")
        tls = self._probe.tls or Tls()
        await self._ctx.wire.secure(self._ctx, self._stream, tls, await self._ctx.wire.tls_context(tls), self._probe.host)
