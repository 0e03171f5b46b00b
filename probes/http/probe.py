"""What the kinds over HTTP share: their settings (HttpProbe) and their metric families."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, field_validator, model_validator

from probes.expect.template import refuse_variables
from probes.facts import STATUS_CODE
from probes.families import Family, fact_family, network_families, phase_family
from probes.fields import Headers, Key, split_url
from probes.http.basic import Basic
from probes.http.charset import LABELS, is_charset
from probes.http.decoding import ENCODINGS
from probes.http.oauth2 import OAuth2
from probes.http.route import HttpRoute
from probes.http.session import BODY_CAP, HttpSession, OnData
from probes.http.signature import Signature
from probes.journeys.login import LoginRef
from probes.journeys.sessions import SignedInSession
from probes.probe import Probe
from probes.target import Target, TargetRef
from probes.text import ascii_host, did_you_mean
from probes.wire.addresses import AddressField
from probes.wire.addresses import Family as IpFamily
from probes.wire.endpoint import Endpoint, Variation
from probes.wire.handshake import tls_families
from probes.wire.proxy import Proxy
from probes.wire.tls import Tls

__all__ = ["BODY_CAP", "CredentialsProbe", "HttpProbe", "HttpSession", "OnData", "http_families"]


def _read_version(value: Any) -> Any:
    """`http: 2` and `http: 1.1` are numbers to YAML."""
    return {"1.1": "1.1", "2": "2", "2.0": "2"}.get(str(value), value)


def _read_encodings(value: Any) -> Any:
    if isinstance(value, bool):
        return ENCODINGS if value else ()
    return (value,) if isinstance(value, str) else value


def _read_charset(label: str) -> str:
    if label and not is_charset(label):
        raise ValueError(f"{label} is no charset of the web{did_you_mean(label.lower(), LABELS)}")
    return label


Charset = Annotated[str, AfterValidator(_read_charset)]
Version = Annotated[Literal["1.1", "2", "auto"], BeforeValidator(_read_version), WithJsonSchema({"enum": [1.1, 2, "1.1", "2", "auto"]})]
_Encoding = Literal["zstd", "br", "gzip", "deflate"]
Encodings = Annotated[tuple[_Encoding, ...], BeforeValidator(_read_encodings, json_schema_input_type=bool | _Encoding | list[_Encoding])]


class HttpProbe(Probe):
    """The settings of a kind over HTTP: a target and a path, or a `url`, to which only the kind's own request goes."""

    target: TargetRef | None = Field(
        default=None, description="A name under targets:; the check takes its address, headers, rules and limit."
    )
    url: SecretStr | None = Field(default=None, description="An address instead of a target.", examples=["https://api.roadtrip.app"])
    path: str = Field(default="", description="The path below the target's address, with the query.")
    headers: Headers = Field(default={}, description="Headers to send in addition to the target's.")
    tls: Tls = Field(default=Tls(), description="TLS settings for https: authorities, name and versions.")
    http: Version = Field(default="1.1", description="1.1, 2 (also without TLS), or auto: the version that the server chooses over TLS.")
    proxy: SecretStr | None = Field(
        default=None,
        description="A proxy, as http://user:password@host:port; https uses a CONNECT tunnel through it.",
        examples=["http://user:password@host:8080"],
    )
    oauth2: OAuth2 | None = Field(
        default=None,
        description="OAuth 2: client credentials or a service account; the token is kept until shortly before it expires.",
    )
    sign: Signature | None = Field(default=None, description="Sign each request by HMAC: what is signed, and the headers to send.")
    login: LoginRef | None = Field(
        default=None,
        alias="session",
        description="A name under logins: the requests go inside its session, which the checks of the target share.",
    )
    compression: Encodings = Field(
        default=(), description="true for all of zstd, br, gzip and deflate, or a list of some; none by default."
    )
    framing: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="strict fails for a response that browsers take although RFC 9112 doesn't allow it, such as two lengths.",
    )
    charset: Charset = Field(default="", description="The charset of response bodies, such as gbk, instead of the one that they declare.")
    keep_alive: bool = Field(
        default=False, description="true keeps the connection open for the next run, so that later runs measure no connection set-up."
    )
    ip: IpFamily = Field(default="any", description="4 or 6: only this address family; prefer4 or prefer6: this family first.")
    resolve: AddressField | None = Field(default=None, description="Connect to this address instead of resolving the host.")
    allow_addresses: tuple[AddressField, ...] = Field(
        default=(), description="Link-local or metadata addresses that checks may connect to in spite of the general rule."
    )

    @field_validator("path", "headers", "expect", "parts", check_fields=False)
    @classmethod
    def _fills_nothing_in(cls, value: Any) -> Any:
        return refuse_variables(value)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            split_url(url.get_secret_value())
        return url

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            Proxy.read(proxy.get_secret_value())
        return proxy

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if (self.target is None) == (self.url is None):
            raise ValueError("give either target or url")
        if self.url is not None and self.path:
            raise ValueError("path goes with target; write the whole address into url")
        if self.path and not self.path.startswith(("/", "?")):
            raise ValueError("path begins with /")
        if self.login is not None and self.oauth2 is not None:
            raise ValueError("give either session or oauth2")
        if self.login is not None and (self.target is None or self.target.name != self.login.target.name):
            raise ValueError(f"session {self.login.name} is one of target {self.login.target.name}: the check needs that target")
        if self.proxy and (self.resolve or self.ip != "any"):
            raise ValueError("a proxy resolves the host itself; leave out resolve and ip")
        return self

    def goes_to(self) -> Target | None:
        return self.target

    def further_targets(self) -> tuple[Target, ...]:
        return self.login.targets() if self.login else ()

    def further_settings(self) -> tuple[str, ...]:
        return (self.login.key,) if self.login else ()

    def _base(self) -> str:
        if self.target is not None:
            return self.target.url
        return self.url.get_secret_value() if self.url else ""

    def location(self, path: str | None = None) -> str:
        """The absolute address of a path below the target (default: the check's own path)."""
        below = self.path if path is None else path
        return self._base().rstrip("/") + below if below else self._base()

    def base_headers(self) -> dict[str, str]:
        """The target's headers and the check's own, secrets revealed."""
        both = {**(self.target.headers if self.target else {}), **self.headers}
        return {name: value.get_secret_value() for name, value in both.items()}

    def session(self) -> HttpSession:
        """The HTTP client of one run, for `async with`: its requests share connections, cookies, and a token or a login."""
        signing: dict[str, Any] = {"signature": self.sign, "home": self._base()}
        return SignedInSession(self.route, self.login, **signing) if self.login else HttpSession(self.route, **signing)

    @cached_property
    def route(self) -> HttpRoute:
        """How its requests reach the target."""
        host = ascii_host(urlsplit(self._base()).hostname or "")
        allowed_by_target = self.target.allow_addresses if self.target else ()
        return HttpRoute(
            tls=self.tls,
            http=self.http,
            proxy=Proxy.read(self.proxy.get_secret_value()) if self.proxy else None,
            oauth2=self.oauth2,
            encodings=self.compression,
            framing=self.framing,
            charset=self.charset,
            keep_alive=self.keep_alive,
            ip=self.ip,
            resolve=(host, self.resolve) if self.resolve else None,
            allowed=frozenset((*self.allow_addresses, *allowed_by_target)),
        )

    def endpoint(self) -> Endpoint:
        split = urlsplit(self.location())
        secure = split.scheme == "https"
        return Endpoint(ascii_host(split.hostname or ""), split.port or (443 if secure else 80), self.route, secure)

    def with_variation(self, variation: Variation) -> HttpProbe | None:
        if not self.repeatable():
            return None
        update: dict[str, Any] = {"keep_alive": False}
        update |= {"resolve": variation.address} if variation.address else {}
        update |= {} if variation.verify else {"tls": self.tls.model_copy(update={"verify": False})}
        update |= {} if variation.proxy else {"proxy": None}
        other = self.model_copy(update=update)
        for cached in ("route", "plain"):  # from the settings before the change
            other.__dict__.pop(cached, None)
        return other

    def address(self) -> str:
        """The address without user, password and query, which may contain secrets."""
        split = urlsplit(self.location())
        host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or ""
        return f"{split.scheme}://{host}{f':{split.port}' if split.port else ''}{split.path}"


class CredentialsProbe(HttpProbe):
    """A kind over HTTP whose checks may log in with a user and a password, or with a token."""

    basic: Basic | None = Field(default=None, description="User and password for the Authorization header.")
    bearer: Key | None = Field(default=None, description="A token for the Authorization header.")

    @model_validator(mode="after")
    def _one_authorization(self) -> Self:
        if self.basic and self.bearer:
            raise ValueError("give either basic or bearer")
        return self

    def own_headers(self) -> dict[str, str]:
        """The check's headers without the target's, secrets revealed: its credentials win."""
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.basic:
            headers["Authorization"] = self.basic.header()
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer.get_secret_value()}"
        return headers


def http_families() -> tuple[Family, ...]:
    """The blackbox_exporter's families for HTTP and TLS, filled by every request of HttpSession and HttpTransport."""
    return (
        phase_family(
            "probe_http_duration_seconds",
            "Seconds in each phase of the HTTP request, summed over all of the run's requests",
            *("resolve", "connect", "proxy", "tls", "processing", "transfer"),
        ),
        fact_family("probe_http_status_code", "Status code of the last response", STATUS_CODE),
        fact_family("probe_http_version", "HTTP version of the last response", "http_version"),
        fact_family("probe_http_redirects", "Redirects that were followed", "redirects"),
        fact_family("probe_http_ssl", "1 when the last response came over TLS", "ssl"),
        fact_family("probe_http_content_length", "Content-Length of the last response, in bytes", "content_length"),
        fact_family("probe_http_uncompressed_body_length", "Length of the last response's body after decoding, in bytes", "body_bytes"),
        *network_families(),
        *tls_families(),
    )
