"""The faults that the stand-in can play, each in one small place: what is done here, or where its word is asked for.

What each must do to the committed checks.yaml stands in the end-to-end test's table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

from demo._app import Api
from demo.built.api import BuiltApi
from demo.servers import PostgresServer, RedisServer


class Target(Protocol):
    """What a fault may touch: demo.standin.StandIn."""

    api: Api | BuiltApi
    postgres: PostgresServer
    redis: RedisServer

    def show_certificate(self, which: Literal["good", "expired", "wrong_host"]) -> None: ...


Switch = Callable[[Target], Awaitable[None]]


async def _nothing(_: Target) -> None:
    """The routes ask for the fault's word."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its word, what it does in a line, and what switching it on and off takes beyond the word."""

    name: str
    summary: str
    on: Switch = _nothing
    off: Switch = _nothing


async def _clear_lockout(standin: Target) -> None:
    standin.api.auth.lockout.clear()


async def _change_password(standin: Target) -> None:
    await standin.postgres.change_password()


async def _restore_password(standin: Target) -> None:
    await standin.postgres.restore_password()


async def _show_expired(standin: Target) -> None:
    standin.show_certificate("expired")


async def _show_wrong_host(standin: Target) -> None:
    standin.show_certificate("wrong_host")


async def _show_good(standin: Target) -> None:
    standin.show_certificate("good")


_ALL = (
    Fault("api-500", "every application route returns 500"),
    Fault("api-slow", "application routes respond after 3 s"),
    Fault("api-stall", "the API accepts connections and reads requests, but never responds"),
    Fault("api-reset", "the API sends half a response, then resets the connection"),
    Fault("db-down", "PostgreSQL is stopped", lambda s: s.postgres.stop(), lambda s: s.postgres.start()),
    Fault(
        "db-frozen",
        "PostgreSQL accepts connections but doesn't respond (SIGSTOP); the API hangs with it",
        lambda s: s.postgres.freeze(),
        lambda s: s.postgres.thaw(),
    ),
    Fault("db-locked-out", "the password of the probe's database role is changed", _change_password, _restore_password),
    Fault("redis-down", "Redis is stopped", lambda s: s.redis.stop(), lambda s: s.redis.start()),
    Fault(
        "redis-frozen",
        "Redis accepts connections but doesn't respond (SIGSTOP); as built, the API hangs with it",
        lambda s: s.redis.freeze(),
        lambda s: s.redis.thaw(),
    ),
    Fault("redis-readonly", "Redis is a read-only replica", lambda s: s.redis.follow_a_dead_primary(), lambda s: s.redis.lead_again()),
    Fault("ai-down", "the model returns 503; the API hides it with a canned story and 200"),
    Fault("ai-slow", "the model's first token comes after 6 s"),
    Fault("ai-truncated", "the model's stream ends without its end mark"),
    Fault("ai-refuses", "the model refuses to reply to the probe"),
    Fault("ai-empty", "the model's reply to the probe ends without a word"),
    Fault("ai-thinks", "the model's reply to the probe is thoughts alone, up to the limit"),
    Fault("ai-throttled", "the model returns 429 to the probe, with Retry-After 30"),
    Fault("story-cached", "the API returns stories from its cache, whatever force_refresh says"),
    Fault("partner-429", "OpenTable returns 429"),
    Fault("partner-500", "OpenTable returns 500"),
    Fault("partner-schema", "a field of OpenTable's responses has another type"),
    Fault("partner-mock", "OpenTable's responses are marked as mock"),
    Fault("health-lies", "/health/ready says not_ready with status 200, although everything works"),
    Fault("https-redirect", "the API returns 301 to https, whatever the forwarded header says"),
    Fault("cert-expired", "the certificate of the TLS front has expired", _show_expired, _show_good),
    Fault("cert-wrong-host", "the certificate of the TLS front names another host", _show_wrong_host, _show_good),
    Fault("report-broken", "/health/metrics is Prometheus text in a JSON array, with status 200, as the application is built"),
    Fault("metrics-crash", "the API counts each response with its status, and then sends 500 instead, as the application is built"),
    Fault("api-throttled", "the API returns 429: this address has used up its 1,000 requests of the hour"),
    Fault("address-locked", "logins from this address are refused with 423, as after five wrong passwords", off=_clear_lockout),
    Fault("login-refused", "the probe's user is refused with 401", off=_clear_lockout),
    Fault("revoke-refused", "a token can't be revoked: 400, as the application is built"),
    Fault("metrics-silent", "required metric families are declared but have no sample"),
)

FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _ALL})


class UnknownFault(ValueError):  # noqa: N818 - what was asked for
    """No fault has this name; the text lists those that there are."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no fault {name}; the faults are {', '.join(FAULTS)}")


def fault(name: str) -> Fault:
    """The fault of this name. Raises UnknownFault."""
    if name not in FAULTS:
        raise UnknownFault(name)
    return FAULTS[name]
