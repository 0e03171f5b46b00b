"""POST /api/gate/flagger: the gate as a webhook of Flagger, which reads a status and, where it isn't 200 to 202, a text.

Flagger can't send a header of the user's choice, so the operate token comes in the webhook's metadata, as `token`. The other keys of
the metadata are settings of a gate: tag, check, revision, wait, rounds, for. After a timeout Flagger calls again with the same body:
name, namespace, checksum and phase are the key by which the running gate is found again. Anything but a pass is 412 with the report as
its text, which Flagger puts into the Canary's events. No status is above 499, since Flagger would ask again at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from judge.report import Report
from judge.verdict import Outcome
from runner.config.plan import Server
from runner.reports.table import write
from runner.web.access import refusal, refuse_without_operate_token
from runner.web.bodies import body_within, json_object
from runner.web.gates import BusyError

RunGate = Callable[[Mapping[str, Any], str], Awaitable[Report]]
"""Runs the gate of a request, or waits for the gate with the same key. Raises ValueError with the request's error, and BusyError."""

LONGEST = 64 * 1024  # bytes of a payload
_LISTS = {"tag": "tags", "check": "checks"}  # keys of the metadata that hold several values, separated by commas
_WORDS = {"revision": "expect_revision", "wait": "wait", "rounds": "rounds", "for": "for"}
_KEY = ("namespace", "name", "checksum", "phase")


async def respond(request: Request, server: Server, run_gate: RunGate) -> Response:
    """The response to Flagger: 200 for a pass, 412 with the report for the rest, 409 while another gate runs.

    400, 401, 403 or 413 for a request with an error.
    """
    if (refused := refuse_without_operate_token(server)) is not None:
        return refused
    body = await body_within(request, LONGEST)
    if body is None:
        return refusal(413, f"a webhook's payload may have at most {LONGEST:,} bytes")
    try:
        metadata, key = _metadata_and_key(body)
        if not hmac.compare_digest(metadata.pop("token", "").encode(), server.operate_token.encode()):
            return refusal(401, "the webhook's metadata needs the operate token: token: ...")
        report = await run_gate(gate_request(metadata), key)
    except BusyError as busy:
        return refusal(409, f"another gate is running: {busy}")
    except ValueError as error:
        return refusal(400, str(error))
    return PlainTextResponse(write(report), 200 if report.verdict is Outcome.PASS else 412)


def _metadata_and_key(body: bytes) -> tuple[dict[str, str], str]:
    """The metadata, and the key of the gate. Raises ValueError when the body is no payload of Flagger."""
    payload = json_object(body)
    metadata = payload.get("metadata")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the payload has no metadata, or a value in it is not text")
    return dict(metadata), "flagger/" + "/".join(str(payload.get(name, "")) for name in _KEY)


def gate_request(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The gate's request, as POST /api/gate takes it. Raises ValueError for an unknown key."""
    request: dict[str, Any] = {}
    for word, value in metadata.items():
        if word in _LISTS:
            request[_LISTS[word]] = [one.strip() for one in value.split(",") if one.strip()]
        elif word in _WORDS:
            request[_WORDS[word]] = int(value) if word == "rounds" and value.isascii() and value.isdigit() else value
        else:
            raise ValueError(f"metadata.{word} is unknown; allowed are token, {', '.join([*_LISTS, *_WORDS])}")
    return request
