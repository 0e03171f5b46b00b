"""POST /heartbeat/NAME: a job reports that its run begins or has ended, with the token of its own check.

Without a body a run has ended well. Else `state` (start or end), `exit`, `message`, `seconds` and `run`, which tells runs apart that
overlap, come as JSON or in the query: /heartbeat/nightly-backup?state=start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runner.engine.reports import Reports, WrongTokenError
from runner.web.access import bearer, refusal
from runner.web.bodies import body_within, json_object

MOST_BYTES = 16 * 1024
_NUMBERS = {"exit": int, "seconds": float}


def routes(reports: Reports) -> list[Route]:
    """The route. The token is compared before the body is looked at."""

    async def take(request: Request) -> Response:
        body = await body_within(request, MOST_BYTES)

        def report() -> Mapping[str, Any]:
            if body is None:
                raise ValueError(f"a heartbeat may have at most {MOST_BYTES:,} bytes")
            query = {name: _NUMBERS.get(name, str)(value) for name, value in request.query_params.items()}
            return {**query, **(json_object(body) if body.strip() else {})}

        try:
            await reports.take(request.path_params["name"], bearer(request.headers.get("authorization", "")), report)
        except WrongTokenError:
            return refusal(401, "A heartbeat needs the token of its check: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"heartbeat": "taken"})

    return [Route("/heartbeat/{name}", take, methods=["POST"])]
