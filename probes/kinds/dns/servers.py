"""The DNS servers that a check asks: how checks.yaml names them, and asking them in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import dns.resolver
from pydantic import AfterValidator, BeforeValidator

from probes import Failed, Reason
from probes.fields import host
from probes.kinds.dns.expected import listed

T = TypeVar("T")
R = TypeVar("R")


def read_server(text: str) -> tuple[str, int]:
    """10.0.0.2, 10.0.0.2:5353, [2001:db8::1]:5353 or ns1.example.com: the host and the port. Raises ValueError."""
    name, colon, port = text.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):
        name, port = text, "53"
    try:
        number = int(port)
        plain = host(name)
    except ValueError:
        number, plain = 0, ""
    if not 0 < number <= 65535:  # noqa: PLR2004 - the largest port
        raise ValueError("write an address or a name, such as 10.0.0.2, [2001:db8::1]:5353 or ns1.example.com")
    return plain, number


Server = Annotated[str, AfterValidator(lambda text: read_server(text) and text)]
Servers = Annotated[tuple[Server, ...], BeforeValidator(listed, json_schema_input_type=str | list[str])]


def system_servers(file: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The addresses of this machine's DNS servers; empty where it has none."""
    try:
        return [str(server) for server in dns.resolver.Resolver(str(file)).nameservers]
    except dns.resolver.NoResolverConfiguration:
        return []


async def in_turn(within: float, options: Sequence[T], ask: Callable[[T, float], Awaitable[R]]) -> R:
    """What the first of the options gives that is reached: that raises neither OSError nor Failed(dns). There must be one.

    Each option but the last gets an equal share of `within` seconds, which `ask` is told; the caller's deadline ends the last one.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    for left in range(len(options), 1, -1):
        share = max(0.0, until - loop.time()) / left
        try:
            async with asyncio.timeout(share):
                return await ask(options[-left], share)
        except OSError:  # TimeoutError, too
            continue
        except Failed as failed:
            if failed.reason is not Reason.DNS:
                raise
    return await ask(options[-1], max(0.0, until - loop.time()))
