"""What every kind promises, whoever wrote it: a red verdict with a fitting reason, in time, nothing left behind, no secret told.

A kind comes in by its `examples`: those that name 127.0.0.1 and port 9 are pointed at servers that misbehave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from pydantic import ValidationError

from judge.observation import Observation
from probes import Probe, discover
from probes.core import Reason, Verdict
from runner.config.secret_names import of_settings
from tests.support import servers
from tests.support.engine import Observer
from tests.support.leaks import no_leaks

KINDS = discover()
WITHIN = 0.2  # seconds, for servers that keep one waiting
ENOUGH = 5.0  # seconds, for servers after which there is nothing to wait for
PROMPTLY = 1.0  # seconds: far above what a return takes, and enough for a machine that is busy
SLOWLY = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000
GARBAGE = bytes(range(7, 256)) * 3
ENDED = {Reason.TRUNCATED, Reason.RESET, Reason.TLS}
STRANGE = {Reason.PROTOCOL, Reason.TRUNCATED, Reason.TLS, Reason.TIMEOUT, Reason.SIZE}

MISBEHAVING: dict[str, tuple[Callable[[], AbstractAsyncContextManager[servers.Server]], set[Reason]]] = {
    "silent": (servers.silent, {Reason.TIMEOUT}),
    "refusing": (servers.refusing, {Reason.REFUSED}),
    "black hole": (servers.black_hole, {Reason.TIMEOUT}),
    "closing": (servers.closing, ENDED),
    "half-closing": (servers.half_closing, ENDED),
    "resetting": (servers.resetting, {Reason.RESET}),
    "resetting when asked": (lambda: servers.resetting(once_asked=True), {Reason.RESET}),
    "resetting in the answer": (lambda: servers.resetting(b"HT", once_asked=True), {Reason.RESET} | STRANGE),
    "one byte at a time": (servers.dripping, STRANGE),
    "one byte of HTTP at a time": (lambda: servers.dripping(SLOWLY), STRANGE),
    "endless": (servers.endless, STRANGE),
    "endless answer": (lambda: servers.endless(b"HTTP/1.1 200 OK\r\n\r\n"), STRANGE | {Reason.STATUS}),
    "garbage": (lambda: servers.canned(GARBAGE, then_close=True), STRANGE | {Reason.RESET}),
}
GROUPS: list[tuple[str, ...]] = [  # what is met at the same time
    ("silent", "black hole", "one byte at a time", "one byte of HTTP at a time"),
    ("refusing", "closing", "half-closing", "resetting", "resetting when asked", "resetting in the answer", "garbage"),
    ("endless",),
    ("endless answer",),
]
UNREACHED = {"refusing", "black hole"}


def pointed(settings: Any, server: servers.Server) -> Any:
    """An example's settings, with 127.0.0.1:9 replaced by a server's address wherever it stands."""
    if isinstance(settings, dict):
        return {k: server.port if k == "port" and v == 9 else pointed(v, server) for k, v in settings.items()}
    if isinstance(settings, list | tuple):
        return [pointed(each, server) for each in settings]
    return settings.replace("127.0.0.1:9", f"{server.host}:{server.port}") if isinstance(settings, str) else settings


def probes_at(kind: str, server: servers.Server) -> list[Probe]:
    """A kind's examples at a server; what speaks by datagrams meets no TCP server."""
    made = [KINDS[kind].model_validate(pointed(example, server)) for example in KINDS[kind].examples]
    return [probe for probe in made if getattr(probe, "transport", "tcp") == "tcp"]


def meets_tcp(kind: str) -> bool:
    """Whether a kind speaks over TCP at all: `icmp` has no port that a server could listen on, and others report to a `heartbeat`."""
    return KINDS[kind].report_token is Probe.report_token and bool(probes_at(kind, servers.Server("127.0.0.1", 9)))


def is_content(probe: Probe, how: str) -> bool:
    """Kind `tcp` without TLS and dialogue asks only whether it is accepted: such servers are all that it wants."""
    says = getattr(probe, "tls", None) or getattr(probe, "dialogue", ())
    return KINDS["tcp"] is type(probe) and not says and how not in UNREACHED


OVER_TCP = [kind for kind in KINDS if meets_tcp(kind)]


def test_every_misbehaviour_is_met() -> None:
    """The groups leave none out."""
    assert sorted(how for together in GROUPS for how in together) == sorted(MISBEHAVING)


@pytest.mark.parametrize("kind", OVER_TCP)
def test_has_an_example_that_can_be_pointed(kind: str) -> None:
    """Every kind has an example with the address 127.0.0.1:9, so that it can be held against servers that misbehave."""
    elsewhere = servers.Server("10.1.2.3", 4567)
    assert any(pointed(example, elsewhere) != pointed(example, servers.Server("127.0.0.1", 9)) for example in KINDS[kind].examples)


@pytest.mark.parametrize("together", GROUPS, ids=", ".join)
@pytest.mark.parametrize("kind", OVER_TCP)
async def test_misbehaving_server(kind: str, together: tuple[str, ...], runs: Observer) -> None:
    """Fails with a fitting reason, at the deadline at the latest, leaves nothing behind, and tells no secret."""
    within = WITHIN if all(Reason.TIMEOUT in MISBEHAVING[how][1] for how in together) else ENOUGH
    async with AsyncExitStack() as stack:
        met = {how: await stack.enter_async_context(MISBEHAVING[how][0]()) for how in together}
        asked = [(how, probe) for how, server in met.items() for probe in probes_at(kind, server)]
        async with no_leaks(serving=[server.port for server in met.values()]):
            seen = await asyncio.gather(*(runs.observe(probe, kind=kind, within=within) for _, probe in asked))
    assert runs.longest < within + max(probe.cleanup_seconds() for _, probe in asked) + PROMPTLY
    assert not runs.log
    for (how, probe), observation in zip(asked, seen, strict=True):
        judge(how, probe, observation)


def judge(how: str, probe: Probe, seen: Observation) -> None:
    """A fitting verdict, and no secret in anything that can be told of it."""
    if not is_content(probe, how):
        fitting = seen.reason in MISBEHAVING[how][1]
        assert (seen.verdict, fitting) == (Verdict.FAIL, True), f"{how}: {seen.verdict}, {seen.reason}: {seen.message}"
        assert seen.message
    output = "\n".join([repr(seen), str(seen), probe.address(), repr(probe), str(probe)])
    assert not [secret for secret in of_settings(probe) if secret in output]


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_settings_tell_no_secret(kind: str) -> None:
    """The error about settings that are wrong shows none of their secrets, neither as a text nor in its repr."""
    for example in KINDS[kind].examples:
        probe = KINDS[kind].model_validate(example)
        with pytest.raises(ValidationError) as error:
            KINDS[kind].model_validate({**example, "no_such_setting": True})
        output = f"{error.value} {error.value!r}"
        assert not [secret for secret in of_settings(probe) if secret in output]


@pytest.mark.parametrize("kind", KINDS)
def test_families_are_declared_once(kind: str) -> None:
    """A kind's families have distinct names, and no name says another thing in another kind."""
    names = [family.name for family in KINDS[kind].families]
    assert len(names) == len(set(names))
    for other in KINDS.values():
        for family in other.families:
            assert all((family.labels, family.type) == (own.labels, own.type) for own in KINDS[kind].families if own.name == family.name)
