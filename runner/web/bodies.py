"""The bodies of requests, read within bounds: bytes, and how deep their JSON is nested."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request

_DEEPEST = 32  # objects and lists inside one another; a gate's request with a baseline has fewer than ten


async def body_within(request: Request, most: int) -> bytes | None:
    """The request's body; None when it is longer than `most` bytes, or the client went away before its end: nobody reads the response."""
    body = bytearray()
    with suppress(ClientDisconnect):  # strangers cause it, and an exception would be a line in the journal for each request
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                return None
        return bytes(body)
    return None


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises ValueError for anything else, also where it is nested so deeply that code would fail on it."""
    try:
        read = json.loads(body)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError:
        raise ValueError("the request is not JSON") from None
    if not isinstance(read, dict):
        raise ValueError("the request is not a JSON object")
    level: list[Any] = [read]
    for _ in range(_DEEPEST):
        level = [one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer) if isinstance(one, dict | list)]
        if not level:
            try:
                json.dumps(read, ensure_ascii=False).encode()
            except UnicodeEncodeError:  # an escaped lone surrogate
                raise ValueError("the request has half a character, which is no Unicode") from None
            return read
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = f"the request is nested more than {_DEEPEST} levels deep"
