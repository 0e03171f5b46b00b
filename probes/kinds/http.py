"""Kind `http`: one request, and what its response must be."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, ClassVar, Self
from urllib.parse import urlencode, urlsplit

from pydantic import Field, SecretStr, model_validator

from probes import Ask, Context, Family, Result, Size, fact_family
from probes.expect.assertions import DUE_TO_REGEX, Expect, PatternFailed
from probes.expect.beside import beside_the_loop
from probes.expect.publish import publish_response, require_published
from probes.http.message import Request
from probes.http.plain import PlainRequest
from probes.http.probe import BODY_CAP, CredentialsProbe, http_families
from probes.http.session import plain_request, send_plain
from probes.journeys.script import Script
from probes.journeys.steps import METHODS, Step
from probes.text import latency


class Http(CredentialsProbe):
    """Sends one HTTP request and judges the response: status, headers, text, JSON, and how long it took."""

    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"url": "http://127.0.0.1:9/", "expect": {"status": 200, "within": "2s"}},
        {"url": "http://127.0.0.1:9/", "bearer": "example-token-1", "expect": {"json": {"$.status": "ready"}}},
        {"url": "http://127.0.0.1:9/", "http": 2, "keep_alive": True, "expect": {"http_version": 2}},
        {"url": "https://example.com/", "proxy": "http://127.0.0.1:9"},
        {
            "url": "http://127.0.0.1:9/",
            "compression": ["br", "gzip"],
            "oauth2": {"token_url": "http://127.0.0.1:9/token", "client_id": "prober", "client_secret": "example-secret-1"},
        },
    )
    families: ClassVar[tuple[Family, ...]] = (
        *http_families(),
        fact_family("probe_failed_due_to_regex", "1 when a regular expression failed the run", DUE_TO_REGEX),
    )
    scripted: ClassVar[bool] = True
    publishable: ClassVar[frozenset[str]] = frozenset({"value", "header", "fact"})

    method: str = Field(
        default="GET", pattern=r"^[A-Z]+$", description="GET, HEAD or OPTIONS; another method only if the target allows it."
    )
    body: SecretStr | None = Field(default=None, description="The body, sent exactly as written.")
    json_: Any = Field(default=None, alias="json", description="The body, as JSON.")
    form: dict[str, SecretStr] | None = Field(default=None, description="The body, as fields of an HTML form.")
    redirects: int = Field(
        default=0, ge=0, le=20, description="The most redirects to follow; with 0 a redirect is judged like any response."
    )
    body_cap: Size = Field(default=BODY_CAP, description="The longest body; a longer one fails with reason size.")
    expect: Expect = Field(default=Expect(), description="Conditions for the response; without it any status from 200 to 299 passes.")

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        if sum(given is not None for given in (self.body, self.json_, self.form)) > 1:
            raise ValueError("give one of body, json and form")
        if self.url is not None and self.method not in ("GET", "HEAD", "OPTIONS"):
            raise ValueError(f"{self.method} goes to a target that allows it, not to a url of the check's own")
        return self

    def asks(self) -> tuple[Ask, ...]:
        return (Ask(self.method, self.location(), ("path",) if self.path else ()),)

    def script(self) -> Script:
        """Its request as a single step, named after its method."""
        method, path = self.method.lower(), self.path if self.path.startswith("/") else f"/{self.path}"
        filled = {name: value for name in ("body", "json_", "form") if (value := getattr(self, name)) is not None}
        differs = {
            "follows redirects": self.redirects,
            "goes inside a session": self.login,
            "sends signed requests": self.sign,
            f"sends {self.method}": method not in METHODS,
            "has no path of its own": path != self.path and urlsplit(self._base()).path,
            "has {{ in its path or body": "{{" in path + json.dumps(filled, default=lambda secret: secret.get_secret_value()),
        }
        if found := tuple(text for text, so in differs.items() if so):
            return Script((), {}, self.route, found)
        own = {name: SecretStr(value) for name, value in self.own_headers().items()}
        content = {name.removesuffix("_"): value for name, value in filled.items()}
        step = Step.model_validate({"name": method, method: path, "expect": self.expect, "login": False, **content})
        return Script((step,), own, self.route)

    async def run(self, ctx: Context) -> Result:
        if self.expect.has_pattern:
            ctx.facts[DUE_TO_REGEX] = False
        if self.plain and ctx.sender.trace_id:
            response = await send_plain(ctx, self.route, self.plain, cap=self.body_cap)
        else:
            async with self.session() as session:
                response = await session.send(ctx, self._request(), cap=self.body_cap, redirects=self.redirects)
        if self.publish:
            ctx.facts |= await beside_the_loop(response.body, publish_response, self.publish, response)
        try:
            await beside_the_loop(response.body, self.expect.at(ctx.clock.time()).judge, response)
        except PatternFailed:
            ctx.facts[DUE_TO_REGEX] = True
            raise
        require_published(self.publish, ctx.facts)
        return Result.passed(f"{response.status} in {latency(response.seconds)}")

    @cached_property
    def plain(self) -> PlainRequest | None:
        """Its request, where each run sends the same one over a plain connection; None where that needs a session."""
        return None if self.redirects or self.login or self.sign else plain_request(self.route, self._request())

    def _request(self) -> Request:
        kind, body = "", self.body.get_secret_value().encode() if self.body else None
        if self.json_ is not None:
            kind, body = "application/json", json.dumps(self.json_).encode()
        if self.form is not None:
            kind = "application/x-www-form-urlencoded"
            body = urlencode({name: value.get_secret_value() for name, value in self.form.items()}).encode()
        headers = ({"Content-Type": kind} if kind else {}) | self.base_headers() | self.own_headers()
        return Request(self.method, self.location(), headers, body)
