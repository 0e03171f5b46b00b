"""What `outrider demo` shows of the stand-in: where to look, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from demo._world import Built
from demo.control import DEMO, Declined, NoDemo, control_file, faults_on, find_demo, send
from demo.faults import FAULTS, UnknownFault
from demo.standin import StandIn

__all__ = [
    "ASK",
    "DEMO",
    "FAULTS",
    "TRY",
    "TRY_LOAD",
    "Built",
    "Declined",
    "Look",
    "NoDemo",
    "StandIn",
    "UnknownFault",
    "control_file",
    "faults_on",
    "find_demo",
    "look",
    "send",
]


@dataclass(frozen=True, slots=True)
class Look:
    """One place to look at, or one thing to try: what it is, and the URL or the command."""

    what: str
    where: str


TRY = (
    Look("stop the database; ready is down although it still returns 200", "outrider demo --fault db-down"),
    Look("and start it again", "outrider demo --off db-down"),
    Look("stop the model; the API returns a canned story instead, and plan-a-trip detects that", "outrider demo --fault ai-down"),
    Look("freeze the database; the API hangs with it, and the finding names the cause", "outrider demo --fault db-frozen"),
    Look("let the health route report not_ready with status 200", "outrider demo --fault health-lies"),
    Look("let the certificate expire", "outrider demo --fault cert-expired"),
)

# What the runner asks too seldom for a demo to wait for: a story costs money, a certificate changes slowly.
ASK = (
    Look("a user's journey, which runs every 3 h; ai-down makes it fail", "outrider probe plan-a-trip"),
    Look("the certificate check, which runs every hour; cert-expired makes it fail", "outrider probe api-certificate"),
)

TRY_LOAD = Look("run a load test", "outrider load roadtrip --rate 50/s --html load.html")


def look(standin: StandIn) -> tuple[Look, ...]:
    """The addresses of the running stand-in; no secret is among them."""
    places: Mapping[str, str] = {
        "the API (send X-Forwarded-Proto: https)": standin.api_site.url,
        "the same over TLS": standin.tls_site.url,
        "the API's own metrics": f"{standin.api_site.url}/metrics",
        "the model": standin.ai_site.url,
        "OpenTable": standin.opentable_site.url,
        "Recreation.gov": standin.recreation_site.url,
        "PostgreSQL": f"{standin.postgres.host}:{standin.postgres.port}",
        "Redis": f"{standin.redis.host}:{standin.redis.port}",
    }
    return tuple(Look(what, where) for what, where in places.items())
