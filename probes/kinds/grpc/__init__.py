"""Kind `grpc`: asks a gRPC server through the health protocol whether it, or one of its services, is serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from probes import (
    Ask,
    Context,
    Failed,
    Family,
    Host,
    PolicyRefused,
    Port,
    Probe,
    Reason,
    Result,
    fact_family,
    host_and_port,
    network_families,
)
from probes.expect.status import Statuses, judge_status
from probes.fields import HeaderValue
from probes.http.exchange import Exchange, OutgoingRequest
from probes.http.http1 import refuse_line_breaks
from probes.http.http2 import Http2
from probes.http.message import Response
from probes.http.privacy import shown_headers
from probes.kinds.grpc.messages import CHECK, SERVING, check_request, judge_code, serving_status
from probes.wire.addresses import Family as IpFamily
from probes.wire.endpoint import Endpoint
from probes.wire.handshake import tls_families
from probes.wire.route import Route
from probes.wire.tls import Tls

BODY_CAP = 64 * 1024  # bytes: a HealthCheckResponse has two
_ALPN = ("h2",)
_OK = Statuses.parse(200)


def _metadata_name(name: str) -> str:
    if name != name.lower() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or not name.isascii():
        raise ValueError(f"{name!r} is not a name for metadata; it may have lower-case letters, digits, -, _ and .")
    if name.startswith("grpc-") or name.endswith("-bin"):
        raise ValueError(f"{name} can't be sent: names grpc-* belong to the protocol, and *-bin are bytes")
    return name


def _phase_samples(seen: Mapping[str, float], _facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    """The blackbox_exporter's phases; `check` lasts from the request to the trailers."""
    for phase in ("resolve", "connect", "tls"):
        if phase in seen:
            yield (phase,), seen[phase]
    if "processing" in seen:
        yield ("check",), seen["processing"] + seen.get("transfer", 0.0)


def _serving_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    if "serving_status" in facts:
        for status in SERVING:
            yield (status,), float(status == facts["serving_status"])


class Grpc(Probe):
    """One call of grpc.health.v1.Health/Check over HTTP/2, with TLS or without.

    Reasons: body (another serving status than the expected one), auth (UNAUTHENTICATED, PERMISSION_DENIED), throttled
    (RESOURCE_EXHAUSTED), timeout (DEADLINE_EXCEEDED), status (any other code, such as UNIMPLEMENTED or NOT_FOUND), protocol (the
    response is not gRPC), reset and truncated where the connection or the stream ends before the response is complete.
    """

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"host": "127.0.0.1", "port": 9},
        {
            "host": "127.0.0.1",
            "port": 9,
            "tls": {},
            "service": "roadtrip.v1.Stories",
            "metadata": {"authorization": "Bearer example-token-3"},
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        Family("probe_grpc_duration_seconds", "Seconds in each phase; check is the whole call", _phase_samples, ("phase",)),
        fact_family("probe_grpc_ssl", "1 when the call went over TLS", "ssl"),
        fact_family("probe_grpc_status_code", "gRPC's status of the call; 0 is OK", "grpc_status"),
        Family("probe_grpc_healthcheck_response", "1 for the serving status in the response", _serving_samples, ("serving_status",)),
        *network_families(),
        *tls_families(),
    )

    host: Host = Field(description="A name or an address.")
    port: Port
    tls: Tls | None = Field(default=None, description="Use TLS; {} takes the defaults. Without it the check uses plain HTTP/2 (h2c).")
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    service: str = Field(default="", description="The service to check, such as roadtrip.v1.Stories; empty means the whole server.")
    metadata: dict[Annotated[str, AfterValidator(_metadata_name)], HeaderValue] = Field(default={}, description="Metadata of the call.")
    expect: Literal["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN", "UNKNOWN"] = Field(
        default="SERVING", description="The expected serving status."
    )

    def address(self) -> str:
        return f"{host_and_port(self.host, self.port)}{f' {self.service}' if self.service else ''}"

    def repeatable(self) -> bool:
        """The health protocol's Check changes nothing, though it is a POST."""
        return True

    def endpoint(self) -> Endpoint:
        return Endpoint.of(self.host, self.port, self.tls, self.ip, _ALPN)

    def asks(self) -> tuple[Ask, ...]:
        return (Ask("POST", self._url()),)

    def _url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{host_and_port(self.host, self.port)}{CHECK}"

    async def run(self, ctx: Context) -> Result:
        request = self._build_request(ctx)
        refuse_line_breaks(request)
        await ctx.permit("POST", self._url())
        stream = await ctx.wire.stream(ctx, self.host, self.port, self.tls, _ALPN, Route(ip=self.ip))
        try:
            if stream.tls is not None and stream.tls.selected_alpn_protocol() != "h2":
                raise Failed(Reason.PROTOCOL, "the server didn't agree to HTTP/2 in the TLS handshake; gRPC needs it")
            ctx.facts["ssl"] = int(stream.tls is not None)
            exchange = await Http2(stream).send(ctx, request)
            await exchange.receive_head()
            body = await _body(exchange)
        finally:
            stream.abort()
        status = self._judge(ctx, exchange, body)
        return Result.passed(f"{self.service or host_and_port(self.host, self.port)} is {status}")

    def _build_request(self, ctx: Context) -> OutgoingRequest:
        """The request. It contains the deadline, so that the server can stop in time."""
        metadata = {name: value.get_secret_value() for name, value in self.metadata.items()}
        own = {
            "host": host_and_port(self.host, self.port),
            "te": "trailers",
            "content-type": "application/grpc+proto",
            "grpc-timeout": f"{max(1, int(ctx.remaining() * 1000)):d}m",
        }
        headers = own | {name.lower(): value for name, value in ctx.sender.headers().items()} | metadata
        try:
            raw = tuple((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items())
        except UnicodeError:
            raise PolicyRefused("metadata has characters beyond ASCII, which gRPC can't carry") from None
        return OutgoingRequest("POST", CHECK.encode(), "https" if self.tls else "http", raw, check_request(self.service))

    def _judge(self, ctx: Context, exchange: Exchange, body: bytes) -> str:
        fields = exchange.fields()
        kind = exchange.header("content-type") or ""
        ctx.evidence["response"] = {
            "status": exchange.status,
            "headers": shown_headers(fields),
            "trailers": shown_headers(exchange.trailers),
        }
        trailers = dict(fields) | dict(exchange.trailers)  # a response of headers alone has its status there
        if "grpc-status" not in trailers or not kind.startswith("application/grpc"):
            judge_status(Response(exchange.status, fields, body, 0.0, self._url()), _OK)
            fault = f"200 with {kind or 'no content type'}" if not kind.startswith("application/grpc") else "no grpc-status"
            raise Failed(Reason.PROTOCOL, f"the response is not gRPC: {fault}")
        code = trailers["grpc-status"]
        if not code.isdecimal() or len(code) > 9:  # noqa: PLR2004 - far above any code
            raise Failed(Reason.PROTOCOL, "grpc-status is not a number")
        ctx.facts["grpc_status"] = int(code)
        judge_code(int(code), trailers.get("grpc-message", ""), self.service)
        status = ctx.facts["serving_status"] = serving_status(body)
        if status != self.expect:
            raise Failed(Reason.BODY, f"{self.service or 'the server'} is {status}, expected {self.expect}")
        return status


async def _body(exchange: Exchange) -> bytes:
    body = bytearray()
    async for piece in exchange.body():
        body += piece
        if len(body) > BODY_CAP:
            raise Failed(Reason.SIZE, f"the response exceeds {BODY_CAP // 1024} KiB")
    return bytes(body)
