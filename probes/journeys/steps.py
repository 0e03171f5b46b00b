"""The steps of a journey as checks.yaml writes them, and their validation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from probes.core import Failed, Reason
from probes.expect.assertions import Expect
from probes.expect.template import TOTP, as_text, fill, fill_json, fill_path, is_generated, refuse_variables, variables, whole_variable
from probes.fields import Duration, Headers, Secret, between
from probes.http.message import Response
from probes.journeys.bodies import Fields, PartField, form_text, multipart
from probes.journeys.capture import CaptureField
from probes.target import TargetRef
from probes.text import did_you_mean

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_JSON_TYPE, _FORM_TYPE = "application/json", "application/x-www-form-urlencoded"
_CREDENTIAL = re.compile(r"pass(word|wd|phrase|code)|^pw$|pwd|secret|credential|^otp|^pin$|grant_type|assertion", re.IGNORECASE)
_LOGIN_PATH = re.compile(r"(log|sign)[-_]?(in|on)|authenticat|/token/?(\?|$)|/sessions?/?(\?|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WORD = re.compile(r"[A-Za-z_]+")
_NO_LOGIN_THERE = frozenset({404, 405, 408, 421, 425})  # no login was tried: the route is gone, or the request wasn't read
MOST_REDIRECTS = 20
_NAME = r"^[a-z0-9][a-z0-9_-]*$"  # a step's name becomes a metric's label and a part of a fact's name


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
    target: TargetRef | None = Field(
        default=None, description="A name under targets: that this step asks instead of the journey's; it gets that target's headers."
    )
    query: Fields = Field(default={}, description="The query to add to the path; a list sends its name several times.")
    headers: Headers = Field(default={}, description="Headers to send in addition to the journey's.")
    form: Fields | None = Field(default=None, description="The body, as fields of an HTML form; a list sends its name several times.")
    multipart: dict[str, PartField] | None = Field(
        default=None, description="The body, as multipart/form-data: by name a text, or {content, filename, type}."
    )
    json_: Any = Field(default=None, alias="json", description="The body, as JSON.")
    body: Secret | None = Field(default=None, description="The body, sent exactly as written.")
    redirects: int = Field(
        default=0, ge=0, le=MOST_REDIRECTS, description="The most redirects to follow; with 0 a redirect is judged like any response."
    )
    expect: Expect = Field(default=Expect(), description="Conditions for the response; without it any status from 200 to 299 passes.")
    until: Expect | None = Field(
        default=None, description="Conditions that the response meets at last: until then the step is sent again, at most `times` times."
    )
    times: int = Field(default=10, ge=2, le=100, description="The most requests of a step with until.")
    wait: Annotated[Duration, between("10ms", "10m")] | None = Field(
        default=None, description="The time before the request; with until, the time between two of its requests (1s by default)."
    )
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
        if not (self.path.startswith("/") or self.leads_anywhere):
            raise ValueError(f"{paths[0]} takes a path; it begins with /, or it is one captured address, such as {{{{next}}}}")
        if sum(given is not None for given in (self.form, self.json_, self.body, self.multipart)) > 1:
            raise ValueError("give one of form, json, body and multipart")
        if self.until is None and "times" in self.model_fields_set:
            raise ValueError("times goes with until")
        if self.until is not None and self.logs_in:
            raise ValueError("a login isn't repeated: leave until out, or write login: false if it is none")
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

    @cached_property
    def leads_anywhere(self) -> bool:
        """Whether its path is one variable: a captured address, which only the run's permit can judge."""
        name = whole_variable(self.path)
        return bool(name) and not is_generated(name)

    @property
    def most_requests(self) -> int:
        """How often it is sent at most, without redirects."""
        return self.times if self.until is not None else 1

    @property
    def wait_before(self) -> float:
        """Seconds before its first request."""
        return self.wait or 0.0 if self.until is None else 0.0

    @property
    def wait_between(self) -> float:
        """Seconds between two requests of a step with `until`."""
        return self.wait or 1.0

    @property
    def longest(self) -> float:
        """The most seconds that it waits by itself, beside its requests."""
        return self.wait_before + (self.most_requests - 1) * self.wait_between

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
        names = [*(self.form or {}), *(self.multipart or {}), *_member_names(self.json_), *self.query, *raw]
        takes_first_response = bool(self.capture) and not self.uses() and self.method != "PATCH"
        return takes_first_response or any(map(_CREDENTIAL.search, names)) or _LOGIN_PATH.search(self.path.lower()) is not None

    def refused(self, response: Response, failed: Failed) -> bool:
        """Whether this failure says that the login was refused, in whatever form, and not that the server is unwell or slow."""
        unwell = response.status >= 500 or response.status in _NO_LOGIN_THERE  # noqa: PLR2004 - HTTP's own numbers
        return self.logs_in and not unwell and failed.reason is not Reason.LATENCY

    def uses(self) -> frozenset[str]:
        """The variables of the request and of what is expected. Raises ValueError for a `{{` in the request that begins no variable."""
        parts = [text for part in (self.multipart or {}).values() for text in (part.content, part.filename)]
        request = [self.path, self.query, self.headers, self.form or {}, self.json_, self.body or "", parts]
        return frozenset(variables(request)) | self.expect.variables | (self.until.variables if self.until else frozenset())

    def needs(self) -> frozenset[str]:
        """The variables that a step before must capture."""
        return frozenset(name for name in self.uses() if not is_generated(name))

    def filled_path(self, values: Mapping[str, Any]) -> str:
        """Path and query with the variables filled in and escaped; of a captured address, that address as it is.

        Raises Failed(schema) for a value that can't stand in a path, and Failed(redirect) for what is no address.
        """
        name = whole_variable(self.path) if self.leads_anywhere else ""
        path = as_text(values[name]) if name else fill_path(self.path, values)
        if name and (not path or _CONTROL.search(path) or " " in path):
            raise Failed(Reason.REDIRECT, f"the captured {name} is no address")
        if not self.query:
            return path
        path, hash_, fragment = path.partition("#")
        return f"{path}{'&' if '?' in path else '?'}{form_text(self.query, values)}{hash_}{fragment}"

    def filled_headers(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The headers with the variables filled in. Raises Failed(body) for a captured value that can't be sent in a header."""
        headers = _revealed(self.headers, values)
        if bad := [name for name, value in headers.items() if _CONTROL.search(value)]:
            raise Failed(Reason.BODY, f"header {bad[0]} can't be sent: the captured value has a line break or a control character")
        return headers

    def filled_body(self, values: Mapping[str, Any]) -> tuple[str, bytes | None]:
        """Content type and body with the variables filled in; "" and None for a request without a body."""
        if self.form is not None:
            return _FORM_TYPE, form_text(self.form, values).encode()
        if self.multipart is not None:
            return multipart(self.multipart, values)
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


def check_steps(steps: Sequence[Step], *, totp: bool = False) -> None:
    """Raises ValueError for no steps, two steps of one name, and a variable that no step before captures.

    `totp` says whether there is a secret that {{totp}} is made of.
    """
    if not any(not step.always for step in steps):
        raise ValueError("write at least one step that is not always")
    names = [step.name for step in steps]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two steps are named {twice[0]}")
    known: list[str] = []
    for number, step in sorted(enumerate(steps, 1), key=lambda each: each[1].always):  # those that are always run last
        for unknown in sorted(step.needs() - set(known)):
            raise ValueError(f"step {number} ({step.name}): no step before it captures {{{{{unknown}}}}}{did_you_mean(unknown, known)}")
        if TOTP in step.uses() and not totp and TOTP not in known:
            raise ValueError(f"step {number} ({step.name}): {{{{totp}}}} needs totp: with the secret of the second factor")
        known += step.capture
