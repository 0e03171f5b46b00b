"""The steps of a journey as checks.yaml writes them, and their validation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from probes.core import Failed, Reason
from probes.expect.assertions import Expect, document
from probes.expect.json_path import JsonPath
from probes.expect.patterns import Pattern, shown, whole_characters
from probes.expect.template import fill, fill_json, fill_path, refuse_variables, variables
from probes.fields import Headers, Secret
from probes.http.message import Response
from probes.text import did_you_mean

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_JSON_TYPE, _FORM_TYPE = "application/json", "application/x-www-form-urlencoded"
_CREDENTIAL = re.compile(r"pass(word|wd|phrase|code)|^pw$|pwd|secret|credential|^otp|^pin$|grant_type|assertion", re.IGNORECASE)
_LOGIN_PATH = re.compile(r"(log|sign)[-_]?(in|on)|authenticat|/token/?(\?|$)|/sessions?/?(\?|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WORD = re.compile(r"[A-Za-z_]+")
_NO_LOGIN_THERE = frozenset({404, 405, 408, 421, 425})  # no login was tried: the route is gone, or the request wasn't read
_NAME = r"^[a-z0-9][a-z0-9_-]*$"  # a step's name becomes a metric's label and a part of a fact's name


class Capture(BaseModel):
    """Where a value is taken from a response: a JSONPath, a header, a regular expression, or one in a header."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    json_: JsonPath | None = Field(default=None, alias="json", description="A JSONPath; the first value that it selects is captured.")
    header: str | None = Field(default=None, description="The name of a header; its value is captured.")
    regex: Pattern | None = Field(
        default=None, description="A regular expression (RE2) for the body or the header; its first group is captured."
    )
    secret: bool = Field(default=True, description="Whether the value is a secret that no output may show.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.json_ is None and self.header is None and self.regex is None:
            raise ValueError("write a JSONPath, or header: or regex:")
        if self.json_ is not None and (self.header is not None or self.regex is not None):
            raise ValueError("json goes with neither header nor regex")
        return self

    def take(self, name: str, response: Response) -> Any:
        """The captured value. Raises Failed(schema) where the response has none, and Failed(body) where it is not JSON."""
        if self.json_ is not None:
            found = self.json_.find(document(response))
            if not found or found[0] is None or isinstance(found[0], dict | list):
                raise Failed(Reason.SCHEMA, f"{self.json_} is {shown(found[0]) if found else 'absent'}; nothing to capture as {name}")
            return whole_characters(found[0]) if isinstance(found[0], str) else found[0]
        text = response.text() if self.header is None else response.header(self.header)
        where = "the body" if self.header is None else f"header {self.header}"
        if text is None:
            raise Failed(Reason.SCHEMA, f"{where} is absent; nothing to capture as {name}")
        if self.regex is None:
            return text
        if not (match := self.regex.search(text)):
            raise Failed(Reason.SCHEMA, f"nothing in {where} matches {self.regex}; nothing to capture as {name}")
        return match.group(1 if match.re.groups else 0)


def _path_alone(value: Any) -> Any:
    return {"json": value} if isinstance(value, str) else value


CaptureField = Annotated[Capture, BeforeValidator(_path_alone, json_schema_input_type=str | Capture)]


class Step(BaseModel):
    """One request of a journey: what is sent, what its response must be, and which values later steps take from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=_NAME, description="The step's name in messages, facts and metrics.")
    get: str | None = Field(default=None, description="The path of a GET.")
    post: str | None = Field(default=None, description="The path of a POST.")
    put: str | None = Field(default=None, description="The path of a PUT.")
    patch: str | None = Field(default=None, description="The path of a PATCH.")
    delete: str | None = Field(default=None, description="The path of a DELETE.")
    head: str | None = Field(default=None, description="The path of a HEAD.")
    options: str | None = Field(default=None, description="The path of an OPTIONS.")
    query: dict[str, Secret] = Field(default={}, description="The query to add to the path.")
    headers: Headers = Field(default={}, description="Headers to send in addition to the journey's.")
    form: dict[str, Secret] | None = Field(default=None, description="The body, as fields of an HTML form.")
    json_: Any = Field(default=None, alias="json", description="The body, as JSON.")
    body: Secret | None = Field(default=None, description="The body, sent exactly as written.")
    expect: Expect = Field(default=Expect(), description="Conditions for the response; without it any status from 200 to 299 passes.")
    capture: dict[str, CaptureField] = Field(
        default={}, description="Values to take from the response, by name, for {{name}} in later steps."
    )
    login: bool | None = Field(
        default=None,
        description="Whether this step is a login: after a refused one none is tried for `lockout`. Default: whether it looks like one.",
    )
    always: bool = Field(default=False, description="Send this step also after a failure, with 5 s of its own: for a logout or a clean-up.")

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        paths = [name for name in METHODS if getattr(self, name) is not None]
        if len(paths) != 1:
            raise ValueError(f"write one of {', '.join(METHODS)} with the path")
        if not self.path.startswith("/"):
            raise ValueError(f"{paths[0]} takes a path; it begins with /")
        if sum(given is not None for given in (self.form, self.json_, self.body)) > 1:
            raise ValueError("give one of form, json and body")
        for name in self.capture:
            if not name.isidentifier():
                raise ValueError(f"{name} is no name for a captured value; use letters, digits and _")
        refuse_variables(self.capture)
        self.uses()
        return self

    @cached_property
    def method(self) -> str:
        """The HTTP method: GET, POST, ..."""
        return next(name for name in METHODS if getattr(self, name) is not None).upper()

    @cached_property
    def path(self) -> str:
        """The path as it is written, with its variables."""
        written: str = getattr(self, self.method.lower())
        return written

    @property
    def logs_in(self) -> bool:
        """Whether this step is a login: as it is written, else as it looks."""
        return self.looks_like_login if self.login is None else self.login

    @property
    def looks_like_login(self) -> bool:
        """Whether it sends a password or something like it, goes where logins go, or captures what a first request is answered with."""
        if self.method not in ("POST", "PUT", "PATCH"):
            return False
        raw = _WORD.findall(self.body.get_secret_value()) if self.body is not None else ()
        names = [*(self.form or {}), *_member_names(self.json_), *self.query, *raw]
        takes_first_response = bool(self.capture) and not self.uses() and self.method != "PATCH"
        return takes_first_response or any(map(_CREDENTIAL.search, names)) or _LOGIN_PATH.search(self.path.lower()) is not None

    def refused(self, response: Response, failed: Failed) -> bool:
        """Whether this failure says that the login was refused, in whatever form, and not that the server is unwell or slow."""
        unwell = response.status >= 500 or response.status in _NO_LOGIN_THERE  # noqa: PLR2004 - HTTP's own numbers
        return self.logs_in and not unwell and failed.reason is not Reason.LATENCY

    def uses(self) -> frozenset[str]:
        """The variables of the request and of what is expected. Raises ValueError for a `{{` in the request that begins no variable."""
        request = [self.path, self.query, self.headers, self.form or {}, self.json_, self.body or ""]
        return frozenset(variables(request)) | self.expect.variables

    def filled_path(self, values: Mapping[str, Any]) -> str:
        """Path and query with the variables filled in and escaped."""
        path = fill_path(self.path, values)
        if not self.query:
            return path
        return f"{path}{'&' if '?' in path else '?'}{urlencode(_revealed(self.query, values))}"

    def filled_headers(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The headers with the variables filled in. Raises Failed(body) for a captured value that can't be sent in a header."""
        headers = _revealed(self.headers, values)
        if bad := [name for name, value in headers.items() if _CONTROL.search(value)]:
            raise Failed(Reason.BODY, f"header {bad[0]} can't be sent: the captured value has a line break or a control character")
        return headers

    def filled_body(self, values: Mapping[str, Any]) -> tuple[str, bytes | None]:
        """Content type and body with the variables filled in; "" and None for a request without a body."""
        if self.form is not None:
            return _FORM_TYPE, urlencode(_revealed(self.form, values)).encode()
        if self.json_ is not None:
            return _JSON_TYPE, json.dumps(fill_json(self.json_, values)).encode()
        return "", fill(self.body.get_secret_value(), values).encode() if self.body is not None else None


def _member_names(value: Any) -> Iterator[str]:
    """The names of all members in a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from map(str, value)
    for each in inner:
        yield from _member_names(each)


def _revealed(secrets: Mapping[str, SecretStr], values: Mapping[str, Any]) -> dict[str, str]:
    return {name: fill(secret.get_secret_value(), values) for name, secret in secrets.items()}


def check_steps(steps: Sequence[Step]) -> None:
    """Raises ValueError for no steps, two steps of one name, and a variable that no step before captures."""
    if not any(not step.always for step in steps):
        raise ValueError("write at least one step that is not always")
    names = [step.name for step in steps]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two steps are named {twice[0]}")
    known: list[str] = []
    for number, step in sorted(enumerate(steps, 1), key=lambda each: each[1].always):  # those that are always run last
        for unknown in sorted(step.uses() - set(known)):
            raise ValueError(f"step {number} ({step.name}): no step before it captures {{{{{unknown}}}}}{did_you_mean(unknown, known)}")
        known += step.capture
