"""gRPC, WebSocket, sockets of the machine, the choice of a family, and the exporter's own pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from wsproto.events import AcceptConnection, Request, TextMessage

from tests.exporter.scenario import FAIL, PASS, RELEASE, Scenario
from tests.exporter.serving import silent
from tests.support.ca import Authority
from tests.support.calls import Call, calls
from tests.support.servers import Server
from tests.support.websockets import Peer, websocket

NO_PROBE = f"release {RELEASE} has no such prober"
CLIENT = "14 is what a client says to itself where no call was made; ours has a status only where a server sent one"
SHAKEN = "theirs counts a handshake that failed as the check; ours as its phase tls"
OWN = "it is about the exporter's own page, which asks nobody"
UNIX = "a socket of the machine is reached only from the machine: checks look from outside, as users do"
BINARY = "metadata in bytes (-bin) and several values of one name: no check of health has needed them"


def grpc(
    name: str,
    talk: Callable[[Call], object],
    passes: bool,  # noqa: FBT001 - as in every row
    module: Mapping[str, Any] | None = None,
    check: Mapping[str, Any] | None = None,
    *,
    tls: str = "",
    **more: Any,
) -> Scenario:
    """A row of a call of the health protocol."""

    def serve(authority: Authority) -> AbstractAsyncContextManager[Server]:
        return calls(talk, tls=getattr(authority, tls) if tls else None)

    settings = {"preferred_ip_protocol": "ip4", **(module or {})}
    asked = {"kind": "grpc", "host": "127.0.0.1", "port": "<port>", **(check or {})}
    return Scenario(f"grpc: {name}", passes, serve, {"prober": "grpc", "grpc": settings}, "127.0.0.1:<port>", asked, **more)


def _health(call: Call) -> None:
    """Knows service1, which serves, and service2, which doesn't."""
    if not call.body[5:] or call.body.endswith(b"service1"):
        call.serving()
    elif call.body.endswith(b"service2"):
        call.serving(b"\x00\x00\x00\x00\x02\x08\x02")
    else:
        call.refused(5, "unknown service")


def _authorized(call: Call) -> None:
    if call.headers.get("authorization") == "Bearer token" and call.headers.get("key1") == "value1":
        call.serving()
    else:
        call.refused(16)


def health() -> Iterator[Scenario]:
    """Services that serve, that don't, that nobody knows; with TLS and without."""
    skip = {"tls": True, "tls_config": {"insecure_skip_verify": True}}, {"tls": {"verify": False}}
    yield grpc("the server", _health, passes=PASS)
    for service, passes in (("service1", True), ("service2", False), ("service3", False), ("NonExistingService", False)):
        yield grpc(f"service {service}", _health, passes, {"service": service}, {"service": service})
    yield grpc("a server without health", lambda call: call.refused(12), FAIL, {"service": "any"}, {"service": "any"})
    yield grpc("TLS", _health, PASS, *skip, tls="offering")
    yield grpc(
        "TLS to a server without", _health, FAIL, *skip, metrics={"probe_grpc_status_code": CLIENT, "probe_grpc_duration_seconds": SHAKEN}
    )
    nobody: dict[str, Any] = {"check": {"port": 0}, "refused": "greater than or equal to 1"}
    yield Scenario(
        "grpc: port 0",
        FAIL,
        silent,
        {"prober": "grpc", "grpc": {"preferred_ip_protocol": "ip4"}},
        "127.0.0.1:0",
        {"kind": "grpc", "host": "127.0.0.1", **nobody.pop("check")},
        **nobody,
    )
    metadata = {"metadata": {"authorization": "Bearer token", "key1": "value1"}}
    yield grpc("metadata", _authorized, PASS, {}, metadata, unasked=f"release {RELEASE} has no metadata")
    yield Scenario("grpc: metadata in bytes", passes=PASS, cannot=BINARY)


async def _talk(peer: Peer) -> None:
    request = await peer.request()
    peer.say(AcceptConnection())
    await _dialogue(peer, request)


async def _dialogue(peer: Peer, request: Request) -> None:
    if request.target == "/dialogue":
        peer.say(TextMessage("incoming_test"))
        peer.say(TextMessage("passed" if await peer.text() == "outgoing_test" else "refused"))
    await peer.goodbye()


async def _authorized_socket(peer: Peer) -> None:
    request = await peer.request()
    headers = {name.lower(): value for name, value in request.extra_headers}
    if headers.get(b"authorization") != b"Basic dXNlcl9mcm9tX2ZpbGU6cGFzc3dvcmRfZnJvbV9maWxl" or headers.get(b"x-own") != b"value":
        peer.reject(401)
        return
    peer.say(AcceptConnection())
    await peer.goodbye()


def socket(name: str, passes: bool, check: Mapping[str, Any], talk: Any = _talk, *, path: str = "/", tls: str = "") -> Scenario:  # noqa: FBT001
    """A row of a WebSocket."""

    def serve(authority: Authority) -> AbstractAsyncContextManager[Server]:
        return websocket(talk, tls=getattr(authority, tls) if tls else None)

    asked = {"kind": "websocket", "url": f"ws{'s' if tls else ''}://127.0.0.1:<port>{path}", "ping": False, **check}
    return Scenario(f"websocket: {name}", passes, serve, check=asked, unasked=NO_PROBE)


def sockets() -> Iterator[Scenario]:
    """Dialogues, credentials and headers of a handshake."""
    first = {"expect": {"regex": "incoming_(.+)"}}
    for second, passes in (("^passed", True), ("^someotherstring", False)):
        dialogue = [first, {"send": "outgoing_test", "expect": {"regex": second}}]
        yield socket(f"a dialogue that ends with {second}", passes, {"dialogue": dialogue}, path="/dialogue")
    yield socket("one family", PASS, {"ip": 4, "dialogue": [first]}, path="/dialogue")
    headers = {"headers": {"Authorization": "Bearer test_token", "X-Should-Be-Sent": "true"}}
    yield socket("TLS and headers", PASS, {"tls": {"verify": False}, **headers}, tls="self_signed")
    yield socket("a user and a password of files", PASS, {"basic": BASIC, "headers": {"X-Own": "value"}}, _authorized_socket)
    yield Scenario(
        "websocket: a reply made of what came",
        passes=PASS,
        cannot="what is sent is written in checks.yaml; only lines of tcp can be filled with what a pattern captured",
    )


BASIC = {"user": "${file:<user>}", "password": "${file:<password>}"}


def others() -> Iterator[Scenario]:
    """What no check asks: sockets of the machine, and the exporter's own pages."""
    for name, passes in (("a connection", True), ("no such socket", False)):
        yield Scenario(f"unix: {name}", passes=passes, cannot=UNIX)
    pages = (
        *("secrets of the configuration", "secrets of the debug page", "levels of the scrape's log", "the timeout of a scrape"),
        *("the parameter hostname over HTTP", "the parameter hostname over TCP", "an address with an escaped query"),
    )
    for page in pages:
        yield Scenario(f"page: {page}", passes=PASS, cannot=OWN)


SCENARIOS = (*health(), *sockets(), *others())
