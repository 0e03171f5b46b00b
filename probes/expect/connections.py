"""The most connections of a server that may be in use: a number, or a share of what the server takes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from probes.core import Failed, Reason
from probes.fields import percent
from probes.text import count


def _number_or_share(value: Any) -> Any:
    if isinstance(value, str):
        return percent(value)
    if isinstance(value, float):
        raise ValueError("write a number of connections, or a share such as 80%")
    return value


Connections = Annotated[
    Decimal | Annotated[int, Field(ge=0)],
    BeforeValidator(_number_or_share),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}], "examples": ["80%", 50]}),
]


def judge_connections(used: int, most: int, allowed: Decimal | int) -> None:
    """Raises Failed(body) where more connections are in use than `allowed`; a Decimal is a share of `most`."""
    if used > (most * allowed if isinstance(allowed, Decimal) else allowed):
        limit = f"{float(allowed * 100):g}%" if isinstance(allowed, Decimal) else count(allowed, "connection")
        raise Failed(Reason.BODY, f"{used} of {most} connections are in use ({used / max(most, 1):.0%}), expected at most {limit}")
