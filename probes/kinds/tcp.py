"""Kind `tcp`: whether a port accepts connections; optionally a TLS handshake and a dialogue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from probes import Context, Failed, Family, Host, Port, Probe, Reason, Result, fact_family, host_and_port, network_families, phase_family
from probes.expect.assertions import DUE_TO_REGEX
from probes.expect.dialogue import Dialogue, DialogueStep, ReceiveBuffer, judge_names
from probes.expect.template import fill
from probes.facts import IP, TLS_VERSION
from probes.text import clipped
from probes.wire.addresses import Family as IpFamily
from probes.wire.endpoint import Endpoint
from probes.wire.handshake import tls_families
from probes.wire.route import Route
from probes.wire.stream import Stream
from probes.wire.tls import Tls

_ENDS = {"crlf": b"\r\n", "lf": b"\n", "none": b""}
_LABEL = 128  # characters of a label's value, which comes from the server


def _label_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for fact, value in facts.items():
        if fact.startswith("expect."):
            yield (fact.removeprefix("expect."), str(value)), 1.0


class Tcp(Probe):
    """Opens a connection, then starts TLS and holds a dialogue of lines or bytes where the check has them.

    Reasons: status (a line that `reject` names), body (the connection closed after other lines than the expected one), truncated (in
    the middle of a line, or before any), protocol (other bytes than the expected ones, or data after the response to STARTTLS), size.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"host": "127.0.0.1", "port": 9},
        {"host": "127.0.0.1", "port": 9, "tls": {}},
        {"host": "127.0.0.1", "port": 9, "dialogue": [{"send": "PING"}, {"expect": r"^\+PONG$"}]},
        {"host": "127.0.0.1", "port": 9, "dialogue": [{"send_hex": "00000008 04d2162f"}, {"expect_hex": "53"}, {"starttls": True}]},
    )
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_tcp_duration_seconds", "Seconds in each phase of the connection", "resolve", "connect", "tls", "dialogue"),
        fact_family("probe_failed_due_to_regex", "1 when a regular expression failed the run", DUE_TO_REGEX),
        fact_family("probe_failed_due_to_bytes", "1 when the expected bytes didn't come", "failed_due_to_bytes"),
        Family("probe_expect_info", "The dialogue's labels, as name and value", _label_samples, ("name", "value")),
        *network_families(),
        *tls_families(),
    )

    host: Host = Field(description="A name or an address.")
    port: Port
    tls: Tls | None = Field(default=None, description="Use TLS; {} takes the defaults. With starttls in the dialogue, TLS starts there.")
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
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
        """Whether the dialogue sends nothing: what it sends may have an effect."""
        return not any(step.send or step.send_hex is not None for step in self.dialogue)

    def endpoint(self) -> Endpoint:
        later = any(step.starttls for step in self.dialogue)
        return Endpoint.of(self.host, self.port, None if later else self.tls, self.ip)

    def unverified_handshake(self) -> Callable[[Context], Awaitable[Stream]] | None:
        """With STARTTLS, the dialogue up to there comes first; its steps are those that every run sends in plain text."""
        first = next((number for number, step in enumerate(self.dialogue, 1) if step.starttls), None)
        tls = self.tls or Tls()
        if first is None:
            return super().unverified_handshake()
        if not tls.verify:
            return None
        shortened = self.model_copy(update={"dialogue": self.dialogue[:first], "tls": tls.model_copy(update={"verify": False})})
        return lambda ctx: _open(shortened, ctx)

    async def run(self, ctx: Context) -> Result:
        ctx.facts |= {DUE_TO_REGEX: False, "failed_due_to_bytes": False}
        (await _open(self, ctx)).close()
        tls = f" · {ctx.facts[TLS_VERSION]}" if TLS_VERSION in ctx.facts else ""
        where = host_and_port(ctx.facts[IP], self.port)
        return Result.passed(f"{where} {'responds as expected' if self.dialogue else 'accepts connections'}{tls}")


async def _open(probe: Tcp, ctx: Context) -> Stream:
    """The connection after the dialogue."""
    later = any(step.starttls for step in probe.dialogue)
    stream = await ctx.wire.stream(ctx, probe.host, probe.port, None if later else probe.tls, route=Route(ip=probe.ip))
    try:
        if probe.dialogue:
            await _TcpDialogue(probe, ctx, stream).run()
    except BaseException:
        stream.abort()
        raise
    return stream


class _TcpDialogue:
    """The dialogue of one run."""

    def __init__(self, probe: Tcp, ctx: Context, stream: Stream) -> None:
        self._probe = probe
        self._ctx = ctx
        self._stream = stream
        self._buffer = ReceiveBuffer()
        self._captured: dict[str, str] = {}

    async def run(self) -> None:
        """Runs its steps. Raises Failed for the first expectation that isn't met; the last received lines are evidence."""
        for number, step in enumerate(self._probe.dialogue, 1):
            self._ctx.step = str(number)
            try:
                await self._expect(step)
            finally:
                self._ctx.evidence["received"] = self._buffer.received()
            if step.send:
                text = fill(step.send.get_secret_value(), self._captured)
                await self._stream.write(text.encode() + _ENDS[self._probe.newline])
            elif step.send_hex:
                await self._stream.write(step.send_hex)
            if step.starttls:
                if extra := self._buffer.left():  # data before the handshake could come from anybody
                    raise Failed(Reason.PROTOCOL, f"the server sent {extra} bytes more than its response before TLS began")
                tls = self._probe.tls or Tls()
                await self._ctx.wire.secure(self._ctx, self._stream, tls, await self._ctx.wire.tls_context(tls), self._probe.host)
        self._ctx.step = ""

    async def _expect(self, step: DialogueStep) -> None:
        if step.expect:
            with self._failing(DUE_TO_REGEX):
                try:
                    while (captured := self._buffer.match(step)) is None:
                        await self._read(str(step.expect))
                except BaseException:
                    self._ctx.unfinished = self._buffer.unfinished()
                    raise
                self._captured |= captured
            for name, text in step.labels.items():
                self._ctx.facts[f"expect.{name}"] = clipped(fill(text, self._captured), _LABEL)
        elif step.expect_hex is not None:
            with self._failing("failed_due_to_bytes"):
                while not self._buffer.take_bytes(step.expect_hex):
                    await self._read(step.expect_hex.hex(" "))

    @contextmanager
    def _failing(self, fact: str) -> Iterator[None]:
        """Sets the fact to true until the expectation is met, so that it stays true at the deadline."""
        self._ctx.facts[fact] = True
        with self._ctx.phase("dialogue") as interval:
            yield
            interval.end = max(interval.start, self._stream.last_read_at)  # data that came before this step doesn't count as its time
        self._ctx.facts[fact] = False

    async def _read(self, wanted: str) -> None:
        data = await self._stream.read()
        if not data:
            raise self._buffer.closed_failure(wanted)
        self._buffer.feed(data)
