"""Kind `tcp`: whether a port accepts connections, with TLS where it is asked for."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from probes._core import Context, Probe, Result
from probes._families import Family, phase_family
from probes._fields import Host, Port, host_and_port
from probes._http import network_families
from probes._tls import Tls, tls_families


class Tcp(Probe):
    """Opens a connection, shakes hands where `tls` is given, and closes it. Says nothing, and waits for no word."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = ({"host": "127.0.0.1", "port": 9}, {"host": "127.0.0.1", "port": 9, "tls": {}})
    families: ClassVar[tuple[Family, ...]] = (
        phase_family("probe_tcp_duration_seconds", "Seconds in each phase of the connection", "resolve", "connect", "tls"),
        *network_families(),
        *tls_families(),
    )

    host: Host = Field(description="A name or an address.")
    port: Port
    tls: Tls | None = Field(default=None, description="Shake hands too; {} takes the defaults.")

    def address(self) -> str:
        return host_and_port(self.host, self.port)

    async def run(self, ctx: Context) -> Result:
        stream = await ctx.wire.stream(ctx, self.host, self.port, self.tls)
        stream.close()
        spoken = f" · {ctx.facts['tls_version']}" if self.tls else ""
        return Result.passed(f"{host_and_port(ctx.facts['ip'], self.port)} accepts connections{spoken}")
