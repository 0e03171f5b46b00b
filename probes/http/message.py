"""Requests and responses as plain records, whichever client carries them: assertions and journeys work on these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from probes.core import Failed, Reason
from probes.http.charset import declared, decode

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
    charset: str = ""  # the check's own word for what the body is written in, instead of the server's
    fault: Failed | None = None  # why the body can't be read
    _json: Any = field(default=None, repr=False)

    def header(self, name: str) -> str | None:
        """All values of a header joined by ", "; None where it is absent."""
        found = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(found) if found else None

    def check_body(self) -> None:
        """Raises the `fault` of the body, if it has one."""
        if self.fault:
            raise self.fault

    def text(self) -> str:
        """The body as text, in the charset that the web's rules find (see probes.http.charset); what can't be decoded is replaced.

        Raises the `fault` of the body.
        """
        self.check_body()
        return decode(self.body, self.header("content-type") or "", self.charset)

    def json(self) -> Any:
        """The body as JSON, read once.

        JSON is UTF-8, -16 or -32 (RFC 8259, 8.1); only what isn't is read in the charset that it declares.
        Raises ValueError with the place of the mistake, Failed(size) for more than MOST_CONTAINERS objects and arrays, and the
        `fault` of the body.
        """
        self.check_body()
        if self._json is None:
            if self.body.count(b"{") + self.body.count(b"[") > MOST_CONTAINERS:  # brackets inside texts count too
                raise Failed(Reason.SIZE, f"the body has more than {MOST_CONTAINERS:,} opening brackets, too many to be read as JSON")
            try:
                self._json = _read_json(self.body)
            except UnicodeDecodeError as error:
                if not (self.charset or declared(self.header("content-type") or "")):
                    raise ValueError(f"its byte {error.start + 1:,} is not {error.encoding.upper()}") from None
                self._json = _read_json(self.text())
        return self._json


def _read_json(text: bytes | str) -> Any:
    try:
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except (json.JSONDecodeError, UnicodeDecodeError, _NotJsonError):
            raise
        except ValueError:  # an integer of more than 4,300 digits; all numbers are then read as JavaScript reads them
            return json.loads(text, parse_constant=_refuse_constant, parse_int=float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _NotJsonError(ValueError):
    """What Python's parser takes for JSON, and no other does."""


def _refuse_constant(name: str) -> None:
    raise _NotJsonError(f"{name} is not JSON")
