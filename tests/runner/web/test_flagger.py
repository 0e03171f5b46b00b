"""What Flagger gets for its webhook, whatever it sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from judge.report import Report
from judge.verdict import Outcome
from runner.config.plan import Server
from runner.web.flagger import LONGEST, respond
from runner.web.gates import BusyError
from tests.support.outrider import report

OURS = Server(operate_token="operate-me")


@dataclass
class Rollout:
    """Carries out what is asked with this outcome, and keeps what it was."""

    outcome: Outcome = Outcome.PASS
    asked: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)

    async def carry(self, gate: Mapping[str, Any], key: str) -> Report:
        """One gate."""
        self.asked.append((gate, key))
        return report(self.outcome)


async def sent(body: bytes, rollout: Rollout, server: Server = OURS) -> httpx.Response:
    """The answer to a webhook."""

    async def webhook(request: Request) -> Response:
        return await respond(request, server, rollout.carry)

    transport = httpx.ASGITransport(Starlette(routes=[Route("/", webhook, methods=["POST"])]))
    async with httpx.AsyncClient(transport=transport, base_url="http://runner") as client:
        return await client.post("/", content=body)


def payload(**metadata: str) -> dict[str, Any]:
    """As Flagger sends it."""
    return {"name": "storyteller", "namespace": "prod", "phase": "Progressing", "checksum": "85d557f47b", "metadata": metadata}


@pytest.mark.parametrize(("outcome", "status"), [(Outcome.PASS, 200), (Outcome.FAIL, 412), (Outcome.INCONCLUSIVE, 412)])
async def test_a_pass_alone_is_a_200(outcome: Outcome, status: int) -> None:
    """Flagger halts at any other status; what is inconclusive proves nothing."""
    rollout = Rollout(outcome)
    told = await sent(json.dumps(payload(token="operate-me", tag="smoke, api")).encode(), rollout)
    assert told.status_code == status
    [(gate, key)] = rollout.asked
    assert gate == {"tags": ["smoke", "api"]}
    assert all(word in key for word in ("prod", "storyteller", "85d557f47b", "Progressing"))


@pytest.mark.parametrize(
    ("body", "server", "status"),
    [
        (json.dumps(payload(token="wrong")).encode(), OURS, 401),
        (json.dumps(payload()).encode(), OURS, 401),
        (json.dumps(payload(token="")).encode(), Server(), 403),
        (b"{", OURS, 400),
        (b"[]", OURS, 400),
        (json.dumps(payload(token="operate-me", round="3")).encode(), OURS, 400),
    ],
)
async def test_what_is_no_request_is_refused(body: bytes, server: Server, status: int) -> None:
    """Each with its status, and nothing is run."""
    rollout = Rollout()
    assert (await sent(body, rollout, server)).status_code == status
    assert rollout.asked == []


@pytest.mark.parametrize(("length", "status"), [(LONGEST, 200), (LONGEST + 1, 413)])
async def test_a_payload_as_long_as_may_be(length: int, status: int) -> None:
    """64 KiB are taken, and a byte more is refused before it is read."""
    body = json.dumps(payload(token="operate-me")).encode()
    assert (await sent(body + b" " * (length - len(body)), Rollout())).status_code == status


async def test_a_gate_whose_turn_does_not_come_is_refused() -> None:
    """GM2: 409, and Flagger asks again; it is no error of the request (400)."""

    @dataclass
    class Busy(Rollout):
        async def carry(self, gate: Mapping[str, Any], key: str) -> Report:
            raise BusyError("a3445c30")

    told = await sent(json.dumps(payload(token="operate-me")).encode(), Busy())
    assert (told.status_code, "another gate is running: a3445c30" in told.text) == (409, True)
