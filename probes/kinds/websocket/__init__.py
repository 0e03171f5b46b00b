"""Kind `websocket`: the handshake, a ping, an optional dialogue, and the closing handshake."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from wsproto.events import Request

from probes import (
    Ask,
    Context,
    Failed,
    Family,
    PolicyRefused,
    Probe,
    Reason,
    Result,
    fact_family,
    info_family,
    network_families,
    phase_family,
)
from probes.expect.assertions import DUE_TO_REGEX, Expect, PatternFailed, Patterns, Texts
from probes.expect.beside import beside_the_loop
from probes.expect.conditions import Condition
from probes.expect.dialogue import Hex
from probes.expect.json_path import JsonPath
from probes.expect.status import Statuses, judge_status
from probes.expect.template import refuse_variables
from probes.facts import STATUS_CODE
from probes.fields import Headers, HeaderText, split_url
from probes.http.basic import Basic
from probes.http.message import Response
from probes.http.privacy import hide_in_address, shown_headers
from probes.kinds.websocket.connection import Rejected, Socket
from probes.target import Target, TargetRef
from probes.text import clipped
from probes.wire.addresses import Family as IpFamily
from probes.wire.endpoint import Endpoint
from probes.wire.handshake import tls_families
from probes.wire.route import Route
from probes.wire.stream import Stream
from probes.wire.tls import Tls

_ALPN = ("http/1.1",)
_CLOSE_TIMEOUT = 1.0  # seconds to wait for the server's close; the run passes also without it
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_SWITCHED = Statuses.parse(101)
_KEPT = 10  # messages that a failure keeps as evidence
_KEPT_LENGTH = 2048  # characters of each


class Message(BaseModel):
    """Conditions for a message; everything that is written must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    text: Texts = Field(default=(), description="A text that the message must contain, or several.")
    regex: Patterns = Field(default=(), description="A regular expression (RE2) found in the message, or several.")
    json_: dict[JsonPath, Condition] = Field(default={}, alias="json", description="Conditions by JSONPath.")

    @model_validator(mode="after")
    def _no_variables(self) -> Self:
        refuse_variables(self)
        return self

    def judge(self, message: bytes, now: float) -> None:
        """Raises Failed with the texts for the body of an HTTP response."""
        wanted = Expect.model_validate({"text": self.text, "regex": self.regex, "json": self.json_})
        wanted.at(now).judge(Response(200, (), message, 0.0, "", charset="utf-8"))  # RFC 6455, 5.6


class Turn(BaseModel):
    """One step: a message to send, then the expected message or the server's close."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    send: SecretStr | None = Field(default=None, description="A text message to send.")
    send_json: Any = Field(default=None, description="A text message to send, as JSON.")
    send_hex: Hex | None = Field(default=None, description="A binary message to send, in hex.")
    expect: Message | None = Field(default=None, description="Conditions for the next message; {} accepts any.")
    among: int = Field(default=1, ge=1, le=1000, description="The number of messages to look at; one of them must meet the conditions.")
    close: int | None = Field(default=None, ge=1000, le=4999, description="The server must close with this code.")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        messages = sum(given is not None for given in (self.send, self.send_json, self.send_hex))
        if messages > 1:
            raise ValueError("give one of send, send_json and send_hex")
        if self.expect is not None and self.close is not None:
            raise ValueError("give either expect or close")
        if not messages and self.expect is None and self.close is None:
            raise ValueError("an empty step; write send, expect or close")
        if "among" in self.model_fields_set and self.expect is None:
            raise ValueError("among goes with expect")
        return self

    def message(self) -> str | bytes | None:
        """The message to send, or None."""
        if self.send is not None:
            return self.send.get_secret_value()
        return json.dumps(self.send_json) if self.send_json is not None else self.send_hex


class WebSocket(Probe):
    """Opens a WebSocket, sends a ping, runs the dialogue, and closes with the closing handshake.

    Reasons: as for `http` where the handshake is refused (auth, throttled, redirect, status); protocol, truncated, size; status
    where the server closes with an unexpected code; body and schema for a message that is not as expected.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "ws://127.0.0.1:9/live"},
        {"url": "wss://127.0.0.1:9/live", "headers": {"Authorization": "Bearer example-token-1"}},
        {
            "url": "ws://127.0.0.1:9/live",
            "subprotocols": ["graphql-transport-ws"],
            "dialogue": [{"send_json": {"type": "connection_init"}, "expect": {"json": {"$.type": "connection_ack"}}}],
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        phase_family(
            "probe_websocket_duration_seconds",
            "Seconds in each phase",
            *("resolve", "connect", "tls", "handshake", "ping", "dialogue", "close"),
        ),
        fact_family("probe_websocket_status_code", "Status code of the response to the handshake; 101 where it succeeded", STATUS_CODE),
        fact_family("probe_websocket_connection_upgraded", "1 when the handshake succeeded", "connection_upgraded"),
        fact_family("probe_websocket_failed_due_to_regex", "1 when a regular expression failed the run", DUE_TO_REGEX),
        fact_family("probe_websocket_close_code", "Code that the server closed with", "close_code"),
        fact_family("probe_websocket_messages", "Messages that the server sent", "messages"),
        info_family("probe_websocket_info", "The subprotocol that the server chose", subprotocol="subprotocol"),
        *network_families(),
        *tls_families(),
    )

    target: TargetRef | None = Field(
        default=None, description="A name under targets:; the check takes its address, headers, rules and limit."
    )
    url: SecretStr | None = Field(
        default=None, description="An address that begins with ws:// or wss://, instead of a target.", examples=["wss://api.roadtrip.app"]
    )
    path: str = Field(default="", pattern=r"^([/?].*)?$", description="The path below the target's address, with the query.")
    headers: Headers = Field(default={}, description="Headers of the handshake, in addition to the target's.")
    basic: Basic | None = Field(default=None, description="User and password for the Authorization header.")
    origin: HeaderText | None = Field(default=None, description="The Origin that a browser would send: https://app.example.com.")
    subprotocols: tuple[str, ...] = Field(default=(), description="Subprotocols to offer; the server must choose one of them.")
    tls: Tls = Field(default=Tls(), description="TLS settings for wss: authorities, name and versions.")
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    ping: bool = Field(default=True, description="Send a ping after the handshake, and wait for its pong.")
    dialogue: tuple[Turn, ...] = Field(default=(), max_length=50, description="The messages to send and to expect, in order.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            split_url(url.get_secret_value(), schemes=("ws", "wss", "http", "https"), example="wss://api.roadtrip.app/live")
        return url

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.target is None) == (self.url is None):
            raise ValueError("give either target or url")
        if self.url is not None and self.path:
            raise ValueError("path goes with target; write the whole address into url")
        if urlsplit(self._configured_url()).username is not None:
            raise ValueError("write a user and a password into basic")
        return self

    def goes_to(self) -> Target | None:
        return self.target

    def _configured_url(self) -> str:
        if self.target is not None:
            return self.target.url.rstrip("/") + self.path if self.path else self.target.url
        return self.url.get_secret_value() if self.url else ""

    def location(self) -> str:
        """The handshake's address: the handshake is an HTTP request, so its scheme is http or https."""
        split = urlsplit(self._configured_url())
        return split._replace(scheme=_SCHEMES[split.scheme]).geturl()

    def address(self) -> str:
        split = urlsplit(self.location())
        host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or ""
        return f"{'wss' if split.scheme == 'https' else 'ws'}://{host}{f':{split.port}' if split.port else ''}{split.path}"

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("GET", self.location(), ("path",) if self.path else ()),)

    def repeatable(self) -> bool:
        """Whether the dialogue sends nothing: what it sends may have an effect."""
        return not any(turn.message() is not None for turn in self.dialogue)

    def endpoint(self) -> Endpoint:
        split = urlsplit(self.location())
        tls = self.tls if split.scheme == "https" else None
        return Endpoint.of(split.hostname or "", split.port or (443 if tls else 80), tls, self.ip, _ALPN)

    def cleanup_seconds(self) -> float:
        return _CLOSE_TIMEOUT

    async def run(self, ctx: Context) -> Result:
        ctx.facts |= {"connection_upgraded": False, DUE_TO_REGEX: False}
        url = httpx.URL(self.location())
        request = self._request(ctx, url)
        await ctx.permit("GET", str(url))
        tls = self.tls if url.scheme == "https" else None
        host = url.raw_host.decode("ascii").strip("[]")
        stream = await ctx.wire.stream(ctx, host, url.port or (443 if tls else 80), tls, _ALPN, Route(ip=self.ip))
        try:
            socket = Socket(ctx, stream)
            with ctx.phase("handshake") as interval:
                try:
                    await self._open(ctx, socket, request)
                except Failed:
                    interval.end = max(interval.start, stream.last_read_at)
                    raise
                interval.end = stream.last_read_at
            if self.ping:
                with ctx.phase("ping") as interval:
                    await socket.ping(ctx.rng.randbytes(8), may_close=any(turn.close is not None for turn in self.dialogue))
                    interval.end = max(interval.start, stream.last_read_at)
            if self.dialogue:
                await _WebSocketDialogue(ctx, socket, stream).run(self.dialogue)
            await _close(ctx, socket)
        finally:
            stream.abort()
        subprotocol = f" · {ctx.facts['subprotocol']}" if ctx.facts.get("subprotocol") else ""
        return Result.passed(f"{'responds as expected' if self.dialogue else 'is connected'}{subprotocol}")

    def _request(self, ctx: Context, url: httpx.URL) -> Request:
        own = {**(self.target.headers if self.target else {}), **self.headers}
        headers = ctx.sender.headers() | {name: value.get_secret_value() for name, value in own.items()}
        if self.basic:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = self.basic.header()
        if self.origin:
            headers["Origin"] = self.origin
        ctx.evidence["request"] = {"method": "GET", "url": hide_in_address(str(url)), "headers": shown_headers(headers.items())}
        try:
            raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        except UnicodeError:
            raise PolicyRefused("a header has characters that HTTP can't carry") from None
        host = url.netloc.decode("ascii")
        return Request(host=host, target=url.raw_path.decode("ascii"), subprotocols=list(self.subprotocols), extra_headers=raw)

    async def _open(self, ctx: Context, socket: Socket, request: Request) -> None:
        try:
            accepted = await socket.open(request)
        except Rejected as rejected:
            ctx.facts[STATUS_CODE] = rejected.status
            ctx.evidence["response"] = {"status": rejected.status, "body": rejected.body.decode("utf-8", "replace")}
            judge_status(Response(rejected.status, rejected.headers, rejected.body, 0.0, self.location()), _SWITCHED)
            raise
        ctx.facts |= {STATUS_CODE: 101, "connection_upgraded": True, "subprotocol": accepted.subprotocol}
        if self.subprotocols and accepted.subprotocol is None:
            raise Failed(Reason.PROTOCOL, f"the server chose no subprotocol; offered {', '.join(self.subprotocols)}")


class _WebSocketDialogue:
    """The dialogue of one run."""

    def __init__(self, ctx: Context, socket: Socket, stream: Stream) -> None:
        self._ctx = ctx
        self._socket = socket
        self._stream = stream
        self._received: list[str] = []

    async def run(self, turns: tuple[Turn, ...]) -> None:
        """Runs its steps. Raises Failed for the first expectation that isn't met; the last messages are evidence."""
        self._ctx.facts["messages"] = 0
        self._ctx.evidence["received"] = self._received
        for number, turn in enumerate(turns, 1):
            self._ctx.step = str(number)
            with self._ctx.phase("dialogue") as interval:
                if (message := turn.message()) is not None:
                    await self._socket.send(message)
                if turn.close is not None:
                    await self._socket.closed(turn.close)
                elif turn.expect is not None:
                    await self._expect(turn.expect, turn.among)
                interval.end = max(interval.start, self._stream.last_read_at)
        self._ctx.step = ""

    async def _expect(self, wanted: Message, among: int) -> None:
        self._ctx.facts[DUE_TO_REGEX] = bool(wanted.regex)  # stays true where no message comes
        for left in range(among - 1, -1, -1):
            message = await self._socket.receive()
            self._ctx.facts["messages"] += 1
            text = message if isinstance(message, str) else message[:_KEPT_LENGTH].hex(" ")
            self._received[:] = [*self._received[1 - _KEPT :], clipped(text, _KEPT_LENGTH)]
            await asyncio.sleep(0)  # of many messages at once each is judged on the loop
            try:
                body = message.encode() if isinstance(message, str) else message
                await beside_the_loop(body, wanted.judge, body, self._ctx.clock.time())
            except Failed as failed:
                if not left:
                    self._ctx.facts[DUE_TO_REGEX] = isinstance(failed, PatternFailed)
                    raise Failed(failed.reason, failed.message.replace("the body", "the message")) from failed
            else:
                self._ctx.facts[DUE_TO_REGEX] = False
                return


async def _close(ctx: Context, socket: Socket) -> None:
    """The closing handshake. The verdict is known before: a server that doesn't close has passed all the same."""
    ctx.decided = ctx.clock.monotonic()
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            with ctx.phase("close"):
                await socket.close()
    except (TimeoutError, ConnectionError):
        pass
