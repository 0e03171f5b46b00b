"""Kind `tls`: a server's certificate and its chain, and how long they remain valid."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from probes import (
    Context,
    Duration,
    Failed,
    Family,
    Host,
    Port,
    Probe,
    Reason,
    Result,
    fact_family,
    host_and_port,
    network_families,
    phase_family,
)
from probes.facts import TLS_VERSION
from probes.wire.addresses import Family as IpFamily
from probes.wire.endpoint import Endpoint
from probes.wire.handshake import tls_families
from probes.wire.route import Route
from probes.wire.stream import Stream
from probes.wire.tls import Tls, broken, day

_ALERT_WAIT = 0.5  # seconds; they don't count as the target's time


class Validity(BaseModel):
    """Conditions for a certificate, in addition to its validity."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    valid_for: Duration | None = Field(default=None, description="How long the certificate must still be valid, such as 7d.")


class Handshake(Probe):
    """Makes a TLS handshake and judges the certificate. Its facts are recorded even if the handshake fails."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"host": "127.0.0.1", "port": 9, "expect": {"valid_for": "7d"}},)
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_tls_duration_seconds", "Seconds in each phase up to the handshake's end", "resolve", "connect", "tls"),
        fact_family("probe_tls_valid_seconds", "Seconds until the chain's first certificate expires; below 0 once it has", "valid_seconds"),
        *network_families(),
        *tls_families(),
    )

    host: Host = Field(description="A name or an address; the certificate must be for it, unless tls.server_name is another name.")
    port: Port = 443
    tls: Tls = Field(default=Tls(), description="TLS settings: authorities, server name and oldest version.")
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    expect: Validity = Field(default=Validity(), description="Further conditions for the certificate.")

    def address(self) -> str:
        return host_and_port(self.host, self.port)

    def endpoint(self) -> Endpoint:
        return Endpoint.of(self.host, self.port, self.tls, self.ip)

    async def run(self, ctx: Context) -> Result:
        try:
            stream = await ctx.wire.stream(ctx, self.host, self.port, self.tls, route=Route(ip=self.ip))
        finally:
            # By the verified chain: a presented chain may contain an expired cross-signature that nobody needs.
            expiry = ctx.facts.get("chain_expiry", ctx.facts.get("cert_expiry"))
            if expiry is not None:
                ctx.facts["valid_seconds"] = expiry - ctx.clock.time()
        try:
            await self._wait_for_alert(ctx, stream)
        finally:
            stream.close()
        left = ctx.facts.get("valid_seconds")
        if left is None:
            if self.expect.valid_for is not None:
                raise Failed(Reason.TLS, "it can't be read until when the certificate is valid")
            return Result.passed(f"valid until an unknown moment · {ctx.facts[TLS_VERSION]}")
        until = day(ctx.clock.time() + left)
        term = f"expires in {in_words(left)}" if left > 0 else f"expired {in_words(-left)} ago"
        if self.expect.valid_for is not None and left < self.expect.valid_for:
            raise Failed(Reason.EXPIRED, f"the certificate {term}, on {until}; expected at least {in_words(self.expect.valid_for)} left")
        if left <= 0:
            return Result.passed(f"{term}, on {until}, which tls.verify: false accepts · {ctx.facts[TLS_VERSION]}")
        return Result.passed(f"valid for {in_words(left)}, until {until} · {ctx.facts[TLS_VERSION]}")

    async def _wait_for_alert(self, ctx: Context, stream: Stream) -> None:
        """In TLS 1.3 a server refuses our certificate only after the handshake, with an alert. Raises Failed(auth, tls)."""
        if ctx.facts[TLS_VERSION] != "TLSv1.3":
            return
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(min(_ALERT_WAIT, ctx.remaining() / 2)):
                try:
                    await stream.close_tls()
                except ssl.SSLError as error:
                    raise broken(error) from error


def in_words(seconds: float) -> str:
    """A duration in its two largest units, rounded down: 3 d 2 h, 2 h, 12 min 3 s."""
    left = int(seconds)
    for (unit, length), (lesser, part) in pairwise((("d", 86400), ("h", 3600), ("min", 60), ("s", 1))):
        if left >= length:
            rest = left % length // part
            return f"{left // length} {unit}" + (f" {rest} {lesser}" if rest else "")
    return f"{left} s"
