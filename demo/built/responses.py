"""The bodies of errors, as the application's own handlers write them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from demo._world import Built

BEARER = {"WWW-Authenticate": "Bearer"}
TRACE = 'Traceback (most recent call last):\n  File "/app/backend/app/main.py", line 1, in call_next\n'
Form = TypeVar("Form", bound=BaseModel)


class Crash(Exception):  # noqa: N818 - an exception that no handler of the application knows
    """Nobody handles it: the metrics middleware makes plain text of it, with status 500."""


class Invalid(Exception):  # noqa: N818 - what the client sent
    """The request doesn't fit the form: 422, with one entry for each problem."""

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.problems = [{"loc": list(each["loc"]), "msg": each["msg"], "type": each["type"]} for each in problems]


def stamp(now: float) -> str:
    """A time as most routes write it: UTC, without saying so."""
    return datetime.fromtimestamp(now, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def error(
    now: float, status: int, message: str, *, code: str = "", details: object = None, headers: Mapping[str, str] | None = None
) -> Response:
    """`{"error": {code, message, error_id, timestamp, details?}}`; here the timestamp is a whole number of seconds."""
    body = {"code": code or f"HTTP_{status}", "message": message, "error_id": str(uuid.uuid4()), "timestamp": int(now)}
    return JSONResponse({"error": body | ({} if details is None else {"details": details})}, status, dict(headers or {}))


def uncaught(now: float, message: str, built: Built) -> Response:
    """What the outermost handler makes of an exception in a middleware."""
    shown = (message, TRACE + message) if built.traces else ("An unexpected error occurred", None)
    return error(now, 500, shown[0], code="INTERNAL_SERVER_ERROR", details=shown[1])


def refused(now: float, problem: Exception) -> Response:
    """What the application's handlers make of an exception in a route."""
    if isinstance(problem, Invalid):
        return error(now, 422, "Request validation error", code="VALIDATION_ERROR", details=problem.problems)
    if isinstance(problem, HTTPException):
        return error(now, problem.status_code, str(problem.detail), headers=problem.headers)
    response = Response("Internal Server Error", 500, {"x-error-id": str(id(problem)), "cache-control": "no-cache"})
    response.raw_headers = [pair for pair in response.raw_headers if pair[0] != b"content-type"]
    return response


async def body_of(request: Request, form: type[Form]) -> Form:
    """The request's JSON as a form. Raises Invalid."""
    sent = await request.body()
    if not sent:
        raise Invalid([{"loc": ["body"], "msg": "Field required", "type": "missing"}])
    try:
        return form.model_validate(json.loads(sent))
    except json.JSONDecodeError as problem:
        raise Invalid([{"loc": ["body", problem.pos], "msg": "JSON decode error", "type": "json_invalid"}]) from problem
    except ValidationError as problem:
        raise Invalid([_of_body(each) for each in problem.errors()]) from problem


def _of_body(each: ErrorDetails) -> dict[str, Any]:
    return {**each, "loc": ["body", *each["loc"]]}
