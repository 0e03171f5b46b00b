"""The bodies that the Road Trip Storyteller answers with when something is wrong, and how it reads what it is sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

Form = TypeVar("Form", bound=BaseModel)


class Trouble(HTTPException):
    """An error answer in the application's own form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code or f"HTTP_{status}"
        self.details = details


def stamp(now: float) -> str:
    """A time as the application writes it."""
    return datetime.fromtimestamp(now, UTC).isoformat()


def error(
    now: float,
    status: int,
    message: str,
    *,
    code: str = "",
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """`{"error": {code, message, error_id, timestamp, details?}}`."""
    body: dict[str, Any] = {"code": code or f"HTTP_{status}", "message": message, "error_id": str(uuid.uuid4()), "timestamp": stamp(now)}
    if details:
        body["details"] = dict(details)
    return JSONResponse({"error": body}, status, dict(headers or {}))


async def json_of(request: Request) -> Any:
    """The request's JSON. Raises Trouble 422."""
    try:
        return json.loads(await request.body())
    except ValueError as problem:
        raise Trouble(422, "The body is not JSON", code="VALIDATION_ERROR") from problem


async def body_of(request: Request, form: type[Form]) -> Form:
    """The request's JSON as a form. Raises Trouble 422."""
    try:
        return form.model_validate(await json_of(request))
    except ValidationError as problem:
        fields = [{"loc": list(line["loc"]), "msg": line["msg"]} for line in problem.errors()]
        raise Trouble(422, "Request validation failed", code="VALIDATION_ERROR", details={"errors": fields}) from problem


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded form."""
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
