"""The client that a load is sent with: FastHttpUser's own, with the TLS of checks.yaml, to addresses that may be reached."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from geventhttpclient.client import HTTPClient

from loadtests.order import Order
from loadtests.sending import Refused
from probes._addresses import refusal
from probes._tls import Tls


def client_of(order: Order) -> HTTPClient:
    """A client with as many connections as may be under way. A certificate counts as it does for the journeys of checks.yaml."""
    split = urlsplit(str(order.target["url"]))
    secure, host = split.scheme == "https", split.hostname or ""
    tls = Tls.model_validate(order.tls)
    client = HTTPClient(
        host,
        split.port or (443 if secure else 80),
        ssl=secure,
        ssl_context_factory=(lambda **_: context_of(tls)) if secure else None,
        ssl_options={"server_hostname": tls.server_name or host} if secure else None,
        insecure=not tls.verify,
        concurrency=max(order.most_in_flight, order.users, 1),
        connection_timeout=order.timeout,
        network_timeout=order.timeout,
    )
    _watch(client, host, order.allow_addresses)
    return client


def context_of(tls: Tls) -> ssl.SSLContext:
    """As a probe's, and the oldest version is a matter of the handshake: nobody asks a load for the facts of a certificate."""
    made = tls.context()
    if tls.minimum == "1.3":
        made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def _watch(client: HTTPClient, host: str, allowed: tuple[str, ...]) -> None:
    """Lets the client connect only to what probes._addresses lets a probe connect to: looked at behind each resolution.

    The client has no door for that, so that its pool's own step is wrapped.
    """
    pool = client._connection_pool  # noqa: SLF001 - as the docstring says
    resolve = pool._resolve  # noqa: SLF001

    def resolve_and_judge() -> Any:
        found = resolve()
        for *_, address in found:
            if said := refusal(str(address[0]), host, allowed):
                raise Refused(said)
        return found

    pool._resolve = resolve_and_judge  # type: ignore[method-assign]  # noqa: SLF001
