"""Kind `http` against a URL, for the tests of everything below it."""

from __future__ import annotations

from typing import Any

import pytest

from probes.core import Failed, Result
from probes.kinds.http import Http
from probes.probe import Context


def answer(body: bytes = b"", *headers: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    """An HTTP/1.1 answer with a Content-Length, which may lie."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % (len(body) if length is None else length), *headers]
    return b"\r\n".join([*lines, b"", body])


async def ask(ctx: Context, url: str, **settings: Any) -> Result:
    """Runs the kind against a URL."""
    return await Http.model_validate({"url": url, **settings}).run(ctx)


async def failure(ctx: Context, url: str, **settings: Any) -> Failed:
    """The failure that a run ends with."""
    with pytest.raises(Failed) as caught:
        await ask(ctx, url, **settings)
    return caught.value
