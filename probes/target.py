"""Targets and their rules. This module alone decides whether a request may be sent to a target."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from probes.core import Failed
from probes.expect.json_path import JsonPath
from probes.expect.patterns import Pattern
from probes.fields import Headers, Rate, declared
from probes.http.message import Response
from probes.text import ascii_host, host_and_port
from probes.wire.addresses import AddressField

FREE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": 80, "https": 443}
_DECODED = 4  # times: no server decodes a path more often
_END_OF_SEGMENT = re.compile(r"[;\x00-\x20]")
_METHOD_PATH = re.compile(r"([A-Z]+) (/\S*)\Z")


@dataclass(frozen=True, slots=True)
class Rule:
    """`POST /api/story/*`: a method and a path; `*` stops at `/` unless it is the last character."""

    method: str
    path: str

    @classmethod
    def parse(cls, text: Any) -> Rule:
        if isinstance(text, Rule):
            return text
        if not isinstance(text, str) or not (found := _METHOD_PATH.match(text)):
            raise ValueError("write a method and a path, such as POST /api/auth/token")
        return cls(found[1], found[2])

    def matches(self, method: str, path: str) -> bool:
        if method != self.method:
            return False
        pieces = [re.escape(piece) for piece in self.path.split("*")]
        pattern = "[^/]*".join(pieces)
        if self.path.endswith("*"):
            pattern = pattern.removesuffix("[^/]*") + ".*"
        return re.fullmatch(pattern, path, re.DOTALL) is not None

    def concerns(self, method: str, path: str) -> bool:
        """As `matches`, for a server that reads a path as loosely as any does: `path` is a loose_path, with or without a last slash."""
        loose = Rule(self.method, loose_path(self.path))
        return loose.matches(method, path) or loose.matches(method, path.rstrip("/") or "/")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


RuleField = Annotated[
    Rule,
    BeforeValidator(Rule.parse),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^[A-Z]+ /\S*$"}),
]


def plain_path(url: str) -> str:
    """The path below the host as rules see it: decoded once, without dot segments, double slashes and the query."""
    return _walked(unquote(urlsplit(url).path))


def loose_path(path: str) -> str:
    """A path as the loosest of servers reads it: as plain_path, but in lower case and decoded until nothing is left to decode.

    A backslash is a slash; what follows a semicolon, a NUL or a blank in a segment is cut, and dots at its end.
    """
    for _ in range(_DECODED):
        path = unquote(path)
    segments = (_END_OF_SEGMENT.split(part, maxsplit=1)[0] for part in path.lower().replace("\\", "/").split("/"))
    return _walked("/".join(part if part in ("", ".", "..") else part.rstrip(".") for part in segments))


def _walked(path: str) -> str:
    parts: list[str] = []
    path = path or "/"
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    tail = "/" if parts and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(parts) + tail


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an absolute URL, the default port filled in. A host beyond ASCII is the one that DNS is asked for."""
    split = urlsplit(url)
    host = (split.hostname or "").lower()
    with contextlib.suppress(ValueError):  # what can't be a name stays as it is: nothing will be sent there
        host = ascii_host(host)
    return split.scheme, host, split.port or _PORTS.get(split.scheme)


def ascii_url(url: str) -> str:
    """An absolute URL with its host as DNS has it. Raises ValueError for a host that can't be a name."""
    split = urlsplit(url)
    host = split.hostname or ""
    if host.isascii():
        return url
    return split._replace(netloc=re.sub(re.escape(host), ascii_host(host), split.netloc, flags=re.IGNORECASE)).geturl()


def origin_text(url: str) -> str:
    """The origin of an absolute URL as a person writes it: without user, path and default port."""
    scheme, host, port = origin(url)
    shown = host_and_port(host, port) if port and port != _PORTS.get(scheme) else host
    return f"{scheme}://{shown}"


class Revision(BaseModel):
    """Where a target reports its build: in a header of every response, or in the JSON of one path."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    path: str = Field(default="/", pattern=r"^/", description="The path to request, below the target's address.")
    header: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9-]+$", description="A header that every response has, such as X-Revision."
    )
    json_: JsonPath | None = Field(
        default=None, alias="json", description="A JSONPath of the revision in the response of `path`, such as $.version."
    )
    regex: Pattern | None = Field(
        default=None,
        description="Takes the revision out of a longer text: the first group, else the whole match. For git describe: -g([0-9a-f]{7,64})",
    )

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.header is None) == (self.json_ is None):
            raise ValueError("give either header or json")
        return self

    def read(self, response: Response) -> str:
        """The revision in a response; "" where it has none."""
        if self.header is not None:
            return self.taken_from(response.header(self.header))
        try:
            found = self.json_.find(response.json()) if self.json_ else []
        except (ValueError, Failed):
            return ""
        of_text = bool(found) and isinstance(found[0], str | int | float) and not isinstance(found[0], bool)
        return self.taken_from(str(found[0])) if of_text else ""

    def taken_from(self, text: str | None) -> str:
        """The revision in what the target reports; "" where there is none, or where `regex` doesn't match."""
        if self.regex is None or text is None:
            return (text or "").strip()
        found = self.regex.search(text)
        return ((found[1] if found.re.groups else found[0]) or "").strip() if found else ""

    def __str__(self) -> str:
        return f"header {self.header}" if self.header else f"{self.json_} of {self.path}"


class Target(BaseModel):
    """A host of ours or of a partner: its address, the requests that may be sent to it, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(json_schema_extra={"x-hidden": True})  # filled in by the plan: the key under targets:
    url: str = Field(
        description="The address as users reach it: scheme, host and, if needed, port and base path.", examples=["https://api.roadtrip.app"]
    )
    headers: Headers = Field(default={}, description="Headers of every request to this target.")
    limit: Rate | None = Field(
        default=None, description="The most requests in a sliding window, such as 900/1h, for all checks that share one state."
    )
    allow: tuple[RuleField, ...] = Field(default=(), description="Requests that are allowed in addition to GET, HEAD and OPTIONS.")
    deny: tuple[RuleField, ...] = Field(default=(), description="GET, HEAD and OPTIONS requests that are not allowed.")
    revision: Revision | None = Field(default=None, description="Where the target reports the revision that it runs.")
    load: bool = Field(default=False, description="Whether load tests may use this target.")
    allow_addresses: tuple[AddressField, ...] = Field(
        default=(), description="Link-local or metadata addresses that checks may connect to in spite of the general rule."
    )

    def refusal(self, method: str, url: str) -> str | None:
        """Why this request may not be sent to this target; None where it may."""
        path, loose = plain_path(url), loose_path(urlsplit(url).path)
        if origin(url) != origin(self.url):
            return f"{origin_text(url)} is not target {self.name}"
        # Frameworks run what GET runs for HEAD, and some for OPTIONS: what GET may not do, these may not.
        methods = {method, "GET"} if method in FREE_METHODS else {method}
        if any(rule.matches(each, path) or rule.concerns(each, loose) for rule in self.deny for each in methods):
            return f"target {self.name} denies {method} {path}"
        if method in FREE_METHODS:
            return None
        if not any(rule.matches(method, path) for rule in self.allow):
            return f"target {self.name} doesn't allow {method} {path}"
        if not any(rule.concerns(method, loose) for rule in self.allow):
            return f"target {self.name} doesn't allow {method} {loose}, which is what some servers read in {path}"
        return None

    def refusal_of_all(self, method: str) -> str | None:
        """Why no request by this method may be sent, whatever its path; None where one may."""
        if method in FREE_METHODS or any(rule.method == method for rule in self.allow):
            return None
        return f"target {self.name} doesn't allow any {method}"


TargetRef = Annotated[
    Target, BeforeValidator(declared("targets", "target")), WithJsonSchema({"type": "string", "description": "a name under targets:"})
]
