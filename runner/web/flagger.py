"""POST /api/gate/flagger: the gate as a webhook of Flagger, which reads a status and, where it isn't 200 to 202, a text.

Flagger sends no header of one's own, so that the operate token comes in the webhook's metadata, as `token`; the other words
there are those of a gate: tag, check, revision, wait, rounds. It calls again with the same body after a timeout: name,
namespace, checksum and phase make the key by which a gate that is under way is found again. Anything but a pass is 412 with the
report as its text, which Flagger puts into the Canary's events; nothing above 499, since Flagger would ask again at once.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from judge.report import Report
from judge.verdict import Outcome
from runner.config.plan import Server
from runner.reports.table import write

Carry = Callable[[Mapping[str, Any], str], Awaitable[Report]]
"""Carries out the gate of a request, found again by its key. Raises ValueError with the reason where the request is no good."""

LONGEST = 64 * 1024  # bytes of a payload
_LISTS = {"tag": "tags", "check": "checks"}  # words of the metadata that hold several, separated by commas
_WORDS = {"revision": "expect_revision", "wait": "wait", "rounds": "rounds", "for": "for"}
_KEY = ("namespace", "name", "checksum", "phase")


async def answer(request: Request, server: Server, carry: Carry) -> Response:
    """What Flagger gets: 200 for a pass, 412 with the report for the rest, 400, 401, 403 or 413 for what is no request."""
    if not server.operate_token:
        return _refusal(
            403, "Every change is refused, also from pipelines, until operate_token is set: add server: {operate_token: ...} to checks.yaml"
        )
    body = await _bounded(request)
    if body is None:
        return _refusal(413, f"a webhook's payload may have at most {LONGEST:,} bytes")
    try:
        metadata, key = _read(body)
        if not hmac.compare_digest(metadata.pop("token", "").encode(), server.operate_token.encode()):
            return _refusal(401, "the webhook's metadata needs the operate token: token: ...")
        report = await carry(gate(metadata), key)
    except ValueError as error:
        return _refusal(400, str(error))
    return PlainTextResponse(write(report), 200 if report.verdict is Outcome.PASS else 412)


async def _bounded(request: Request) -> bytes | None:
    """The body, or None where it is longer than may be."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            return None
    return bytes(body)


def _read(body: bytes) -> tuple[dict[str, str], str]:
    """The metadata and the key. Raises ValueError for what is no payload of Flagger's."""
    try:
        payload = json.loads(body)
    except ValueError:
        raise ValueError("the payload is not JSON") from None
    metadata = payload.get("metadata") if isinstance(payload, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the payload has no metadata, or a value in it is not text")
    return dict(metadata), "flagger/" + "/".join(str(payload.get(name, "")) for name in _KEY)


def gate(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The gate's request, as POST /api/gate takes it. Raises ValueError for a word that isn't known."""
    told: dict[str, Any] = {}
    for word, value in metadata.items():
        if word in _LISTS:
            told[_LISTS[word]] = [one.strip() for one in value.split(",") if one.strip()]
        elif word in _WORDS:
            told[_WORDS[word]] = int(value) if word == "rounds" and value.isascii() and value.isdigit() else value
        else:
            raise ValueError(f"metadata.{word} is unknown; allowed are token, {', '.join([*_LISTS, *_WORDS])}")
    return told


def _refusal(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}\n", status)
