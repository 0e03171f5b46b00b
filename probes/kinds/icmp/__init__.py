"""Kind `icmp`: echo requests (ping), timed by the kernel's own timestamps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from probes import Context, Duration, Failed, Family, Host, Probe, Reason, Result, fact_family, network_families
from probes.expect.assertions import judge_latency
from probes.facts import IP, IP_PROTOCOL
from probes.fields import positive_seconds
from probes.kinds.icmp.echo import V4, V6, Echoes, EchoReply, open_socket, prepare
from probes.text import latency
from probes.wire.addresses import Family as IpFamily
from probes.wire.route import Route

_NONCE = 16  # random bytes of a payload, which make it unique
_SHARE = 0.95  # share of the remaining time: replies after it count as lost


def _phase_samples(seen: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    """The blackbox_exporter's phases; rtt is the mean of the replies, or the time waited where none came."""
    for phase in ("resolve", "setup", "rtt"):
        if phase in seen:
            yield (phase,), facts.get("rtt_mean", seen[phase]) if phase == "rtt" else seen[phase]


def _round_trip_samples(_phases: Mapping[str, float], facts: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], float]]:
    for which in ("min", "mean", "max"):
        if f"rtt_{which}" in facts:
            yield (which,), facts[f"rtt_{which}"]


class Icmp(Probe):
    """Sends echo requests to the first address of a host that the system has a route to, and expects a reply to each.

    Reasons: timeout (no reply), unreachable (a router reports an error, such as time exceeded), size (too long for one packet),
    latency. Where the runner may not send ICMP the verdict is unknown.
    """

    transport: ClassVar[str] = "icmp"
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"host": "127.0.0.1"}, {"host": "::1", "count": 3, "allow_lost": 1})
    families: ClassVar[tuple[Family, ...]] = (
        Family("probe_icmp_duration_seconds", "Seconds in each phase; rtt is the mean of the replies", _phase_samples, ("phase",)),
        fact_family("probe_icmp_reply_hop_limit", "Hop limit (TTL) that the last reply had left", "hop_limit"),
        Family("probe_icmp_round_trip_seconds", "The shortest, mean and longest round trip of the run", _round_trip_samples, ("of",)),
        fact_family("probe_icmp_sent", "Echo requests that the run sent", "sent"),
        fact_family("probe_icmp_received", "Replies that came", "received"),
        *network_families(),
    )

    host: Host = Field(description="A name or an address.")
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    count: int = Field(default=1, ge=1, le=20, description="The number of requests in a run.")
    every: Duration = Field(default=positive_seconds("200ms"), description="The time between two requests.")
    allow_lost: int = Field(default=0, ge=0, description="The most requests that may get no reply.")
    payload_size: int = Field(default=56, ge=0, le=65507, description="The bytes after the header of eight bytes.")
    ttl: int | None = Field(default=None, ge=1, le=255, description="The hop limit of the requests; by default the system's.")
    dont_fragment: bool = Field(default=False, description="Whether routers must not fragment the requests.")
    within: Duration | None = Field(default=None, description="The longest mean round trip; a longer one fails with reason latency.")

    @model_validator(mode="after")
    def _some_must_come(self) -> Self:
        if self.allow_lost >= self.count:
            raise ValueError("allow_lost must be less than count")
        return self

    def address(self) -> str:
        return self.host

    async def run(self, ctx: Context) -> Result:
        addresses = await ctx.wire.resolve(ctx, self.host, Route(ip=self.ip))
        with ctx.phase("setup"):
            address, echoes = self._open_first(ctx, addresses)
        ctx.facts |= {"sent": 0, "received": 0}
        trips: dict[int, float] = {}
        try:
            await (self.ping_once(ctx, echoes, trips) if self.count == 1 else self.ping_repeatedly(ctx, echoes, trips))
        finally:
            echoes.close()
        if self.count - len(trips) > self.allow_lost:
            raise Failed(Reason.TIMEOUT, f"{len(trips)} of {self.count} echo requests were answered within {latency(ctx.waited)}")
        mean = ctx.facts["rtt_mean"]
        if self.within is not None:
            judge_latency("the round trip took", mean, self.within)
        answered = f"{len(trips)} of {self.count} answered, " if self.count > 1 else ""
        return Result.passed(f"{address}: {answered}{latency(mean)}")

    def _open_first(self, ctx: Context, addresses: Sequence[str]) -> tuple[str, Echoes]:
        """The first address to which the system has a route, and its socket. Raises the first OSError, with all addresses."""
        errors: dict[str, OSError] = {}
        for address in addresses:
            ctx.facts |= {IP: address, IP_PROTOCOL: 6 if ":" in address else 4}
            try:
                return address, self._open(ctx, address)
            except OSError as error:
                errors[address] = error
        first = next(iter(errors.values()))
        raise OSError(first.errno, "; ".join(f"{address}: {error.strerror or error}" for address, error in errors.items())) from first

    def _open(self, ctx: Context, address: str) -> Echoes:
        version = V6 if ":" in address else V4
        sock, raw = open_socket(version)
        try:
            prepare(sock, version, hops=self.ttl, whole=self.dont_fragment)
            sock.connect((address, 0))
            payload = (ctx.rng.randbytes(_NONCE) + bytes(self.payload_size))[: self.payload_size]
            return Echoes(sock, version, raw=raw, ident=ctx.rng.getrandbits(16), payload=payload, clock=ctx.clock)
        except BaseException:
            sock.close()
            raise

    async def ping_once(self, ctx: Context, echoes: Echoes, trips: dict[int, float]) -> None:
        """Sends a request and waits for its reply, until the run's deadline."""
        with ctx.phase("rtt") as interval:
            interval.start = self._send(ctx, echoes, 1)
            while (reply := await echoes.receive()).sequence != 1:
                pass
            interval.end = reply.at
        _record_reply(ctx, trips, reply, interval.start)

    async def ping_repeatedly(self, ctx: Context, echoes: Echoes, trips: dict[int, float]) -> None:
        """Sends a request each `every` seconds, and receives replies until all are there or the time is over."""
        sent: dict[int, float] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ctx.remaining() * _SHARE):
                for number in range(1, self.count + 1):
                    sent[number] = self._send(ctx, echoes, number)
                    last = number == self.count
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(None if last else self.every):
                            await self._receive_replies(ctx, echoes, trips, sent)

    async def _receive_replies(self, ctx: Context, echoes: Echoes, trips: dict[int, float], sent: Mapping[int, float]) -> None:
        while len(trips) < self.count:
            reply = await echoes.receive()
            if reply.sequence in sent and reply.sequence not in trips:
                ctx.mark("rtt", sent[reply.sequence], reply.at)
                _record_reply(ctx, trips, reply, sent[reply.sequence])

    def _send(self, ctx: Context, echoes: Echoes, number: int) -> float:
        at = echoes.send(number)
        ctx.facts["sent"] += 1
        return at


def _record_reply(ctx: Context, trips: dict[int, float], reply: EchoReply, sent: float) -> None:
    trips[reply.sequence] = max(0.0, reply.at - sent)
    took = list(trips.values())
    ctx.facts |= {"received": len(took), "rtt_min": min(took), "rtt_mean": sum(took) / len(took), "rtt_max": max(took)}
    if reply.hops is not None:
        ctx.facts["hop_limit"] = reply.hops
