"""The ways in which the kinds ask, each pointed at a server of the test's: what the rows of the fault suite are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes import Probe, discover

KINDS = discover()
SECRET = "s3cret-of-the-suite"
SSL_REQUEST = "00000008 04d2162f"


@dataclass(frozen=True)
class Place:
    """Where a server is; over TLS by this authority, where one is given."""

    host: str
    port: int
    ca: Path | None = None

    def url(self, scheme: str, below: str = "") -> str:
        """Its address: `scheme` without TLS, and the same with an s over it."""
        return f"{scheme}{'s' if self.ca else ''}://{self.host}:{self.port}{below}"

    def tls(self) -> dict[str, Any]:
        """The settings that every kind calls so."""
        return {"tls": {"ca": self.ca}} if self.ca else {}


def _http(place: Place) -> dict[str, Any]:
    return {"url": place.url("http", "/"), "redirects": 3, "bearer": SECRET, **place.tls()}


def _http2(place: Place) -> dict[str, Any]:
    return {**_http(place), "http": 2}


def _journey(place: Place) -> dict[str, Any]:
    step = {"name": "open", "get": "/health/ready", "expect": {"json": {"$.status": "ready"}}}
    return {"url": place.url("http"), "headers": {"X-Api-Key": SECRET}, "steps": [step], **place.tls()}


def _health_metrics(place: Place) -> dict[str, Any]:
    return {"url": place.url("http", "/health/metrics"), "headers": {"X-Api-Key": SECRET}, "parts": {"$.db_healthy": True}, **place.tls()}


def _metrics(place: Place) -> dict[str, Any]:
    return {"url": place.url("http", "/metrics"), "bearer": SECRET, "body_cap": "1MiB", **place.tls()}


def _promql(place: Place) -> dict[str, Any]:
    return {"url": place.url("http"), "bearer": SECRET, "query": "sum(up)", "expect": {"value": {"below": 1}}, **place.tls()}


def _ai(place: Place) -> dict[str, Any]:
    chat = {"api": "openai", "model": "m-1", "key": SECRET, "prompt": "Say bridge", "expect": {"text": "bridge"}}
    return {"url": place.url("http", "/v1/chat/completions"), **chat, **place.tls()}


def _gemini(place: Place) -> dict[str, Any]:
    return {
        "url": place.url("http", "/"),
        "api": "gemini",
        "model": "m-1",
        "key": SECRET,
        "prompt": "Say yes",
        "stream": False,
        **place.tls(),
    }


def _booking(place: Place) -> dict[str, Any]:
    return {"url": place.url("http", "/v2"), "partner": "opentable", "key": SECRET, "search": {"near": "37.8,-122.4"}, **place.tls()}


def _websocket(place: Place) -> dict[str, Any]:
    return {"url": place.url("ws", "/live"), "headers": {"Authorization": f"Bearer {SECRET}"}, **place.tls()}


def _grpc(place: Place) -> dict[str, Any]:
    return {"host": place.host, "port": place.port, "metadata": {"authorization": f"Bearer {SECRET}"}, **place.tls()}


def _tcp(place: Place) -> dict[str, Any]:
    return {"host": place.host, "port": place.port, **place.tls()}


def _dialogue(place: Place) -> dict[str, Any]:
    return {**_tcp(place), "dialogue": [{"send": f"PING {SECRET}"}, {"expect": r"^\+PONG$"}]}


def _starttls(place: Place) -> dict[str, Any]:
    return {**_tcp(place), "dialogue": [{"send_hex": SSL_REQUEST}, {"expect_hex": "53"}, {"starttls": True}]}


def _dns(place: Place) -> dict[str, Any]:
    return {"name": "api.roadtrip.app", "server": f"{place.host}:{place.port}", "transport": "tcp"}


def _udp(place: Place) -> dict[str, Any]:
    return {**_dns(place), "transport": "udp"}


def _postgres(place: Place) -> dict[str, Any]:
    mode = f"verify-full&sslrootcert={place.ca}" if place.ca else "disable"
    return {"dsn": f"postgresql://outrider:{SECRET}@{place.host}:{place.port}/roadtrip?sslmode={mode}"}


def _redis(place: Place) -> dict[str, Any]:
    return {"url": place.url("redis", "/0").replace("//", f"//outrider:{SECRET}@"), "round_trip": True, **place.tls()}


def _icmp(place: Place) -> dict[str, Any]:
    return {"host": place.host}


ASKINGS: Mapping[str, Callable[[Place], dict[str, Any]]] = {  # by name: the kind, and which way of it
    "http": _http,
    "http/2": _http2,
    "journey": _journey,
    "health_metrics": _health_metrics,
    "metrics": _metrics,
    "promql": _promql,
    "ai": _ai,
    "ai/gemini": _gemini,
    "booking": _booking,
    "websocket": _websocket,
    "grpc": _grpc,
    "tcp": _tcp,
    "tcp/dialogue": _dialogue,
    "tcp/starttls": _starttls,
    "tls": _tcp,
    "dns": _dns,
    "dns/udp": _udp,
    "postgres": _postgres,
    "redis": _redis,
    "icmp": _icmp,
}


def kind_of(asking: str) -> str:
    """The kind that asks so."""
    return asking.partition("/")[0]


def asked(asking: str, place: Place) -> Probe:
    """The check that asks a place so."""
    return KINDS[kind_of(asking)].model_validate(ASKINGS[asking](place))
