"""A partner's form as checks.yaml writes it: its requests, how they authenticate, and what a good response is."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from probes.expect.assertions import Expect
from probes.expect.contract import Shape
from probes.expect.json_path import JsonPath
from probes.expect.template import TOTP, is_generated, refuse_variables, variables
from probes.fields import Headers
from probes.kinds.booking.partners import ANY_SHAPE, CHANGES, Partner, Read, Release
from probes.text import did_you_mean

METHODS = ("get", "post", "put", "delete")
KEY = "key"  # the variable of a header that carries the check's key
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_DEEPEST = 20


def _shape(value: Any, depth: int = 0) -> Any:
    """A shape as it is written. Raises ValueError with what to write."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested more than {_DEEPEST} deep")
    if isinstance(value, str):
        if wrong := [name for name in value.split("|") if name not in _TYPES]:
            raise ValueError(f"{wrong[0]} is no type{did_you_mean(wrong[0], _TYPES)}; there are {', '.join(sorted(_TYPES))}")
    elif isinstance(value, list):
        if len(value) != 1:
            raise ValueError("an array has the form of its elements, once: [string]")
        _shape(value[0], depth + 1)
    elif isinstance(value, dict):
        for inner in value.values():
            _shape(inner, depth + 1)
    else:
        raise ValueError('write a type, such as string or "string|null", {name: type}, or [type]')
    return value


def _one_place(path: JsonPath | None) -> JsonPath | None:
    if path is not None and not path.selects_one:
        raise ValueError(f"{path} may select several values; write the path of one")
    return path


Place = Annotated[JsonPath, AfterValidator(_one_place)]


class _Request(BaseModel):
    """A method with its path, and what goes with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    get: str | None = Field(default=None, description="The path of a GET.")
    post: str | None = Field(default=None, description="The path of a POST; the target must allow it.")
    put: str | None = Field(default=None, description="The path of a PUT; the target must allow it.")
    delete: str | None = Field(default=None, description="The path of a DELETE; the target must allow it.")
    query: dict[str, str] = Field(default={}, description="The query, with variables such as {{latitude}}, {{date}} and {{party}}.")
    json_: Any = Field(default=None, alias="json", description="The body, as JSON.")

    @model_validator(mode="after")
    def _one_request(self) -> Self:
        paths = [name for name in METHODS if getattr(self, name) is not None]
        if len(paths) != 1:
            raise ValueError(f"write one of {', '.join(METHODS)} with the path")
        if not self.path.startswith("/"):
            raise ValueError(f"{paths[0]} takes a path; it begins with /")
        self.uses()
        return self

    @property
    def method(self) -> str:
        """GET, POST, ..."""
        return next(name for name in METHODS if getattr(self, name) is not None).upper()

    @property
    def path(self) -> str:
        """The path as it is written, with its variables."""
        written: str = getattr(self, self.method.lower())
        return written

    def uses(self) -> frozenset[str]:
        """Its variables, without those that are generated."""
        return frozenset(name for name in variables([self.path, self.query, self.json_]) if name == TOTP or not is_generated(name))


class ReleaseRequest(_Request):
    """The request that gives back what another one holds."""


class PartnerRequest(_Request):
    """One request to a partner, and what its response must be."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="The request's name in messages, facts and metrics.")
    expect: Expect = Field(default=Expect(), description="Conditions for the response; without it any status from 200 to 299 passes.")
    shape: Annotated[Shape, AfterValidator(_shape)] = Field(
        default=ANY_SHAPE,
        description='The form of the response: {places: [{id: string, "rating?": number}]}; another form is reason schema.',
    )
    results: Place | None = Field(default=None, description="Where the results are: an array, or an object by their ids.")
    some: bool = Field(default=False, description="Whether a response without results is a failure.")
    takes: dict[str, Place] = Field(
        default={}, description="Variables for later requests, by their JSONPath in the first result, or in the response without results."
    )
    release: ReleaseRequest | None = Field(
        default=None, description="The request that gives back what this one holds: sent after the verdict, and after a crash."
    )

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        refuse_variables(self.expect)
        if self.some and self.results is None:
            raise ValueError("some goes with results")
        if wrong := next((name for name in self.takes if not name.isidentifier()), None):
            raise ValueError(f"{wrong} is no name for a value; use letters, digits and _")
        if self.method != "GET" and self.release is None and (word := next((w for w in CHANGES if w in self.path.lower()), None)):
            raise ValueError(
                f"{self.method} {self.path} may reserve something ({word}): write release: with the request that gives it back"
            )
        return self


class Form(BaseModel):
    """A partner: the headers with its key, and its requests in their order."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    headers: Headers = Field(default={}, description="Headers of every request; {{key}} is the check's key: Authorization: Bearer {{key}}.")
    requests: tuple[PartnerRequest, ...] = Field(min_length=1, description="The requests, in order.")

    def check(self, known: set[str]) -> None:
        """Raises ValueError for two requests of one name, and for a variable that nothing before fills in; `known` are the search's."""
        for name in variables(self.headers):
            if name != KEY:
                raise ValueError(f"headers: nothing fills in {{{{{name}}}}}; only {{{{key}}}} can stand there")
        known = set(known)
        names = [each.name for each in self.requests]
        for number, each in enumerate(self.requests, 1):
            if names.count(each.name) > 1:
                raise ValueError(f"two requests are named {each.name}")
            later = known | each.takes.keys()
            for wanted, request in ((known, each), (later, each.release)):
                for name in sorted(request.uses() - wanted if request else ()):
                    raise ValueError(
                        f"request {number} ({each.name}): nothing before it fills in {{{{{name}}}}}{did_you_mean(name, later)}"
                    )
            known = later

    def partner(self) -> Partner:
        """As the partners that are built in."""
        reads = tuple(
            Read(
                name=each.name,
                path=each.path,
                shape=each.shape,
                method=each.method,
                query=each.query,
                body=each.json_,
                results=tuple(each.results.names) if each.results else (),
                takes=each.takes,
                some=each.some,
                declared=True,
                expect=each.expect,
                release=Release(each.release.method, each.release.path, each.release.query, each.release.json_) if each.release else None,
            )
            for each in self.requests
        )
        headers = {name: value.get_secret_value().replace("{", "{{").replace("}", "}}") for name, value in self.headers.items()}
        keyed = {name: value.replace("{{{{key}}}}", "{key}") for name, value in headers.items() if "{{{{key}}}}" in value}
        plain = {name: value.get_secret_value() for name, value in self.headers.items() if name not in keyed}
        return Partner("a form of its own", "", keyed, reads, plain)
