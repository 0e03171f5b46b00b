"""Kinds from outside on servers that misbehave: what httpx's callers see of a failure, and the verdict that comes of it."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import RedirectResponse

from probes.core import Failed, Reason, Verdict
from probes.http.route import HttpRoute
from probes.kinds.http import Http
from probes.wire.tls import Tls
from probes.wire.wire import Wire
from tests.probes.test_conformance import ENOUGH, GROUPS, MISBEHAVING, PROMPTLY, WITHIN
from tests.support import servers
from tests.support.ca import Authority
from tests.support.context import make_context
from tests.support.engine import Observer
from tests.support.leaks import no_leaks
from tests.support.outside import outside
from tests.support.web import serving

METADATA = "http://169.254.169.254/latest/meta-data/"


@pytest.mark.parametrize("together", GROUPS, ids=", ".join)
async def test_it_conforms(together: tuple[str, ...], runs: Observer) -> None:
    """Silent, resetting, dribbling servers: the verdicts of the house's own kinds, in time, and nothing is left behind."""
    within = WITHIN if all(Reason.TIMEOUT in MISBEHAVING[how][1] for how in together) else ENOUGH
    for how in together:
        make, fitting = MISBEHAVING[how]
        async with make() as server:
            async with no_leaks(serving=server.port):
                seen = await runs.observe(outside(server.url), within=within)
            house = await runs.observe(Http.model_validate({"url": server.url}), within=within)
        assert (seen.verdict, seen.reason in fitting) == (Verdict.FAIL, True), f"{how}: {seen}"
        if seen.reason is not Reason.TIMEOUT and house.reason is seen.reason:
            assert seen.message == house.message
    assert runs.longest < within + PROMPTLY
    assert not runs.log


@pytest.mark.parametrize(
    ("how", "kind", "cause"),
    [
        ("refusing", httpx.ConnectError, ConnectionRefusedError),
        ("resetting when asked", httpx.ReadError, ConnectionResetError),
        ("closing", httpx.RemoteProtocolError, Failed),
        ("garbage", httpx.RemoteProtocolError, Failed),
    ],
)
async def test_failures_are_those_that_httpxs_callers_know(wire: Wire, how: str, kind: type[Exception], cause: type[Exception]) -> None:
    """A library on top of httpx finds what it catches; what really happened is behind it, in the same words."""
    async with MISBEHAVING[how][0]() as server:
        with pytest.raises(kind) as raised:
            await outside(server.url).run(make_context(wire))

    assert type(raised.value.__cause__) is cause
    assert str(raised.value)


async def test_a_name_and_a_certificate_that_do_not_hold_are_no_connection(wire: Wire, authority: Authority) -> None:
    """As httpx has it: what fails before the request is a ConnectError."""
    async with servers.silent(tls=authority.expired) as server:
        for url in ("http://nowhere.invalid/", f"https://localhost:{server.port}/"):
            with pytest.raises(httpx.ConnectError):
                await outside(url, route=HttpRoute(tls=Tls(ca=authority.ca_file))).run(make_context(wire, timeout=1))


class LibraryError(Exception):
    """What a library on top of httpx raises."""


async def test_a_library_may_wrap_what_failed(runs: Observer) -> None:
    """The verdict is made of what is behind it, be it a refusal of ours, a server's fault or the network's."""

    async def by_library(client: httpx.AsyncClient, url: str) -> object:
        try:
            return await client.get(url)
        except Exception as error:
            raise LibraryError("it didn't work") from error

    async with servers.closing() as closing, servers.refusing() as refusing:
        seen = [await runs.observe(outside(server.url, by_library)) for server in (closing, refusing)]
        astray = await runs.observe(outside(closing.url, lambda client, _: by_library(client, METADATA)))

    assert [(one.verdict, one.reason) for one in (*seen, astray)] == [
        (Verdict.FAIL, Reason.TRUNCATED),
        (Verdict.FAIL, Reason.REFUSED),
        (Verdict.FAIL, Reason.POLICY),
    ]
    assert seen[1].message == f"Connection refused by {refusing.host}:{refusing.port}"


async def test_what_httpx_itself_raises_has_a_reason(runs: Observer) -> None:
    """HTTPX_ERRORS: a status that raise_for_status doesn't like, and redirects without end."""
    async with serving({"GET /": RedirectResponse("/", 302)}) as web:
        gone = await runs.observe(outside(f"{web.url}/nowhere"))
        circle = await runs.observe(outside(f"{web.url}/", client={"follow_redirects": True, "max_redirects": 3}))

    assert (gone.reason, gone.message) == (Reason.STATUS, f"Client error '404 Not Found' for url '{web.url}/nowhere'")
    assert (circle.reason, circle.facts["redirects"]) == (Reason.REDIRECT, 3)


async def test_an_address_that_is_none_of_https_is_the_kinds_fault(runs: Observer) -> None:
    """Nothing is sent, and no target is blamed."""
    seen = await runs.observe(outside("ftp://127.0.0.1/"))
    assert (seen.verdict, seen.reason) == (Verdict.UNKNOWN, Reason.INTERNAL)
    assert "must begin with http:// or https://" in seen.message
