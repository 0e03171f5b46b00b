"""Requests and responses as plain records, whichever client carries them: assertions and journeys work on these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from probes.core import Failed, Reason

MOST_CONTAINERS = 50_000  # objects and arrays of a body: to read a mebibyte of empty ones stops the whole process for a tenth of a second


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `url` is absolute; `headers` are the user's own (the client adds Host, length and the Sender's)."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(slots=True)
class Response:
    """One whole HTTP response. `seconds` runs from the send's start (resolving included) to the last byte."""

    status: int
    headers: tuple[tuple[str, str], ...]  # in the order received, names in lower case
    body: bytes
    seconds: float
    url: str
    http_version: str = "1.1"
    _json: Any = field(default=None, repr=False)

    def header(self, name: str) -> str | None:
        """All values of a header joined by ", "; None where it is absent."""
        found = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(found) if found else None

    def text(self) -> str:
        """The body as text in the charset that it declares, else UTF-8; bytes that can't be decoded are replaced."""
        declared = (self.header("content-type") or "").lower().partition("charset=")[2].split(";")[0].strip(' "')
        try:
            return self.body.decode(declared or "utf-8", "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, read once.

        Raises ValueError with the place of the mistake, and Failed(size) for more than MOST_CONTAINERS objects and arrays.
        """
        if self._json is None:
            if self.body.count(b"{") + self.body.count(b"[") > MOST_CONTAINERS:  # brackets inside texts count too
                raise Failed(Reason.SIZE, f"the body has more than {MOST_CONTAINERS:,} opening brackets, too many to be read as JSON")
            try:
                self._json = json.loads(self.body, parse_constant=_refuse_constant)
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
        return self._json


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
