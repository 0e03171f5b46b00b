"""OAuth2 client credentials: tokens had, kept and dropped, and whose failure a failure is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from probes.core import Reason, Verdict
from probes.http.message import Response
from probes.http.oauth2 import read_token
from probes.kinds.http import Http
from probes.wire.wire import Wire
from tests.support import servers
from tests.support.asking import answer, ask, failure
from tests.support.clock import RealClock
from tests.support.context import Permit, make_context


class Later(RealClock):
    """The machine's clock, so many seconds ahead."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def granted(value: str = "token-1", **more: Any) -> bytes:
    """A token endpoint's answer."""
    return answer(json.dumps({"access_token": value, "token_type": "Bearer", "expires_in": 3600, **more}).encode())


def credentials(server: servers.Server, **more: Any) -> dict[str, Any]:
    """Settings of `oauth2:` for a token endpoint."""
    return {"token_url": f"{server.url}token", "client_id": "me", "client_secret": "word", **more}


class _Target(servers.Behaviour):
    """Answers every request by 200, or by 401 what comes with token-bad."""

    def respond(self) -> None:
        bad = b"token-bad" in self.server.received
        self.server.received.clear() if bad else None
        self.transport.write(answer(b"", status=b"401 Unauthorized") if bad else answer(b"in"))


async def test_a_token_is_had_once_and_used_until_shortly_before_its_end(wire: Wire) -> None:
    """Runs share a token; one that is about to end is replaced before it does."""
    clock = Later()
    ctx = make_context(wire)
    async with servers.serve(_Target) as target, servers.serve(_Granting) as endpoint:
        settings = {"oauth2": credentials(endpoint, scope="read write", audience="api")}
        for ahead, fetched in ((0, 1), (3000, 1), (3575, 2)):
            clock.ahead = ahead
            ctx = make_context(wire, clock=clock)
            await ask(ctx, target.url, **settings)
            assert endpoint.connections == fetched

    assert bytes(target.received).count(b"authorization: Bearer token-1\r\n".replace(b"a", b"A", 1)) == 3
    assert b"grant_type=client_credentials&scope=read+write&audience=api" in endpoint.received
    assert b"Authorization: Basic bWU6d29yZA==" in endpoint.received
    assert "token-1" in ctx.secrets


class _Granting(servers.Behaviour):
    def respond(self) -> None:
        self.transport.write(granted())


async def test_credentials_can_go_into_the_form(wire: Wire) -> None:
    """`auth: post` is for endpoints that know no header."""
    async with servers.canned(answer()) as target, servers.canned(granted()) as endpoint:
        await ask(make_context(wire), target.url, oauth2=credentials(endpoint, auth="post"))

    assert b"client_id=me&client_secret=word" in endpoint.received
    assert b"Authorization" not in endpoint.received


async def test_the_token_s_time_is_none_of_the_target_s(wire: Wire) -> None:
    """Fetching a token is a phase of its own, and doesn't count as the target's time."""
    ctx = make_context(wire)
    async with servers.canned(answer()) as target, servers.canned(granted()) as endpoint:
        await ask(ctx, target.url, oauth2=credentials(endpoint))

    assert list(ctx.phases) == ["token", "resolve", "connect", "processing", "transfer"]
    assert ctx.waited == pytest.approx(sum(ctx.phases.values()) - ctx.phases["token"])
    assert ctx.evidence["request"]["url"] == target.url


async def test_the_token_endpoint_is_no_target(wire: Wire) -> None:
    """The run's permit is asked for the target's request alone."""
    permit = Permit()
    async with servers.canned(answer()) as target, servers.canned(granted()) as endpoint:
        await ask(make_context(wire, permit=permit), target.url, oauth2=credentials(endpoint))

    assert permit.asked == [("GET", target.url)]


async def test_one_fetch_serves_all_who_wait(wire: Wire) -> None:
    """Ten runs that need the same token at once ask for it once."""
    async with servers.serve(_Target) as target, servers.serve(_Granting) as endpoint:
        probe = Http.model_validate({"url": target.url, "oauth2": credentials(endpoint)})
        results = await asyncio.gather(*(probe.run(make_context(wire)) for _ in range(10)))
        assert endpoint.connections == 1

    assert {result.verdict for result in results} == {Verdict.PASS}


async def test_a_refused_token_is_dropped_and_not_tried_again(wire: Wire) -> None:
    """A 401 is the run's verdict; the next run has a token anew."""
    answers = [granted("token-bad"), granted("token-good")]

    class HttpProbe(servers.Behaviour):
        def respond(self) -> None:
            self.transport.write(answers.pop(0))

    async with servers.serve(_Target) as target, servers.serve(HttpProbe) as endpoint:
        settings = {"oauth2": credentials(endpoint)}
        failed = await failure(make_context(wire), target.url, **settings)
        assert (failed.reason, target.connections) == (Reason.AUTH, 1)
        result = await ask(make_context(wire), target.url, **settings)

    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("response", "reason", "words"),
    [
        (answer(b'{"error": "invalid_client"}', status=b"400 Bad"), Reason.AUTH, "answered 400: invalid_client"),
        (answer(b'{"error": "invalid_client", "error_description": "gone"}', status=b"401 No"), Reason.AUTH, "invalid_client, gone"),
        (answer(b"oops", status=b"503 Oops"), Reason.STATUS, "answered 503"),
        (answer(b"", status=b"429 Slow"), Reason.THROTTLED, "answered 429"),
        (answer(b"{}"), Reason.SCHEMA, "endpoint's response has no access_token"),
        (answer(b"<html>"), Reason.SCHEMA, "endpoint's response has no access_token"),
        (granted("line\nbreak"), Reason.SCHEMA, "endpoint's response has no access_token"),
        (granted(token_type="mac"), Reason.SCHEMA, "type 'mac'"),
        (answer(b"short", length=90), Reason.TRUNCATED, "the connection was closed"),
    ],
)
async def test_the_token_endpoint_s_failures_are_reported_as_its_own(wire: Wire, response: bytes, reason: Reason, words: str) -> None:
    """The target is never asked without a token, and the message says who failed."""
    async with servers.canned(answer()) as target, servers.canned(response, then_close=True) as endpoint:
        failed = await failure(make_context(wire), target.url, oauth2=credentials(endpoint))

    assert (failed.reason, words in failed.message) == (reason, True), failed.message
    assert failed.message.startswith("the token endpoint")
    assert target.connections == 0


async def test_a_token_endpoint_that_is_gone_is_told(wire: Wire) -> None:
    """A refused connection says to whom it was made."""
    async with servers.refusing() as endpoint:
        with pytest.raises(ConnectionRefusedError, match="the token endpoint: "):
            await ask(make_context(wire), "http://127.0.0.1:9/", oauth2=credentials(endpoint))


async def test_a_token_never_follows_a_redirect_to_another_host(wire: Wire) -> None:
    """The token is for the target alone."""
    async with servers.canned(answer(b"there")) as other, servers.canned(granted()) as endpoint:
        moved = answer(b"", b"Location: " + other.url.encode(), status=b"302 Found")
        async with servers.canned(moved) as target:
            await ask(make_context(wire), target.url, redirects=1, oauth2=credentials(endpoint))

    assert b"token-1" in target.received
    assert b"token-1" not in other.received


@pytest.mark.parametrize("life", [10**400, -1, "soon", "nan", None, [], {}])
def test_a_life_that_is_none_is_the_usual_one(life: object) -> None:
    """W1: whatever a token endpoint writes into expires_in, nothing of ours breaks."""
    body = json.dumps({"access_token": "token-1", "token_type": "Bearer", "expires_in": life}).encode()
    assert read_token(Response(200, (), body, 0.0, ""), 0.0).value == "token-1"
