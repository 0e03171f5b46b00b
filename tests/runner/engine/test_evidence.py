"""What a failed run keeps, from the wire to the record that everybody reads."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from uuid import RFC_4122, UUID

from judge.observation import Check, Observation
from probes.core import Reason, Result
from probes.kinds.http import Http
from probes.kinds.journey import Journey
from probes.probe import Context
from probes.target import Target
from runner.config.plan import Every, Planned
from tests.support import servers
from tests.support.ca import Authority
from tests.support.lab import Lab, lab

TOKEN = "a-token-that-was-captured"
NAME = "a-name-that-was-captured"
SECRET = "a-secret-of-the-plan"


def answer(body: str, status: str = "200 OK", *more: str) -> bytes:
    """An answer on a connection that stays open."""
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *more))
    return f"{head}\r\n\r\n{body}".encode()


async def observed(bench: Lab, probe: Http | Journey) -> Observation:
    """One run."""
    target = probe.target
    check = Check("api", "kind", 1, timeout=5.0, target=target.name if target else "")
    return (await bench.execute.observe(Planned(check, probe, Every(30.0), 5.0, "", target=target), by_hand=True))[0]


async def test_what_a_journey_captured_is_a_secret_unless_it_says_otherwise() -> None:
    """The token of a login is nowhere in what is kept of a failure, however it came back; a value that is no secret is shown."""
    login = answer(json.dumps({"access_token": TOKEN, "name": NAME}))
    refused = answer(json.dumps({"error": f"{NAME} may not use {TOKEN}"}), "403 Forbidden", f"X-Echo: {TOKEN}")
    async with servers.canned(login, refused) as server, lab() as bench:
        target = Target.model_validate({"name": "api", "url": server.url, "allow": ["POST /login"]})
        probe = Journey.model_validate(
            {
                "target": target,
                "steps": [
                    {
                        "name": "login",
                        "post": "/login",
                        "capture": {"token": "$.access_token", "name": {"json": "$.name", "secret": False}},
                    },
                    {"name": "story", "get": "/story?t={{token}}&n={{name}}", "headers": {"X-Token": "{{token}}"}},
                ],
            },
        )
        seen = await observed(bench, probe)
    assert seen.reason is not None
    kept = json.dumps(asdict(seen), default=str)
    assert TOKEN not in kept
    assert f"n={NAME}" in seen.evidence["request"]["url"]
    assert NAME in seen.evidence["body"]
    assert seen.evidence["response"]["status"] == 403


async def test_a_failure_keeps_what_was_sent_what_came_and_over_what(authority: Authority, tmp_path: Path) -> None:
    """Request, answer's head, the body's beginning, addresses, certificates, phases and traceparent; long bodies only begun."""
    async with servers.canned(answer("x" * 50_000, "500 Internal Server Error"), tls=authority.good) as server, lab() as bench:
        probe = Http.model_validate(
            {"url": f"https://localhost:{server.port}/", "bearer": "hunter2-hunter2", "tls": {"ca": authority.ca_file}}
        )
        seen = await observed(bench, probe)
    kept = seen.evidence
    assert seen.reason is Reason.STATUS
    assert kept["request"]["method"] == "GET"
    assert kept["response"]["status"] == 500
    assert 0 < len(kept["body"]) <= 4096
    assert "127.0.0.1" in kept["addresses"]
    assert kept["certificates"][0]["names"]
    assert set(seen.phases) >= {"resolve", "connect", "tls", "processing"}
    assert kept["traceparent"].split("-")[1] == seen.trace_id
    assert "hunter2" not in json.dumps(asdict(seen), default=str)


async def test_the_evidence_of_a_pass_is_redacted_when_it_is_read() -> None:
    """XM9: hardly anybody reads it, so that is done late: nobody sees a secret, more than is kept, or a value of after the run."""

    async def run(ctx: Context) -> Result:
        ctx.evidence |= {"body": f"it says {SECRET}", "long": "x" * 10_000, "many": [1] * 100, "headers": {"x-token": SECRET}}
        return Result.passed("fine")

    async with lab(secrets=frozenset({SECRET})) as bench:
        seen, again = [await bench.observe(run) for _ in range(2)]
    assert SECRET not in repr(seen.evidence)
    assert SECRET not in str(again)
    assert SECRET not in json.dumps(asdict(replace(again, message="")), default=str)
    assert seen.evidence == again.evidence == dict(again.evidence)
    assert seen.evidence["headers"] == {"x-token": "***"}
    assert len(seen.evidence["long"]) == 4096
    assert len(seen.evidence["many"]) == 65
    assert list(seen.evidence) == ["body", "long", "many", "headers"]


async def test_each_run_has_ids_of_its_own() -> None:
    """The ids are those of W3C trace context and of RFC 9562 version 4, and no two runs share one."""

    async def run(_: Context) -> Result:
        return Result.passed()

    async with lab() as bench:
        seen = [await bench.observe(run) for _ in range(200)]
    assert len({one.trace_id for one in seen}) == 200
    for one in seen:
        number = UUID(one.request_id)
        assert (number.version, number.variant, number.hex) == (4, RFC_4122, one.trace_id)
