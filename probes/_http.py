"""What the kinds over HTTP share: where they ask (Endpoint) and how (ask): redirects, the body's cap, evidence."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from itertools import count
from typing import Self
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
from pydantic import Field, SecretStr, model_validator

from probes import _redirects
from probes._core import Context, Failed, Probe, Reason
from probes._decoding import Decoder
from probes._exchange import Answer, Request
from probes._families import Family, fact_family, phase_family
from probes._http1 import Exchange, Transport
from probes._target import TargetRef
from probes._tls import Tls, tls_families

BODY_CAP = 1024 * 1024  # bytes
EVIDENCE_BODY = 2048  # bytes of a body that a failure keeps
OnData = Callable[[bytes, float], None]


class Endpoint(Probe):
    """Where a kind over HTTP asks: a target and a path, or a `url` of its own, to which only its kind's request goes."""

    target: TargetRef | None = Field(default=None, description="A name under targets:; its address, headers, rules and limit.")
    url: SecretStr | None = Field(default=None, description="An address of this check's own, instead of a target.")
    path: str = Field(default="", description="Below the target's address, with the query.")
    headers: dict[str, SecretStr] = Field(default={}, description="Sent beside the target's headers.")
    tls: Tls = Field(default=Tls(), description="Authorities, name and versions for https.")

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.target is None) == (self.url is None):
            raise ValueError("give either target or url")
        if self.url is not None and self.path:
            raise ValueError("path goes with target; write the whole address into url")
        split = urlsplit(self._base())
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("the address must begin with http:// or https:// and a host")
        if self.path and not self.path.startswith(("/", "?")):
            raise ValueError("path begins with /")
        return self

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

    def address(self) -> str:
        """The address without user, password and query, where secrets like to hide."""
        split = urlsplit(self.location())
        host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname or ""
        return f"{split.scheme}://{host}{f':{split.port}' if split.port else ''}{split.path}"


def http_families() -> tuple[Family, ...]:
    """The blackbox_exporter's families for HTTP and TLS, filled by every run of `ask`."""
    return (
        phase_family(
            "probe_http_duration_seconds",
            "Seconds in each phase of the HTTP request, summed over all of the run's requests",
            *("resolve", "connect", "tls", "processing", "transfer"),
        ),
        fact_family("probe_http_status_code", "Status code of the last answer", "status_code"),
        fact_family("probe_http_version", "Version of HTTP that the last answer spoke", "http_version"),
        fact_family("probe_http_redirects", "Redirects that were followed", "redirects"),
        fact_family("probe_http_ssl", "1 where the last answer came over TLS", "ssl"),
        fact_family("probe_http_content_length", "Length that the last answer declared, in bytes", "content_length"),
        fact_family("probe_http_uncompressed_body_length", "Length of the last answer's body after decoding, in bytes", "body_bytes"),
        *network_families(),
        *tls_families(),
    )


def network_families() -> tuple[Family, ...]:
    """What every kind that dials knows."""
    return (
        fact_family("probe_dns_lookup_time_seconds", "Seconds that resolving the name took", "dns_lookup"),
        fact_family("probe_ip_protocol", "4 or 6: the address family that was connected to", "ip_protocol"),
    )


async def ask(
    ctx: Context,
    request: Request,
    *,
    tls: Tls | None = None,
    cap: int = BODY_CAP,
    redirects: int = 0,
    on_data: OnData | None = None,
) -> Answer:
    """Sends one request and returns the answer whole; `on_data` gets each piece of the body with the moment it came.

    Follows at most so many redirects; with none asked for, the redirect itself is the answer.
    Raises Failed(SIZE) above `cap` bytes, Failed(TRUNCATED) where the connection ends before the answer does,
    Failed(PROTOCOL) for what is no HTTP, Failed(REDIRECT), and whatever the wire raises.
    """
    started = ctx.clock.monotonic()
    for hop in count():
        ctx.facts["redirects"] = hop
        answer = await _exchange(ctx, request, tls or Tls(), cap, on_data)
        answer.seconds -= started
        following = _redirects.following(request, answer.status, answer.header("location")) if redirects else None
        if following is None:
            return answer
        if hop == redirects:
            raise Failed(Reason.REDIRECT, f"more than {redirects} redirects; the last leads to {following.url}")
        request = following
    raise AssertionError  # count() never ends


_DEFAULT_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}
_TRANSPORT = Transport()  # holds nothing: the wire, the clock and the notebook come with each request


async def _exchange(ctx: Context, request: Request, tls: Tls, cap: int, on_data: OnData | None) -> Answer:
    """One request and its answer; `seconds` is the moment of the last byte, from which the caller takes the start."""
    sent = _sendable(ctx, request, tls)
    _note_request(ctx, sent)
    response = await _TRANSPORT.handle_async_request(sent)
    exchange: Exchange = response.extensions["exchange"]
    try:
        body = await _read_body(ctx, exchange, cap, on_data)
    finally:
        await response.aclose()
    return Answer(exchange.status, exchange.fields(), body, exchange.stream.last_read_at, request.url, exchange.version)


def _sendable(ctx: Context, request: Request, tls: Tls) -> httpx.Request:
    headers = {**_DEFAULT_HEADERS, **ctx.sender.headers(), **request.headers}
    try:
        made = httpx.Request(request.method, request.url, headers=headers, content=request.body, extensions={"ctx": ctx, "tls": tls})
    except httpx.InvalidURL as error:
        raise Failed(Reason.REDIRECT, f"the address is none: {error}") from error
    if made.url.userinfo and "authorization" not in made.headers:
        made.headers["Authorization"] = f"Basic {base64.b64encode(unquote_to_bytes(made.url.userinfo)).decode()}"
    return made


async def _read_body(ctx: Context, exchange: Exchange, cap: int, on_data: OnData | None) -> bytes:
    _note_answer(ctx, exchange)
    decoder = Decoder(exchange.header("content-encoding") or "", cap)
    body = bytearray()
    try:
        async for piece in exchange.body():
            plain = decoder.feed(piece)
            if on_data and plain:
                on_data(plain, exchange.stream.last_read_at)
            body += plain
    finally:
        ctx.facts["body_bytes"] = len(body)
        ctx.evidence["body"] = bytes(body[:EVIDENCE_BODY]).decode("utf-8", "replace")
    return bytes(body)


_PRIVATE = frozenset({"authorization", "cookie", "set-cookie", "x-api-key", "x-goog-api-key", "apikey", "proxy-authorization"})


def _note_request(ctx: Context, request: httpx.Request) -> None:
    url = request.url.copy_with(userinfo=b"") if request.url.userinfo else request.url
    ctx.evidence["request"] = {"method": request.method, "url": str(url), "headers": _shown(request.headers.items())}


def _note_answer(ctx: Context, exchange: Exchange) -> None:
    length = exchange.header("content-length") or ""
    ctx.facts |= {
        "status_code": exchange.status,
        "http_version": float(exchange.version),
        "ssl": int(exchange.stream.tls is not None),
        "content_length": int(length) if length.isdigit() else None,
    }
    ctx.evidence["answer"] = {"status": exchange.status, "headers": _shown(exchange.fields())}


def _shown(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: "(secret)" if name.lower() in _PRIVATE else value for name, value in headers}
